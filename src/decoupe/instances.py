"""From a mask of many alike things to the single things: components, touching ones split, specks left out.

Touching things are split where the mask is narrow. Every pixel of the mask climbs the distance to the background to
the top it reaches by steepest ascent, which gives one basin for each top (the watershed of the inverted distance);
then basins are merged from the highest pass down, unless the pass between two tops is a real neck:

    merge A and B  if  pass(A, B) >= neck * min(top(A), top(B))

where pass is the largest distance on the way from one to the other, half the width of the neck, and top that of the
smaller thing, its inner radius. The rule has no unit: it is the same for large and small things. Shape alone decides:
three things packed round one point leave no neck between them and stay one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from decoupe.errors import Fault
from decoupe.export import rle
from decoupe.types import Instance, InstanceMap

Mask = NDArray[np.bool_]
NEIGHBOURS = np.ones((3, 3), int)
"""8-connectivity."""
NECK = 0.9
"""Default: two things are split where the neck between them is narrower than 0.9 of the smaller one.

Chosen on built-in `cluster` images, whose things overlap up to 40 %, by their exact masks (F1 at IoU 0.5, 14 images of
192 px: 0.73 at 0.8, 0.82 at 0.9, 0.85 at 0.94, 0.80 at 0.98); a little below the best, since found masks are rougher.
"""
SPECK = 0.1
"""Default: parts, and holes, below a tenth of the typical size are noise."""
_STEPS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))


def instances(
    mask: Mask,
    *,
    neck: float = NECK,
    smallest: int | None = None,
    probs: NDArray[np.float32] | None = None,
    region: int = 1,
) -> list[Instance]:
    """The things of a mask, touching ones split, in reading order of their first pixels; their number is the count.

    Args:
        mask: (H, W) bool.
        neck: see the top of this file; in (0, 1], larger splits more.
        smallest: least size in pixels; None = a tenth of the typical size (`typical`).
        probs: (H, W) in [0, 1]: the score of a thing is its mean here; without it every score is 1.
        region: the region they belong to.

    Raises:
        Fault: the mask is no plane, or a setting is out of range.
    """
    return to_instances(separate(mask, neck, smallest), probs, region)


def components(mask: Mask, smallest: int | None = None) -> InstanceMap:
    """(H, W) bool -> 8-connected parts of at least `smallest` pixels, numbered in reading order; nothing is split."""
    labels = np.asarray(ndimage.label(_plane(mask), NEIGHBOURS)[0], np.int32)
    return _without_specks(labels, smallest)


def separate(mask: Mask, neck: float = NECK, smallest: int | None = None) -> InstanceMap:
    """(H, W) bool -> the things of a mask, touching ones split, numbered in reading order. See `instances`."""
    if not 0 < neck <= 1:
        raise Fault("neck above 0 and at most 1", f"{neck}", "choose for instance 0.9")
    filled = fill_holes(mask, smallest)
    return _without_specks(_numbered(_merged(filled, neck)), smallest)


def fill_holes(mask: Mask, smallest: int | None = None) -> Mask:
    """(H, W) bool, with holes below `smallest` pixels filled (None: a tenth of the typical size of its parts)."""
    plane = _plane(mask)
    if smallest is None:
        smallest = _speck(np.bincount(ndimage.label(plane, NEIGHBOURS)[0].ravel())[1:])
    holes, _ = ndimage.label(ndimage.binary_fill_holes(plane) & ~plane)
    sizes = np.bincount(holes.ravel())
    sizes[0] = smallest  # what is no hole
    return np.asarray(plane | (sizes < smallest)[holes])


def typical(sizes: NDArray[np.int64]) -> int:
    """The size in pixels of the part that the median pixel of the mask belongs to: specks, however many, weigh little.

    0 where there is no part.
    """
    order = np.sort(sizes)
    return int(order[np.searchsorted(order.cumsum(), order.sum() / 2)]) if len(order) else 0


def to_instances(labels: InstanceMap, probs: NDArray[np.float32] | None = None, region: int = 1) -> list[Instance]:
    """The instances of a label map by number. Scores: mean of `probs` (H, W) over each, else 1."""
    found, size = [], (labels.shape[0], labels.shape[1])
    for number, box in enumerate(ndimage.find_objects(np.maximum(labels, 0)), start=1):
        if box is not None:
            mask = labels[box] == number
            score = 1.0 if probs is None else float(probs[box][mask].mean())
            counts = rle.encode(mask, size, (int(box[0].start), int(box[1].start)))
            found.append(Instance(size, counts, score, region))
    return found


def to_map(found: Sequence[Instance], size: tuple[int, int]) -> InstanceMap:
    """Instances as a label map: instance i has number i + 1. Where some overlap the best score wins, then the first.

    Raises:
        Fault: an instance of another size.
    """
    labels = np.zeros(size, np.int32)
    for number in sorted(range(len(found)), key=lambda i: (found[i].score, -i)):
        if found[number].size != size:
            raise Fault(f"instances of {size[0]}x{size[1]} pixels", f"{found[number].size}", "use those of one image")
        labels[rle.decode(found[number].counts, size)] = number + 1
    return labels


def _plane(mask: Mask) -> Mask:
    plane = np.asarray(mask)
    if plane.ndim != 2 or plane.dtype != np.bool_:
        raise Fault("a mask of shape (H, W), bool", f"{plane.shape} {plane.dtype}", "pass for instance probs[1] > 0.5")
    return plane


def _speck(sizes: NDArray[np.int64]) -> int:
    return int(np.ceil(SPECK * typical(sizes)))


def _without_specks(labels: InstanceMap, smallest: int | None) -> InstanceMap:
    """Labels of at least `smallest` pixels (None: a tenth of the typical size), numbered anew."""
    sizes = np.bincount(labels.ravel())
    kept = sizes >= (_speck(sizes[1:]) if smallest is None else smallest)
    kept[0] = False
    return np.asarray((kept.cumsum() * kept)[labels], np.int32)


def _numbered(labels: NDArray[np.int64]) -> InstanceMap:
    """Any labels, -1 = background -> 1, 2, ... in reading order, 0 = background."""
    values, first, inverse = np.unique(labels.ravel(), return_index=True, return_inverse=True)
    order = np.argsort(np.where(values < 0, -1, first))
    numbers = np.empty(len(values), np.int32)
    numbers[order] = np.arange(len(values)) + (0 if len(values) and values[0] < 0 else 1)
    return numbers[inverse].reshape(labels.shape)


def _merged(mask: Mask, neck: float) -> NDArray[np.int64]:
    """(H, W) int64: the same number for all pixels of a thing, -1 outside the mask."""
    height, width = mask.shape
    distance = np.zeros((height + 2, width + 2))
    # beyond the image nothing is known: a thing cut by its edge keeps its width there
    distance[1:-1, 1:-1] = ndimage.distance_transform_edt(mask) if not mask.all() else 1.0
    flat = distance.ravel()
    inside = np.flatnonzero(flat > 0)
    rank = np.zeros(flat.size, np.int64)
    rank[inside[np.argsort(flat[inside], kind="stable")]] = np.arange(1, len(inside) + 1)
    basin = _basins(rank, inside, width + 2)
    tops = _union(flat, rank, basin, inside, width + 2, neck)
    out = np.full(flat.size, -1, np.int64)
    out[inside] = tops
    return out.reshape(distance.shape)[1:-1, 1:-1]


def _basins(rank: NDArray[np.int64], inside: NDArray[np.int64], stride: int) -> NDArray[np.int64]:
    """The top (flat index) that every pixel reaches by steepest ascent of a rank without ties."""
    best, target = rank[inside].copy(), inside.copy()
    for dy, dx in _STEPS:
        other = inside + dy * stride + dx
        higher = rank[other] > best
        best[higher], target[higher] = rank[other[higher]], other[higher]
    up = np.arange(rank.size)
    up[inside] = target
    while True:
        further = up[up]
        if np.array_equal(further, up):
            return up
        up = further


def _union(
    distance: NDArray[np.float64],
    rank: NDArray[np.int64],
    basin: NDArray[np.int64],
    inside: NDArray[np.int64],
    stride: int,
    neck: float,
) -> NDArray[np.int64]:
    """The top of each inside pixel after merging, from the highest pass down."""
    passes: dict[tuple[int, int], int] = {}
    for dy, dx in _STEPS[4:]:
        other = inside + dy * stride + dx
        apart = (rank[other] > 0) & (basin[other] != basin[inside])
        low = np.where(rank[other] < rank[inside], other, inside)[apart]
        for a, b, p in zip(basin[inside[apart]].tolist(), basin[other[apart]].tolist(), low.tolist(), strict=True):
            key = (min(a, b), max(a, b))
            if key not in passes or rank[p] > rank[passes[key]]:
                passes[key] = p
    parent = {int(top): int(top) for top in np.unique(basin[inside])}

    def find(top: int) -> int:
        while parent[top] != top:
            parent[top] = parent[parent[top]]
            top = parent[top]
        return top

    for (a, b), p in sorted(passes.items(), key=lambda item: -int(rank[item[1]])):
        lower, higher = sorted((find(a), find(b)), key=lambda top: int(rank[top]))
        if lower != higher and distance[p] >= neck * distance[lower]:
            parent[lower] = higher
    tops = np.array(sorted(parent), np.int64)
    final = np.array([find(int(top)) for top in tops], np.int64)
    return np.asarray(final[np.searchsorted(tops, basin[inside])], np.int64)
