"""The room `baselines`: one of nine simple references, chosen by `kind`, behind the same two methods as any room."""

from __future__ import annotations

import zlib
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from decoupe.methods.baselines import average, colour, patches, things
from decoupe.methods.baselines.config import CLUSTERED, Config
from decoupe.methods.baselines.grabcut import grabcut
from decoupe.methods.room import DataSpec, Room, TrainingData


class Baselines(Room):
    """See the docstring of `Config.kind`. Fitted state is `seed`, `centres` and `mean_mask`."""

    NAME: ClassVar[str] = "baselines"
    config: Config
    seed: Tensor
    centres: Tensor
    mean_mask: Tensor

    def __init__(self, config: Config, spec: DataSpec) -> None:
        super().__init__(config, spec)
        self.patch = {"kmeans-1x1": 1, "kmeans-7x7": 7}.get(config.kind, 0)
        self.register_buffer("seed", torch.randint(1 << 31, (1,)))
        self.register_buffer("centres", torch.zeros(config.k, spec.channels, self.patch, self.patch))
        side = spec.size if config.kind == "average-mask" else 0
        self.register_buffer("mean_mask", torch.zeros(side, side))

    @property
    def regions(self) -> tuple[str, ...]:
        """("background", "object"), or ("region 0", ...) for the clusterings and for random."""
        if self.config.kind in CLUSTERED:
            return tuple(f"region {i}" for i in range(self.config.k))
        return ("background", "object")

    @property
    def uses_labels(self) -> bool:
        """Whether fitting read masks: its scores belong beside supervised ones."""
        return self.config.kind == "average-mask"

    def prepare(self, data: TrainingData) -> None:
        """Fit the centres or the average mask; the other kinds have nothing to fit."""
        if self.patch:
            generator = torch.Generator().manual_seed(int(self.seed))
            fitted = patches.fit_centres(data.images, self.config.k, self.patch, self.config.samples, generator)
            self.centres.copy_(fitted)
        if self.config.labels is not None:
            self.mean_mask.copy_(average.mean_mask(self.config.labels, self.spec.size))

    @torch.no_grad()
    def segment(self, images: Tensor) -> Tensor:
        """(B, C, H, W) float32 in [-1, 1] -> (B, K, H, W) float32 summing to 1 over K."""
        with torch.autocast(images.device.type, enabled=False):
            return self._segment(images.float())

    def _segment(self, images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        match self.config.kind:
            case "random":
                return torch.stack([self._noise(image) for image in images])
            case "kmeans-1x1" | "kmeans-7x7":
                return F.one_hot(patches.assign(images, self.centres), self.config.k).movedim(3, 1).float()
            case "kmeans-lab":
                mask = colour.split_by_colour(images).float()
            case "otsu":
                mask = colour.split_by_brightness(images).float()
            case "otsu-components":
                mask = things.clean_by_brightness(images).float()
            case "grabcut":
                mask = torch.stack([self._grabcut(image) for image in images])
            case "ellipse":
                mask = ellipse(height, width, self.config.axes).to(images.device).expand(len(images), -1, -1)
            case "average-mask":
                whole = F.interpolate(self.mean_mask[None, None], (height, width), mode="bilinear", align_corners=False)
                mask = whole[0].expand(len(images), -1, -1)
        return torch.stack([1 - mask, mask], 1)

    def _noise(self, image: Tensor) -> Tensor:
        """(K, H, W) uniform on the simplex at every pixel, from the seed and the image's content alone."""
        content = zlib.crc32(((image + 1) * 127.5).round().byte().cpu().numpy().tobytes())
        generator = torch.Generator().manual_seed(int(self.seed) << 32 | content)
        shares = -torch.rand(self.config.k, *image.shape[1:], generator=generator).clamp_min(1e-7).log()
        return (shares / shares.sum(0)).to(image.device)

    def _grabcut(self, image: Tensor) -> Tensor:
        levels = ((image.cpu().double().movedim(0, 2).numpy() + 1) * 127.5).astype(np.float64)
        return torch.from_numpy(grabcut(levels, self.config.margin)).float().to(image.device)


def ellipse(height: int, width: int, axes: float) -> Tensor:
    """(H, W) float32 1 / (1 + r^2) with r = 1 on the centred ellipse whose axes are `axes` of the sides."""
    y = (torch.arange(height) + 0.5) / height * 2 - 1
    x = (torch.arange(width) + 0.5) / width * 2 - 1
    r2 = (y[:, None] ** 2 + x[None] ** 2) / axes**2
    return 1 / (1 + r2)
