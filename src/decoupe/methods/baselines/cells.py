"""References that cluster the cells of a feature map: untrained, hand-made, frozen, or learned by an older pretext."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from decoupe.clustering import kmeans
from decoupe.methods.baselines.config import Config
from decoupe.methods.baselines.sift import BINS, DIRECTIONS, dense_sift
from decoupe.methods.clusters import pixels
from decoupe.methods.trunks import LAYERS
from decoupe.nn.features import FrozenFeatures
from decoupe.nn.norm import BatchNorm2d

STRIDE = 4
"""Pixels along each side of a cell."""
COMPONENTS = 32
"""Principal components of frozen features."""


class Encoder(nn.Module):
    """Four 3x3 convolutions with batch normalisation and ReLU, the first and the third of stride 2."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        now = channels
        for step in (2, 1, 2, 1):
            conv = nn.Conv2d(now, width, 3, step, 1, bias=False, padding_mode="replicate")
            layers += [conv, BatchNorm2d(width), nn.ReLU()]
            now = width
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W), sides divisible by 4 -> (B, width, H / 4, W / 4)."""
        found: Tensor = self.layers(images)
        return found


class Sift(nn.Module):
    """Dense SIFT of 4 x 4 bins of 4 pixels."""

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 128, H / 4, W / 4)."""
        with torch.autocast(images.device.type, enabled=False):
            return dense_sift(images, STRIDE)


class Centres(nn.Module):
    """K centres of features."""

    def __init__(self, k: int, wide: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(k, wide))

    def forward(self, features: Tensor) -> Tensor:
        """(B, D, h, w) -> (B, K, h, w) float32 squared distances."""
        with torch.autocast(features.device.type, enabled=False):
            features = features.float()
            cross = F.conv2d(features, self.weight[:, :, None, None])
            return (features**2).sum(1, keepdim=True) - 2 * cross + (self.weight**2).sum(1)[:, None, None]


class Cells(nn.Module):
    """Features of cells, and K centres of them."""

    def __init__(self, config: Config, channels: int) -> None:
        super().__init__()
        self.encoder: nn.Module
        match config.kind:
            case "sift":
                self.encoder, wide = Sift(), BINS * BINS * DIRECTIONS
            case "features":
                self.encoder = FrozenFeatures(config.features, channels, LAYERS, STRIDE, COMPONENTS)
                wide = COMPONENTS
            case _:
                self.encoder, wide = Encoder(channels, config.width), config.width
        self.centres = Centres(config.k, wide)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) of any sides -> (B, D, h, w), a cell for each 4 x 4 pixels begun."""
        rest = (-images.shape[3] % STRIDE, -images.shape[2] % STRIDE)
        padded = F.pad(images, (0, rest[0], 0, rest[1]), mode="replicate") if any(rest) else images
        found: Tensor = self.encoder(padded)
        return found

    @torch.no_grad()
    def fit(self, parts: list[Tensor], generator: torch.Generator) -> None:
        """Centres by k-means of the cells of parts (B, C, H, W) of the training images."""
        if isinstance(self.encoder, FrozenFeatures) and not bool(self.encoder.mean.any()):
            self.encoder.fit(parts)
        if isinstance(self.encoder, Encoder):
            self.settle(parts)
        self.eval()
        rows = pixels([self(part).float().cpu() for part in parts])
        self.centres.weight.copy_(kmeans(rows, len(self.centres.weight), generator)[0])

    def settle(self, parts: list[Tensor]) -> None:
        """Batch normalisation takes the statistics of the training images."""
        self.train()
        for part in parts * max(1, 32 // len(parts)):
            self(part)

    @torch.no_grad()
    def labels(self, features: Tensor) -> Tensor:
        """(B, D, h, w) -> (B, h, w) int64 nearest centres."""
        found: Tensor = self.centres(features).argmin(1)
        return found

    def segment(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, K, H, W): which centre is nearest, enlarged bilinearly and so soft at borders."""
        features = self(images)
        hard = F.one_hot(self.labels(features), len(self.centres.weight)).movedim(3, 1).float()
        large = F.interpolate(hard, scale_factor=STRIDE, mode="bilinear", align_corners=False)
        return large[:, :, : images.shape[2], : images.shape[3]]
