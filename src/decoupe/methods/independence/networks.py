"""The networks of the first application (Tables 1 and 2 of the appendix) and their scaled forms."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from decoupe.nn.norm import normalise
from decoupe.nn.spectral import SpectralConv2d

WIDTHS = (1, 2, 4, 8, 8, 8)
"""Channels of the U-Net's levels in units of its width: 64, 128, 256, 512, 512, 512 in Table 1."""


def _block(conv: nn.Module, channels: int, norm: str) -> nn.Sequential:
    return nn.Sequential(conv, normalise(norm, channels), nn.LeakyReLU(0.2))


class _Up(nn.Module):
    """Twice the resolution: a transposed convolution (the paper's), or bilinear enlargement and a 3x3 convolution.

    The second leaves no checkerboards.
    """

    def __init__(self, inputs: int, skip: int, outputs: int, norm: str, deconvolution: bool) -> None:
        super().__init__()
        self.deconvolution = deconvolution
        conv: nn.Module
        if deconvolution:
            conv = nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=norm == "none")
        else:
            conv = nn.Conv2d(inputs + skip, outputs, 3, 1, 1, bias=norm == "none")
        self.block = _block(conv, outputs, norm)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(B, inputs, h, w), (B, skip, 2h, 2w) -> (B, outputs [+ skip if deconvolution], 2h, 2w)."""
        if self.deconvolution:
            return torch.cat([self.block(x), skip], 1)
        larger = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        result: Tensor = self.block(torch.cat([larger, skip], 1))
        return result


class UNet(nn.Module):
    """Mask network: image (B, C, H, W) in [-1, 1] -> logits (B, 1, H, W). Any H, W >= 32.

    `depth` halvings by 4x4 convolutions (the sixth 2x2, as in Table 1), skip connections, the image itself joined at
    full resolution. With `coarse` > 1 the logits are averaged over coarse x coarse pixels and enlarged again:
    masks that cannot be speckled. Sizes that 2^depth does not divide are resized to the nearest that it does, and back.
    """

    def __init__(
        self,
        channels: int,
        width: int,
        depth: int,
        norm: str,
        deconvolution: bool = False,
        coarse: int = 1,
        stem: int = 16,
    ) -> None:
        super().__init__()
        self.depth, self.deconvolution, self.coarse = depth, deconvolution, coarse
        levels = [width * WIDTHS[i] for i in range(depth)]
        inputs = [channels, *levels[:-1]]
        self.down = nn.ModuleList()
        for i, (a, b) in enumerate(zip(inputs, levels, strict=True)):
            conv = nn.Conv2d(a, b, 2 if i == 5 else 4, 2, 0 if i == 5 else 1, bias=norm == "none")
            self.down.append(_block(conv, b, norm))
        self.up = nn.ModuleList()
        now = levels[-1]
        for skip in reversed(levels[:-1]):
            self.up.append(_Up(now, skip, skip, norm, deconvolution))
            now = 2 * skip if deconvolution else skip
        if deconvolution:
            self.last: nn.Module = nn.ConvTranspose2d(now, 1, 4, 2, 1)
        else:
            self.last = nn.Sequential(
                *_block(nn.Conv2d(now + channels, stem, 3, 1, 1, bias=norm == "none"), stem, norm),
                nn.Conv2d(stem, 1, 3, 1, 1),
            )

    def forward(self, images: Tensor) -> Tensor:
        """Logits of the object, in the frame of `images`."""
        size, unit = images.shape[2:], 2**self.depth
        fitting = [max(unit, round(side / unit) * unit) for side in size]
        x = images if list(size) == fitting else F.interpolate(images, fitting, mode="bilinear", align_corners=False)
        levels = [x]
        for down in self.down:
            levels.append(down(levels[-1]))
        h = levels.pop()
        for up in self.up:
            h = up(h, levels.pop())
        if not self.deconvolution:
            h = torch.cat([F.interpolate(h, scale_factor=2, mode="bilinear", align_corners=False), x], 1)
        logits: Tensor = self.last(h)
        if self.coarse > 1:
            logits = F.interpolate(F.avg_pool2d(logits, self.coarse), scale_factor=self.coarse, mode="bilinear")
        return logits if list(size) == fitting else F.interpolate(logits, list(size), mode="bilinear")


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
