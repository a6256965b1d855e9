"""How much a part of an image looks like one thing by its outline: round, without pockets, not too large.

Two things that overlap look like one that is too large and has a pocket at each end of the seam. Both are judged
against the other parts of the same image: beans have pockets, and where all have one it tells nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError

from decoupe.types import InstanceMap

Numbers = NDArray[np.float64]
_CORNERS = np.array([(-0.5, -0.5), (-0.5, 0.5), (0.5, -0.5), (0.5, 0.5)])
LARGER = 0.35
"""Deviation of log area above the usual area."""
DEEPER = 0.15
"""Deviation of the pocket's depth above the usual depth, in radii."""


def roundness(mask: NDArray[np.bool_]) -> float:
    """Area over that of the ellipse with the same second moments: 1 for ellipses, less for anything else."""
    yx = np.argwhere(mask)
    if len(yx) < 2:
        return 0.0
    spread = np.cov(yx.T) + np.eye(2) / 12
    return float(len(yx) / (4 * np.pi * np.sqrt(max(float(np.linalg.det(spread)), 1e-9))))


def pocket(mask: NDArray[np.bool_]) -> float:
    """Depth of the deepest pocket between a part and its convex hull, in radii of the disk of its area; 0 if convex.

    A pocket is seen from outside: holes are none. Depths below one pixel are not told from the staircase of pixels.
    """
    yx = np.argwhere(mask)
    if len(yx) < 3:
        return 0.0
    try:
        hull = ConvexHull((yx[:, None] + _CORNERS).reshape(-1, 2))
    except QhullError:
        return 0.0
    low, high = yx.min(0), yx.max(0) + 1
    box = mask[low[0] : high[0], low[1] : high[1]]
    free = np.argwhere(~box) + low
    if not len(free):
        return 0.0
    within = -(free @ hull.equations[:, :2].T + hull.equations[:, 2]).max(1)  # distance to the hull's nearest side
    deepest = float(within.max(initial=0.0)) + 0.5
    return deepest / float(np.sqrt(len(yx) / np.pi)) if deepest > 1 else 0.0


def of_its_kind(labels: InstanceMap, worth: Numbers) -> Numbers:
    """`usual` of the N things of a label map, `worth` (N,) each."""
    boxes = ndimage.find_objects(labels, len(worth))
    masks = [np.zeros((1, 1), bool) if box is None else labels[box] == n for n, box in enumerate(boxes, start=1)]
    areas = np.array([mask.sum() for mask in masks], np.float64)
    return usual(areas, np.array([pocket(mask) for mask in masks]), worth)


def usual(areas: Numbers, pockets: Numbers, worth: Numbers) -> Numbers:
    """(N,) in (0, 1]: 1 for parts no larger and with no deeper pocket than is usual, less the more they exceed it.

    `worth` (N,) weighs the parts when their medians are taken.
    """
    if not len(areas):
        return np.zeros(0)
    larger = np.maximum(np.log(np.maximum(areas, 1) / max(weighted_median(areas, worth), 1.0)), 0) / LARGER
    deeper = np.maximum(pockets - weighted_median(pockets, worth), 0) / DEEPER
    return np.asarray(np.exp(-(larger**2 + deeper**2) / 2))


def weighted_median(values: Numbers, weight: Numbers) -> float:
    """The value at which half of the weight is reached; the plain median where nothing has any."""
    order = np.argsort(values)
    total = np.cumsum(weight[order])
    if total[-1] <= 0:
        return float(np.median(values))
    return float(values[order][np.searchsorted(total, total[-1] / 2)])
