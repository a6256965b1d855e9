"""Orderings of pixels, and convolutions that see only what comes before a pixel in one of them.

The geometry of a 3x3 kernel, row after row from the top left ("x" = the pixel itself, "." = masked):

    unshifted, as usual        shifted down by one row
    1 1 1                      1 1 1
    1 x .                      1 1 1
    . . .                      1 x .

The shift pads one more row (or column) on the side that comes first and crops the opposite one. Only the weights of the
current row on the far side of the pixel stay masked: one corner of a 3x3 kernel. Four corners and four shifts make the
eight raster orderings. Zigzags from a corner are shifted along both axes and mask nothing: every pixel that the kernel
then reaches lies on an earlier diagonal, or is the pixel itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Ordering:
    """One of the 16 ways to visit the pixels of an image."""

    zigzag: bool = False
    """Along the diagonals, turning at each border; otherwise raster: line after line, always in the same direction."""
    up: bool = False
    """Begin at the bottom."""
    left: bool = False
    """Begin at the right."""
    columns: bool = False
    """Raster: column after column instead of row after row. Zigzag: take the first step down instead of aside."""

    @property
    def name(self) -> str:
        """As in "raster rows, from the top left"."""
        corner = f"{'bottom' if self.up else 'top'} {'right' if self.left else 'left'}"
        way = (
            ("down first" if self.columns else "aside first") if self.zigzag else "columns" if self.columns else "rows"
        )
        return f"{'zigzag' if self.zigzag else 'raster'} {way}, from the {corner}"

    def reflected(self) -> Ordering:
        """The ordering from the opposite corner: of a raster the exact reverse, so that both see nothing in common."""
        return replace(self, up=not self.up, left=not self.left)

    def rank(self, height: int, width: int) -> Tensor:
        """(H, W) int64: when each pixel is visited, 0 first."""
        return _rank(self, height, width)

    def order(self, height: int, width: int) -> Tensor:
        """(H * W,) int64: flat index y * W + x of the pixels in the order in which they are visited."""
        return self.rank(height, width).flatten().argsort()

    def allowed(self, height: int, width: int) -> Tensor:
        """(H * W, H * W) bool, row p, column q: whether pixel p may see pixel q, both by flat index (not by rank).

        That is rank(q) <= rank(p): pixel order[j] sees order[:j + 1]. Made when asked for, never kept.
        """
        rank = self.rank(height, width).flatten()
        return rank[:, None] >= rank[None]

    def padding(self, kernel: int) -> tuple[int, int, int, int]:
        """(left, right, top, bottom) zeros around the input of an odd `kernel`: the usual ones, moved by the shift."""
        half, whole = kernel // 2, kernel - 1
        aside = (0, whole) if self.left else (whole, 0)
        down = (0, whole) if self.up else (whole, 0)
        if self.zigzag:
            return (*aside, *down)
        return (*aside, half, half) if self.columns else (half, half, *down)

    def mask(self, kernel: int) -> Tensor:
        """(k, k) float32: 0 at the weights that would reach a later pixel after the shift, else 1."""
        mask = torch.ones(kernel, kernel)
        if self.zigzag:
            return mask
        half = kernel // 2
        if self.columns:
            later = slice(0, half) if self.up else slice(half + 1, None)
            mask[later, 0 if self.left else -1] = 0
        else:
            later = slice(0, half) if self.left else slice(half + 1, None)
            mask[0 if self.up else -1, later] = 0
        return mask


@lru_cache(maxsize=64)
def _rank(ordering: Ordering, height: int, width: int) -> Tensor:
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    y = height - 1 - y if ordering.up else y
    x = width - 1 - x if ordering.left else x
    if not ordering.zigzag:
        return x * height + y if ordering.columns else y * width + x
    diagonal = y + x
    downwards = (diagonal + int(ordering.columns)) % 2 == 1
    key = diagonal * (height + width) + torch.where(downwards, y, height - 1 - y)
    return key.flatten().argsort().argsort().view(height, width)


def _pairs(zigzag: bool) -> tuple[Ordering, ...]:
    firsts = [Ordering(zigzag, False, left, columns) for left in (False, True) for columns in (False, True)]
    return tuple(ordering for first in firsts for ordering in (first, first.reflected()))


RASTER = _pairs(False)
"""The eight raster orderings; each is followed by the one from the opposite corner, so any even number is balanced."""
ZIGZAG = _pairs(True)
"""The eight zigzags, likewise. Convolutions alone see a quadrant of their past; the rest takes attention."""


class MaskedConv2d(nn.Conv2d):
    """A convolution of stride 1 that keeps the size of the map and sees the past of an ordering, or, without one, all.

    The weight is masked functionally: masked entries take no part in the output and get a gradient of exactly zero.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, bias: bool = True) -> None:
        super().__init__(inputs, outputs, kernel, padding=kernel // 2, bias=bias)

    def forward(self, input: Tensor, ordering: Ordering | None = None) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H, W)."""
        if ordering is None:
            return F.conv2d(input, self.weight, self.bias, padding=self.padding)
        kernel = self.kernel_size[0]
        weight = self.weight * ordering.mask(kernel).to(self.weight)
        return F.conv2d(F.pad(input, ordering.padding(kernel)), weight, self.bias)


def mean_before(x: Tensor, reach: int, ordering: Ordering | None) -> Tensor:
    """(B, C, H, W) -> same shape: means over 2 reach + 1 by 2 reach + 1 pixels, those that `MaskedConv2d` would see.

    Without an ordering, of the window around each pixel. What lies outside the map does not count.
    """
    kernel = 2 * reach + 1
    padding = (reach,) * 4 if ordering is None else ordering.padding(kernel)
    weight = torch.ones(kernel, kernel) if ordering is None else ordering.mask(kernel)
    weight = weight.to(x).expand(1, 1, kernel, kernel)
    flat = F.pad(x.flatten(0, 1)[:, None], padding)
    inside = F.pad(torch.ones_like(x[:1, :1]), padding)
    found: Tensor = F.conv2d(flat, weight) / F.conv2d(inside, weight)
    return found.view_as(x)


class SparingAdam(torch.optim.AdamW):
    """AdamW that leaves alone every single weight whose gradient is exactly zero.

    A masked gradient is not enough: momentum and decay would go on moving weights that this step has masked.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update."""
        given = [p for group in self.param_groups for p in group["params"] if p.grad is not None and p.dim() > 1]
        before = [p.clone() for p in given]
        result = super().step(closure)
        for parameter, old in zip(given, before, strict=True):
            if parameter.grad is not None:
                parameter.copy_(torch.where(parameter.grad == 0, old, parameter))
        return result
