"""Dense SIFT descriptors (Lowe 2004, section 6; the dense form without a scale or an orientation of its own)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

DIRECTIONS = 8
"""Bins of the gradient's direction."""
BINS = 4
"""Spatial bins along each side of a descriptor."""
CLIP = 0.2
"""Largest entry of a descriptor of length 1, before it is given length 1 again."""
FLAT = 1e-3
"""Length below which a descriptor is left short: where nothing changes, directions are noise."""


def directions(grey: Tensor) -> Tensor:
    """(B, H, W) -> (B, 8, H, W): each pixel's gradient magnitude, shared linearly between the two nearest directions.

    Central differences, the border continued. Bin d stands for the angle d / 8 of a turn.
    """
    padded = F.pad(grey[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    dx = (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]) / 2
    dy = (padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]) / 2
    size = torch.hypot(dx, dy)
    place = torch.atan2(dy, dx).div(2 * math.pi).remainder(1.0) * DIRECTIONS
    centre = torch.arange(DIRECTIONS, device=grey.device, dtype=grey.dtype)[:, None, None]
    away = (place[:, None] - centre).abs()
    away = torch.minimum(away, DIRECTIONS - away)
    return (1 - away).clamp_min(0) * size[:, None]


def dense_sift(images: Tensor, cell: int = 4) -> Tensor:
    """(B, C, H, W) -> (B, 128, H / cell, W / cell): descriptors of 4 x 4 bins of `cell` pixels around each cell.

    H and W divisible by `cell`. Entries [4 x 4 bins row by row, 8 directions]; a pixel counts in a bin by how near it
    is (bilinear: a triangle of base 2 cells). Each descriptor has length 1, is cut at .2, and has length 1 again.
    """
    maps = directions(images.float().mean(1))
    count, _, height, width = maps.shape
    reach = torch.arange(-cell + 0.5, cell, 1.0, device=maps.device)
    triangle = 1 - reach.abs() / cell
    kernel = (triangle[:, None] * triangle)[None, None].repeat(DIRECTIONS, 1, 1, 1)
    # bin b of cell i has its middle between pixels, at (i + b - 1) cells: the bins of all cells lie on one grid
    sums = F.conv2d(F.pad(maps, (2 * cell,) * 4), kernel, stride=cell, groups=DIRECTIONS)
    rows, columns = height // cell, width // cell
    bins = [sums[:, :, i : i + rows, j : j + columns] for i in range(BINS) for j in range(BINS)]
    found = torch.stack(bins, 1).flatten(1, 2)
    found = _unit(_unit(found).clamp_max(CLIP))
    return found.view(count, -1, rows, columns)


def _unit(values: Tensor) -> Tensor:
    length: Tensor = values.square().sum(1, keepdim=True).sqrt()
    return values / length.clamp_min(FLAT)
