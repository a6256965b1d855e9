"""Clusters and what they stand for: k-means, 2-means of every image at once, one-to-one and many-to-one matching."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from decoupe.errors import Fault

CHUNK = 1 << 24
"""Largest table of distances held at once, in numbers (64 MiB of float32)."""


def nearest(x: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """(N,) int64 index of the nearest centre and (N,) squared distance to it, for rows x (N, D), centres (K, D).

    Ties go to the lower index. Memory stays bounded: the distances are made `CHUNK` numbers at a time.
    """
    rows = max(1, CHUNK // len(centres))
    parts = [_squared_distances(x[i : i + rows], centres).min(dim=1) for i in range(0, len(x), rows)]
    return torch.cat([p.indices for p in parts]), torch.cat([p.values for p in parts])


def _squared_distances(x: Tensor, centres: Tensor) -> Tensor:
    """(N, K): |x|^2 - 2 x.c + |c|^2, never below 0."""
    cross = torch.addmm((centres**2).sum(1)[None], x, centres.T, alpha=-2)
    return (cross + (x**2).sum(1, keepdim=True)).clamp_min_(0)


def spread(x: Tensor, k: int, generator: torch.Generator) -> Tensor:
    """(K, D) first centres by k-means++ (Arthur & Vassilvitskii 2007): each drawn with chance ~ squared distance."""
    picks = [x[torch.randint(len(x), (1,), generator=generator)]]
    distance = ((x - picks[0]) ** 2).sum(1)
    while len(picks) < k:
        steps = distance.double().cumsum(0)
        aim = torch.rand(1, generator=generator, dtype=torch.float64) * steps[-1]
        row = torch.searchsorted(steps, aim, right=True).clamp_max(len(x) - 1)
        picks.append(x[row])
        distance = torch.minimum(distance, ((x - picks[-1]) ** 2).sum(1))
    return torch.cat(picks)


def means(x: Tensor, assign: Tensor, distance: Tensor, k: int) -> Tensor:
    """(K, D) mean of each cluster; the e-th empty one takes the row that is e-th farthest from its own centre."""
    counts = torch.bincount(assign, minlength=k)
    sums = torch.zeros(k, x.shape[1], dtype=torch.float64).index_add_(0, assign, x.double())
    centres = (sums / counts.clamp_min(1)[:, None]).to(x.dtype)
    empty = (counts == 0).nonzero()[:, 0]
    if len(empty):
        centres[empty] = x[distance.topk(min(len(empty), len(x))).indices][: len(empty)]
    return centres


def kmeans(x: Tensor, k: int, generator: torch.Generator, iterations: int = 100) -> tuple[Tensor, Tensor]:
    """Lloyd's k-means of rows x (N, D) float32 on the CPU: centres (K, D) and (N,) int64 assignment.

    k-means++ start drawn from `generator`, the same result for the same generator state; ends when no row changes its
    cluster or after `iterations`. Empty clusters are re-seeded. Fault if there are fewer than k rows.
    """
    if not 1 <= k <= len(x):
        raise Fault(f"at least k = {k} rows to cluster, and k >= 1", f"{len(x)} rows", "lower k or give more data")
    origin = x.double().mean(0).to(x.dtype)
    x = x - origin  # distances lose no digits to a common offset
    centres = spread(x, k, generator)
    assign, distance = nearest(x, centres)
    for _ in range(iterations):
        centres = means(x, assign, distance, k)
        before = assign
        assign, distance = nearest(x, centres)
        if torch.equal(before, assign):
            break
    return centres + origin, assign


def two_means(x: Tensor, iterations: int = 50) -> Tensor:
    """(B, N) int64 in {0, 1}: 2-means of every row set x (B, N, D) float32, all B at once.

    Starts from the two halves along each set's first principal axis, so nothing is drawn. A constant set is all 0.
    """
    x = x - x.mean(1, keepdim=True)
    axis: Tensor = torch.linalg.eigh(x.mT @ x)[1][:, :, -1:]  # (B, D, 1), eigenvalues ascend
    side: Tensor = (x @ axis)[:, :, 0] > 0
    for _ in range(iterations):
        share = side.to(x.dtype)[:, None]  # (B, 1, N)
        upper = share @ x / share.sum(2, keepdim=True).clamp_min(1)
        lower = (1 - share) @ x / (1 - share).sum(2, keepdim=True).clamp_min(1)
        before, side = side, ((x - upper) ** 2).sum(2) < ((x - lower) ** 2).sum(2)
        if torch.equal(before, side):
            break
    return side.long()


def hungarian(confusion: NDArray[Any]) -> NDArray[np.int64]:
    """(K,) int64 class of each cluster, -1 for none: the one-to-one choice with the most right pixels.

    `confusion` (K, C) counts pixels of cluster k that are of class c. min(K, C) clusters get a class; a pair that
    shares no pixel is still a pair (it changes no score).
    """
    rows, columns = linear_sum_assignment(np.asarray(confusion, dtype=np.float64), maximize=True)
    classes = np.full(len(confusion), -1, dtype=np.int64)
    classes[rows] = columns
    return classes


def many_to_one(confusion: NDArray[Any]) -> NDArray[np.int64]:
    """(K,) int64 most frequent class of each cluster (ties to the lower class), -1 for a cluster without a pixel."""
    confusion = np.asarray(confusion)
    return np.where(confusion.sum(1) > 0, confusion.argmax(1), -1).astype(np.int64)
