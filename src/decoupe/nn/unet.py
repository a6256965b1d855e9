"""The U-Net that turns images into maps: mask network of `independence`, student of every distillation."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from decoupe.nn.norm import normalise

WIDTHS = (1, 2, 4, 8, 8, 8)
"""Channels of the levels in units of the width: with 64, those of Table 1 of the independence prior."""


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
    """Image (B, C, H, W) in [-1, 1] -> logits (B, outputs, H, W). Any H, W >= 32.

    `depth` halvings by 4x4 convolutions (the sixth 2x2), skip connections, the image itself joined at
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
        outputs: int = 1,
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
            self.last: nn.Module = nn.ConvTranspose2d(now, outputs, 4, 2, 1)
        else:
            self.last = nn.Sequential(
                *_block(nn.Conv2d(now + channels, stem, 3, 1, 1, bias=norm == "none"), stem, norm),
                nn.Conv2d(stem, outputs, 3, 1, 1),
            )

    def encode(self, images: Tensor) -> list[Tensor]:
        """The image at a size that 2^depth divides, then one map per halving; the last is the bottleneck."""
        size, unit = [int(side) for side in images.shape[2:]], 2**self.depth  # plain numbers, also while it is traced
        fitting = [max(unit, round(side / unit) * unit) for side in size]
        x = images if size == fitting else F.interpolate(images, fitting, mode="bilinear", align_corners=False)
        levels = [x]
        for down in self.down:
            levels.append(down(levels[-1]))
        return levels

    def forward(self, images: Tensor) -> Tensor:
        """Logits, in the frame of `images`."""
        levels = self.encode(images)
        x, h = levels[0], levels.pop()
        for up in self.up:
            h = up(h, levels.pop())
        if not self.deconvolution:
            h = F.interpolate(h, scale_factor=2, mode="bilinear", align_corners=False)
            h = torch.cat([h, x.to(h.dtype)], 1)  # joined in float32, all of it would be copied twice
        logits: Tensor = self.last(h)
        if self.coarse > 1:
            logits = F.interpolate(F.avg_pool2d(logits, self.coarse), scale_factor=self.coarse, mode="bilinear")
        same = logits.shape[2:] == images.shape[2:]
        return logits if same else F.interpolate(logits, list(images.shape[2:]), mode="bilinear")
