"""Single things that can be told without learning: parts of an image that look like one thing and are of one size.

No label and no learning: a part is a good candidate when it fills the ellipse of its second moments, has a clear
edge all round, and is about as large as the others. They are what the composites of the next step are made of.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from decoupe.instances import separate
from decoupe.methods.independence.cluster.planes import planes
from decoupe.methods.independence.cluster.shape import of_its_kind, weighted_median
from decoupe.methods.independence.cluster.tree import Numbers, Tree, best_antichain, grow, steepest
from decoupe.types import Image, InstanceMap

LEVELS = 28
"""Thresholds per plane."""
SURE = 0.3
"""Quality above which a part helps to tell the size of the things."""
LEAST = 0.1
"""Quality below which a part is no proposal."""
NEAR = 0.5
"""Planes whose gain is below this share of the best plane's are left out."""


AGAIN = 0.15
"""Proposals are chosen anew where their typical area turns out to differ by more than this (in log)."""


@dataclass(frozen=True)
class Proposals:
    """What was found in one image."""

    labels: InstanceMap
    """(H, W) int32: 0 nothing, 1, 2, ... the proposals."""
    quality: Numbers
    """(N,) in (0, 1]: how much each looks like one thing."""
    area: float
    """Typical area of a thing in pixels; 0 where nothing was found."""
    plane: str
    """The plane in which they stand out best."""

    @property
    def diameter(self) -> float:
        """Of the disk of that area, in pixels."""
        return float(np.sqrt(4 * self.area / np.pi))

    @property
    def cover(self) -> float:
        """Share of the image that the proposals cover, weighted by their quality, in [0, 1]."""
        areas = np.bincount(self.labels.ravel(), minlength=len(self.quality) + 1)[1:]
        return float((areas * self.quality).sum() / self.labels.size)


def quality(tree: Tree, area: float | None = None, spread: float = 0.5) -> Numbers:
    """(N,) in [0, 1]: shape times edge, times a log-normal factor about `area` of deviation `spread` where given.

    What the border of the image cuts may be smaller.
    """
    shape = np.clip((tree.ellipse - 0.85) / 0.13, 0, 1) ** 2
    edge = np.clip((tree.edge - 1) / 4, 0, 1)
    found = shape * edge
    if area is None:
        return np.asarray(found)
    z = np.log(tree.area / area) / spread
    z = np.where(tree.cut & (z < 0), z / 3, z)
    return np.asarray(found * np.exp(-z * z / 2))


def select(tree: Tree, area: float | None, passes: int = 4) -> tuple[NDArray[np.int64], Numbers, float]:
    """(nodes, their quality, typical area): the best set of parts, and the size on which most of them agree."""
    given = area
    for _ in range(passes):
        worth = quality(tree, area)
        nodes = best_antichain(tree.parent, worth * np.sqrt(tree.area))
        sure = nodes[(worth[nodes] > SURE) & ~tree.cut[nodes]]
        if given is None and len(sure):
            outlines = tree.area[steepest(tree, sure)]
            area = weighted_median(outlines, worth[sure] * np.sqrt(outlines))
    return nodes, worth[nodes], area or 0.0


def propose(image: Image, area: float | None = None, levels: int = LEVELS) -> Proposals:
    """The single things of one image, (H, W, C) uint8, that can be told without learning.

    `area`: typical area in pixels if it is known. Planes are judged by the share of the image that their parts cover,
    weighted by quality; those about as good as the best contribute too.
    """
    found = []
    for name, plane in planes(image).items():
        for sign in (1, -1) if name != "away" else (1,):
            tree = grow(plane * sign, levels)
            if len(tree.area):
                nodes, worth, size = select(tree, area)
                gain = float((worth * tree.area[nodes]).sum()) / plane.size
                found.append((gain, f"{'' if sign > 0 else '-'}{name}", tree, nodes, worth, size))
    found.sort(key=lambda one: -one[0])
    labels = np.zeros(image.shape[:2], np.int32)
    if not found or not found[0][0]:
        return Proposals(labels, np.zeros(0), 0.0, "none")
    size = area or found[0][5]
    chosen = [one for i, one in enumerate(found) if one[0] >= NEAR * found[0][0] and not _opposed(one[1], found[:i])]
    kept = _merge(labels, [_candidates(tree, size) for _, _, tree, _, _, _ in chosen])
    if area is None and (again := _size_of(labels, kept)) and abs(np.log(again / size)) > AGAIN:
        labels[:] = 0  # pairs that look like one thing made the size too large, until their necks were seen
        size = again
        kept = _merge(labels, [_candidates(tree, size) for _, _, tree, _, _, _ in chosen])
    return Proposals(labels, kept * of_its_kind(labels, kept), size, found[0][1])


def _size_of(labels: InstanceMap, worth: Numbers) -> float:
    """Typical area of the good proposals, 0 where there are none."""
    areas = np.bincount(labels.ravel(), minlength=len(worth) + 1)[1:].astype(np.float64)
    sure = worth > SURE
    return weighted_median(areas[sure], worth[sure]) if sure.any() else 0.0


def _opposed(name: str, better: list[tuple[float, str, Tree, NDArray[np.int64], Numbers, float]]) -> bool:
    """Whether a better plane says that the other side is the things."""
    other = name[1:] if name.startswith("-") else f"-{name}"
    return any(one[1] == other for one in better)


def _candidates(tree: Tree, area: float) -> tuple[Tree, NDArray[np.int64], Numbers]:
    nodes, worth, _ = select(tree, area, passes=1)
    return tree, steepest(tree, nodes), worth


def _merge(labels: InstanceMap, sets: list[tuple[Tree, NDArray[np.int64], Numbers]]) -> Numbers:
    """Write the candidates of all planes into `labels`, best first; one that mostly lies on others is left out."""
    order = sorted(
        (
            (float(worth), k, int(node))
            for k, (_, nodes, all_) in enumerate(sets)
            for node, worth in zip(nodes, all_, strict=True)
        ),
        reverse=True,
    )
    boxes = [[ndimage.find_objects(level) for level in tree.maps] for tree, _, _ in sets]
    kept: list[float] = []
    for worth, k, node in order:
        if worth < LEAST:
            break
        tree = sets[k][0]
        box = boxes[k][int(tree.level[node])][int(tree.label[node]) - 1]
        mask = tree.maps[int(tree.level[node])][box] == tree.label[node]
        free = mask & (labels[box] == 0)
        if free.sum() >= 0.75 * mask.sum() and separate(np.pad(mask, 1), smallest=int(mask.sum() / 5)).max() <= 1:
            kept.append(worth)
            labels[box][free] = len(kept)
    return np.array(kept)
