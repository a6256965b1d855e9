"""Masks to polygons along the edges of their pixels, and polygons back to masks. Nothing is lost either way.

A vertex is a corner of pixels, (x, y) from the top-left corner of the image. Pixels that touch at a corner belong to
one outline. A pixel is inside a polygon when its centre is, by the even-odd rule.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from decoupe.errors import Fault

Mask = NDArray[np.bool_]
Ring = NDArray[np.int64]
"""(N, 2) corners x, y of a closed outline, the last one joined to the first."""
FAR = 1e7
"""Coordinates beyond this are no pixels of any image."""
CHUNK = 1 << 22
"""Crossings of edges and rows that are worked on at a time."""


class BadPolygon(Fault, ValueError):
    """A polygon that describes no area of an image."""

    def __init__(self, got: str) -> None:
        Fault.__init__(self, "polygons of three points or more, in pixels", got, "export the masks again")


def outlines(mask: Mask) -> list[Ring]:
    """The outlines of an (h, w) mask, each after the one it lies in; of one component the first is the outer one.

    Corners are joined in turn by a horizontal and by a vertical edge: the corners in a row pair up, and so do those in
    a column. Where two pixels touch at a corner only, two outlines turn away from each other so that both pixels stay
    on one.
    """
    padded = np.zeros((mask.shape[0] + 2, mask.shape[1] + 2), np.int8)
    padded[1:-1, 1:-1] = mask
    a, b, c, d = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    crossing = (a == d) & (b == c) & (a != b)
    rows, columns = np.nonzero(((a + b + c + d) % 2 == 1) | crossing)
    double = crossing[rows, columns]
    y, x = np.repeat(rows, 1 + double), np.repeat(columns, 1 + double)
    second = np.zeros(len(y), bool)
    second[1:] = (y[1:] == y[:-1]) & (x[1:] == x[:-1])
    falling = a[y, x] == 1
    below = np.where(falling, ~second, second)  # which of the two comes later in its column
    order = np.lexsort((below, y, x))
    across = np.empty(len(y), np.int64)
    across[order[::2]], across[order[1::2]] = order[1::2], order[::2]
    return [np.stack((x[ring], y[ring]), axis=1) for ring in _cycles(across)]


def _cycles(across: NDArray[np.int64]) -> list[list[int]]:
    """Rings of node numbers: each node's horizontal partner is the one it pairs with by number, then `across`."""
    partner, left, rings = across.tolist(), np.ones(len(across), bool), []
    for start in range(len(partner)):
        if not left[start]:
            continue
        ring, node = [], start
        while True:
            ring += [node, node ^ 1]
            node = partner[node ^ 1]
            if node == start:
                break
        left[ring] = False
        rings.append(ring)
    return rings


def keyhole(rings: Sequence[Ring]) -> Ring:
    """One outline of a component with holes: each hole is joined by a cut without width, walked there and back.

    rings: the outer one first. Filling the result by the even-odd rule gives the same mask.
    """
    whole = rings[0]
    for hole in sorted(rings[1:], key=lambda ring: tuple(ring[0])):
        near = int(np.abs(whole - hole[0]).sum(axis=1).argmin())
        whole = np.concatenate((whole[: near + 1], hole, hole[:1], whole[near:]))
    return whole


def points(values: ArrayLike) -> NDArray[np.float64]:
    """(N, 2) float x, y of x, y pairs. BadPolygon unless there are three or more, finite and near an image."""
    try:
        found = np.asarray(values, np.float64)
    except (ValueError, TypeError, OverflowError):
        raise BadPolygon("values that are not pairs of numbers") from None
    if found.ndim != 2 or found.shape[1] != 2:
        raise BadPolygon("values that are not pairs of numbers")
    if len(found) < 3:
        raise BadPolygon(f"{len(found)} points")
    if not np.isfinite(found).all():
        raise BadPolygon("a coordinate that is not a number")
    if np.abs(found).max() > FAR:
        raise BadPolygon("a coordinate far outside of any image")
    return found


def fill(rings: Sequence[NDArray[np.float64]], size: tuple[int, int]) -> tuple[Mask, int, int]:
    """Pixels of an (H, W) image with centres inside `rings` (even-odd): mask cut to a box, its top row and left column.

    BadPolygon if the edges cross absurdly many rows.
    """
    start = np.concatenate([points(ring) for ring in rings])
    end = np.concatenate([np.roll(ring, -1, axis=0) for ring in rings])
    top, left = (max(0, int(np.floor(v))) for v in start.min(axis=0)[::-1])
    bottom, right = (min(side, int(np.ceil(v))) for side, v in zip(size, start.max(axis=0)[::-1], strict=True))
    if bottom <= top or right <= left:
        return np.zeros((0, 0), bool), 0, 0
    height, width = bottom - top, right - left
    rising = start[:, 1] > end[:, 1]  # every edge downwards, so that a cut is rounded the same there and back
    start[rising], end[rising] = end[rising], start[rising]
    first, after = (np.clip(np.ceil(side[:, 1] - 0.5), top, bottom).astype(np.int64) for side in (start, end))
    count = after - first
    if count.sum() > 4 * height * width + 1_000_000:
        raise BadPolygon("edges that cross an image thousands of times")
    toggles = np.zeros((height, width + 1), np.uint8)
    done = np.cumsum(count)
    cuts = np.searchsorted(done, np.arange(0, int(done[-1]), CHUNK) + CHUNK)
    for some in np.split(np.arange(len(count)), np.unique(cuts)):
        edge = np.repeat(some, count[some])
        row = np.arange(len(edge)) - np.repeat(np.cumsum(count[some]) - count[some], count[some]) + first[edge]
        share = (row + 0.5 - start[edge, 1]) / (end[edge, 1] - start[edge, 1])
        x = start[edge, 0] + share * (end[edge, 0] - start[edge, 0])
        column = np.clip(np.ceil(x - 0.5) - left, 0, width).astype(np.int64)
        np.add.at(toggles, (row - top, column), np.uint8(1))
    inside = np.bitwise_xor.accumulate(toggles & 1, axis=1)[:, :width]
    return inside.astype(bool), top, left
