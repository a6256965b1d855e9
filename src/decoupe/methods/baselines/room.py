"""The room `baselines`: one of fifteen references, chosen by `kind`, behind the same methods as any room."""

from __future__ import annotations

import copy
import zlib
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from decoupe.methods.baselines import average, colour, patches, pretext, things
from decoupe.methods.baselines.cells import Cells
from decoupe.methods.baselines.config import CELLS, CLUSTERED, PATCHES, PRETEXTS, Config
from decoupe.methods.baselines.grabcut import grabcut
from decoupe.methods.clusters import some
from decoupe.methods.room import DataSpec, Phase, Room, Stage, TrainingData
from decoupe.methods.trunks import Whitening

ROUNDS = 4
"""How often deepcluster takes new clusters."""


class Baselines(Room):
    """See the docstring of `Config.kind`. Fitted state is `seed`, `centres`, `mean_mask` and `cells`."""

    NAME: ClassVar[str] = "baselines"
    config: Config
    seed: Tensor
    centres: Tensor
    mean_mask: Tensor

    def __init__(self, config: Config, spec: DataSpec) -> None:
        super().__init__(config, spec)
        self.patch = PATCHES.get(config.kind, 0)
        self.register_buffer("seed", torch.randint(1 << 31, (1,)))
        self.register_buffer("centres", torch.zeros(config.k, spec.channels, self.patch, self.patch))
        side = spec.size if config.kind == "average-mask" else 0
        self.register_buffer("mean_mask", torch.zeros(side, side))
        if config.whiten:
            self.whitening = Whitening(spec.channels)
        if config.kind in CELLS:
            self.cells = Cells(config, spec.channels)
        if config.kind in PRETEXTS:
            self.judge = pretext.judge(config.kind, config.width, config.k)
        if config.kind == "deepcluster":
            self.past = copy.deepcopy(self.cells)  # labels come from it while a round lasts

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

    @property
    def inference(self) -> tuple[str, ...]:
        """What only training needs is not stored with the weights."""
        return ("seed", "centres", "mean_mask", "cells") if self.config.kind in PRETEXTS else ("",)

    def stages(self) -> Sequence[Stage]:
        """Kinds with a pretext: learn (deepcluster: in rounds), then centres. The others have none."""
        config = self.config
        if config.kind not in PRETEXTS:
            return ()
        phases: dict[str, Phase] = {}
        if config.kind == "doersch":
            phases["learn"] = pretext.ContextPhase(config, self.cells, self.judge)
        elif config.kind == "isola":
            phases["learn"] = pretext.TogetherPhase(config, self.cells, self.judge)
        else:
            each = pretext.OwnClustersPhase(config, self.cells, self.judge, self.past)
            phases |= {f"round {i + 1}": each for i in range(ROUNDS)}
        images = max(config.batch, config.train_images // len(phases))
        learning = [Stage(n, (p,), images, candidate=False, checks=2, watched_from=2) for n, p in phases.items()]
        last = pretext.CentresPhase(config, self.cells)
        return (*learning, Stage("centres", (last,), max(config.batch, config.train_images // 8), checks=2))

    def enter(self, stage: int, data: TrainingData, fresh: bool) -> None:
        """Take centres by k-means of some training images: for the last stage, and for every round of deepcluster."""
        last = len(self.stages()) - 1
        if not fresh or (stage < last and self.config.kind != "deepcluster"):
            return
        self.cells.fit(some(data, self.seed.device), torch.Generator().manual_seed(int(self.seed) + stage))
        if stage < last:
            self.past.load_state_dict(self.cells.state_dict())
            for layer in self.judge.modules():
                if isinstance(layer, torch.nn.Conv2d):
                    layer.reset_parameters()

    def prepare(self, data: TrainingData) -> None:
        """Fit the centres or the average mask; the other kinds have nothing to fit before they train."""
        if self.config.kind in CELLS and self.config.kind not in PRETEXTS:
            self.cells.fit(some(data, self.seed.device), torch.Generator().manual_seed(int(self.seed)))
        if self.patch:
            generator = torch.Generator().manual_seed(int(self.seed))
            if self.config.whiten:
                self.whitening.fit(some(data, self.seed.device))
            drawn = (self.config.k, self.patch, self.config.samples)
            self.centres.copy_(patches.fit_centres(data.images, *drawn, generator, self._bands))
        if self.config.labels is not None:
            self.mean_mask.copy_(average.mean_mask(self.config.labels, self.spec.size))

    @torch.no_grad()
    def segment(self, images: Tensor) -> Tensor:
        """(B, C, H, W) float32 in [-1, 1] -> (B, K, H, W) float32 summing to 1 over K."""
        with torch.autocast(images.device.type, enabled=False):
            return self._segment(images.float())

    def _segment(self, images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        if self.config.kind in CELLS:
            return self.cells.segment(images)
        match self.config.kind:
            case "random":
                return torch.stack([self._noise(image) for image in images])
            case "kmeans-1x1" | "kmeans-7x7":
                near = patches.assign(self._bands(images), self.centres)
                return F.one_hot(near, self.config.k).movedim(3, 1).float()
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

    def _bands(self, images: Tensor) -> Tensor:
        """(B, C, H, W) as they are clustered: whitened, if configured."""
        return self.whitening(images) if self.config.whiten else images

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
