"""k-means of p x p patches over a whole data set; assigning patches is one convolution."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from decoupe.clustering import kmeans
from decoupe.methods.room import Source

PER_IMAGE = 50
"""Patches taken from one image, at least (fewer images are read when there are many)."""


def draw_patches(images: Source, count: int, p: int, generator: torch.Generator) -> Tensor:
    """(count, C * p * p) float32 in [-1, 1]: random patches of the images, borders continued by their last pixel."""
    n = len(images)
    rows = torch.randperm(n, generator=generator)[: max(1, count // PER_IMAGE)].sort().values.tolist()
    each = -(-count // len(rows))
    found = [_patches_of(np.asarray(images[np.array([row])])[0], each, p, generator) for row in rows]
    return torch.cat(found)[:count]


def _patches_of(image: NDArray[np.uint8], count: int, p: int, generator: torch.Generator) -> Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(image)).float().div_(127.5).sub_(1)
    windows = enlarge(tensor[None], p)[0].unfold(1, p, 1).unfold(2, p, 1)  # (C, H, W, p, p)
    height, width = windows.shape[1:3]
    places = torch.randint(height * width, (count,), generator=generator)
    return windows[:, places // width, places % width].transpose(0, 1).flatten(1)


def enlarge(images: Tensor, p: int) -> Tensor:
    """(B, C, H, W) -> (B, C, H + p - 1, W + p - 1), continued by the last pixel."""
    return F.pad(images, (p // 2,) * 4, mode="replicate") if p > 1 else images


def fit_centres(
    images: Source,
    k: int,
    p: int,
    count: int,
    generator: torch.Generator,
    bands: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """(K, C, p, p) centres of the data set's patches; `bands` is done to (n, C, p, p) patches first."""
    rows = draw_patches(images, count, p, generator)
    if bands is not None:
        rows = bands(rows.view(len(rows), -1, p, p)).flatten(1)
    centres, _ = kmeans(rows, k, generator)
    return centres.view(k, -1, p, p)


def assign(images: Tensor, centres: Tensor) -> Tensor:
    """(B, H, W) int64 nearest centre of the patch around each pixel: argmin |c|^2 - 2 <patch, c>."""
    cross = F.conv2d(enlarge(images, centres.shape[-1]), centres)
    return ((centres**2).sum((1, 2, 3))[:, None, None] - 2 * cross).argmin(1)
