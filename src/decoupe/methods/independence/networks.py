"""The discriminators of the first application (Table 1 of the appendix), scaled; its U-Net is `nn/unet.py`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from decoupe.nn.spectral import SpectralConv2d


class PatchDiscriminator(nn.Module):
    """Table 1's discriminator: 3x3 convolutions with spectral norm, ending in a map of patch scores.

    At 128 px: 64-128-256-256 at stride 2, 256 at stride 1, a 1x1 convolution, an 8x8 map. Smaller inputs have fewer
    strides, so that the map stays 8x8 (from 64 px on) or 4x4.
    """

    def __init__(self, channels: int, size: int, width: int = 64) -> None:
        super().__init__()
        strides = max(1, round(math.log2(size / (8 if size >= 64 else 4))))
        layers = max(4, strides + 1)
        steps = [1] * (layers - 1 - strides) + [2] * strides + [1]
        blocks: list[nn.Module] = []
        now = channels
        for i, stride in enumerate(steps):
            wide = width * min(2**i, 4)
            blocks += [SpectralConv2d(now, wide, 3, stride, 1), nn.LeakyReLU(0.2)]
            now = wide
        self.body = nn.Sequential(*blocks, SpectralConv2d(now, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, S, S) -> (B, 1, h, w) float32 scores."""
        scores: Tensor = self.body(images)
        return scores.float()


class PooledDiscriminator(nn.Module):
    """One discriminator per pooling: what is shown to it is the image averaged over p x p pixels.

    Coarse views judge shape and placement and cannot see the hair-thin seams that otherwise rule the game.
    """

    def __init__(self, channels: int, size: int, pools: Sequence[int], width: int) -> None:
        super().__init__()
        self.pools = tuple(pools)
        self.views = nn.ModuleList(PatchDiscriminator(channels, size // p, width) for p in self.pools)

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, C, S, S) -> one map of scores per pooling."""
        return [
            view(F.avg_pool2d(images, p) if p > 1 else images) for p, view in zip(self.pools, self.views, strict=True)
        ]
