"""Connected parts of a plane at many thresholds, as a tree, and the best of them that do not contain one another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from decoupe.methods.independence.cluster.planes import Plane

Numbers = NDArray[np.float64]
_EIGHT = np.ones((3, 3), int)
SMALLEST, LARGEST = 16, 0.2
"""Parts below 16 pixels, or above a fifth of the image, are no candidates."""


@dataclass(frozen=True)
class Tree:
    """N parts, from the highest threshold down: a part's parent, at the next lower threshold, comes after it."""

    level: NDArray[np.int64]
    """(N,) index into `maps`."""
    label: NDArray[np.int64]
    """(N,) its number in that map."""
    parent: NDArray[np.int64]
    """(N,) -1 at the root, or where the parent is no candidate."""
    area: Numbers
    """(N,) pixels."""
    ellipse: Numbers
    """(N,) area over that of the ellipse with the same second moments: 1 for ellipses, less for anything else."""
    edge: Numbers
    """(N,) mean size of the plane's gradient along the rim, in units of its median over the plane."""
    cut: NDArray[np.bool_]
    """(N,) whether the border of the image cuts it."""
    maps: list[NDArray[np.int32]]
    """(H, W) numbered parts of each threshold, holes filled."""

    def mask(self, index: int) -> NDArray[np.bool_]:
        """(H, W) bool: the pixels of one part."""
        return np.asarray(self.maps[int(self.level[index])] == self.label[index])


def thresholds(plane: Plane, count: int) -> Numbers:
    """Descending: half of them evenly spread over the range, half over the quantiles."""
    low, high = np.percentile(plane, 0.2), np.percentile(plane, 99.8)
    even = np.linspace(low, high, count // 2 + 2)[1:-1]
    return np.asarray(np.unique(np.append(even, np.quantile(plane, np.linspace(0.02, 0.98, count - count // 2))))[::-1])


def fill(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(H, W) bool with its holes filled; a hole is what no 4-connected path joins to the border."""
    outside, _ = ndimage.label(~mask)
    rim = np.concatenate([outside[0], outside[-1], outside[:, 0], outside[:, -1]])
    open_ = np.zeros(outside.max() + 1, bool)
    open_[rim] = True
    open_[0] = False
    return np.asarray(~open_[outside])


def grow(plane: Plane, count: int, sigma: float = 1.0) -> Tree:
    """The tree of the bright parts of a plane, smoothed by `sigma` pixels, at `count` thresholds."""
    smooth = ndimage.gaussian_filter(plane.astype(np.float32), sigma)
    slope = np.hypot(ndimage.sobel(smooth, 0), ndimage.sobel(smooth, 1))
    slope = (slope / max(float(np.median(slope)), 1e-9 + 1e-3 * float(slope.max()))).astype(np.float64)
    rows: list[tuple[NDArray[np.float64], ...]] = []
    maps: list[NDArray[np.int32]] = []
    parents: list[NDArray[np.int64]] = []
    firsts, total = np.zeros(0, np.int64), 0
    for threshold in thresholds(smooth, count):
        mask = fill(smooth >= threshold)
        numbered, number = ndimage.label(mask, _EIGHT)
        labels: NDArray[np.int32] = numbered.astype(np.int32)
        kept, values, first = _describe(labels, number, mask, slope)
        ids = np.full(number + 1, -1)
        ids[kept] = total + np.arange(len(kept))
        parents.append(ids[labels.ravel()[firsts]])
        firsts, total = first, total + len(kept)
        rows.append((np.full(len(kept), float(len(maps))), kept.astype(np.float64), *values))
        maps.append(labels)
    parents.append(np.full(len(firsts), -1))
    level, label, area, ellipse, edge, cut = (np.concatenate(column) for column in zip(*rows, strict=True))
    parent = np.concatenate(parents).astype(np.int64)
    return Tree(level.astype(np.int64), label.astype(np.int64), parent, area, ellipse, edge, cut > 0, maps)


def _describe(
    labels: NDArray[np.int32], number: int, mask: NDArray[np.bool_], slope: Numbers
) -> tuple[NDArray[np.int64], tuple[Numbers, ...], NDArray[np.int64]]:
    """Numbers of the candidates, their (area, ellipse, edge, cut), and one pixel (flat index) of each."""
    flat, size = labels.ravel(), number + 1
    inside = np.flatnonzero(flat)
    here = flat[inside]
    y, x = (c.astype(np.float64) for c in np.divmod(inside, labels.shape[1]))
    area = np.bincount(here, minlength=size).astype(np.float64)
    safe = np.maximum(area, 1)
    mean_x, mean_y = np.bincount(here, x, size) / safe, np.bincount(here, y, size) / safe
    xx = np.bincount(here, x * x, size) / safe - mean_x**2 + 1 / 12
    yy = np.bincount(here, y * y, size) / safe - mean_y**2 + 1 / 12
    xy = np.bincount(here, x * y, size) / safe - mean_x * mean_y
    ellipse = area / (4 * np.pi * np.sqrt(np.maximum(xx * yy - xy**2, 1e-9)))
    rim = np.flatnonzero((mask & ~ndimage.minimum_filter(mask, 3)).ravel())
    edge = np.bincount(flat[rim], slope.ravel()[rim], size) / np.maximum(np.bincount(flat[rim], minlength=size), 1)
    cut = np.zeros(size)
    cut[np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])] = 1
    kept = np.flatnonzero((area >= SMALLEST) & (area <= LARGEST * labels.size))
    kept = kept[kept > 0]
    first = np.zeros(size, np.int64)
    first[here[::-1]] = inside[::-1]
    return kept, (area[kept], ellipse[kept], edge[kept], cut[kept]), first[kept]


def steepest(tree: Tree, nodes: NDArray[np.int64], ratio: float = 1.7) -> NDArray[np.int64]:
    """For each node the part with the steepest rim among those that differ from it by their threshold alone.

    Those are the parts around it, up to `ratio` times its area, that hold no other of the nodes, and the largest part
    of each part within it, down to 1 / `ratio` of its area.
    """
    held, child = np.zeros(len(tree.area), np.int64), np.full(len(tree.area), -1)
    held[nodes] = 1
    for i, over in enumerate(tree.parent):
        if over >= 0:
            held[over] += held[i]
            if child[over] < 0 or tree.area[i] > tree.area[child[over]]:
                child[over] = i
    out = []
    for node in nodes:
        best = at = int(node)
        while (at := int(tree.parent[at])) >= 0 and held[at] == 1 and tree.area[at] <= ratio * tree.area[node]:
            best = at if tree.edge[at] > tree.edge[best] else best
        at = int(node)
        while (at := int(child[at])) >= 0 and tree.area[at] * ratio >= tree.area[node]:
            best = at if tree.edge[at] > tree.edge[best] else best
        out.append(best)
    return np.array(out, np.int64)


def best_antichain(parent: NDArray[np.int64], gain: Numbers) -> NDArray[np.int64]:
    """Indices of the nodes of largest total gain of which none is an ancestor of another; parents come after children.

    A node stands for all below it where its gain is at least their best total; nodes without gain are left out.
    """
    below, taken = np.zeros(len(gain)), np.zeros(len(gain), bool)
    for i in range(len(gain)):
        taken[i] = gain[i] > 0 and gain[i] >= below[i]
        if parent[i] >= 0:
            below[parent[i]] += max(gain[i], below[i]) if taken[i] else below[i]
    hidden = np.zeros(len(gain), bool)
    for i in range(len(gain) - 1, -1, -1):
        over = parent[i]
        hidden[i] = over >= 0 and (hidden[over] or taken[over])
    return np.flatnonzero(taken & ~hidden)
