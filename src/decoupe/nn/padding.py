"""Padding by reflected or repeated borders, in the precision of the convolution that follows.

Mixed precision would widen a map to float32 to pad it, and the convolution narrow it again: two copies of all of it,
and two more of its derivative.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def narrowed(x: Tensor) -> Tensor:
    """`x` in the type in which a convolution would take it here: that of autocast, or its own."""
    kind = x.device.type
    return x.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else x


def padded(x: Tensor, sizes: tuple[int, int, int, int], mode: Literal["reflect", "replicate"]) -> Tensor:
    """(B, C, H, W) -> (B, C, H + top + bottom, W + left + right); `sizes` are left, right, top, bottom, in pixels."""
    x = narrowed(x)
    with torch.autocast(x.device.type, enabled=False):
        return F.pad(x, sizes, mode=mode)


class Reflect(nn.Module):
    """Reflection of `size` pixels at every border."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H + 2 size, W + 2 size)."""
        return padded(x, (self.size,) * 4, "reflect")


class ReplicatedConv2d(nn.Conv2d):
    """`nn.Conv2d(..., padding_mode="replicate")`."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, padding: int, dilation: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, padding, dilation, 1, False, "replicate")

    def forward(self, input: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H', W')."""
        border = int(self.padding[0])
        wide = padded(input, (border,) * 4, "replicate")
        return F.conv2d(wide, self.weight, None, self.stride, 0, self.dilation)
