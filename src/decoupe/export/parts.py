"""The pieces of a segmentation that annotation tools call objects: one per 8-connected component of a region."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from decoupe.export import rle
from decoupe.export.base import Segmented, things_of
from decoupe.export.measures import NEIGHBOURS
from decoupe.export.palette import is_background
from decoupe.types import Instance

MIN_SHARE = 1e-4
"""Components smaller than this share of the image's pixels are left out."""


@dataclass(frozen=True)
class Part:
    """One component."""

    region: int
    """Index of its region."""
    mask: NDArray[np.bool_]
    """(h, w) bool, cut to its box."""
    y: int
    """Top row of the box."""
    x: int
    """Left column of the box."""
    area: int
    """Pixels set."""
    score: float
    """The region's mean probability over the component, rounded to 4 digits."""


def parts(regions: Segmented) -> Iterator[Part]:
    """Every component of every region but the background, region by region in reading order.

    Where single things were found, those, in their order and with their own scores.
    """
    if things := things_of(regions):
        yield from map(thing, things)
        return
    labels = regions.labels
    smallest = math.ceil(MIN_SHARE * labels.size)
    for region, name in enumerate(regions.names):
        if is_background(name):
            continue
        found, count = ndimage.label(labels == region, NEIGHBOURS)
        sizes = np.bincount(found.ravel(), minlength=count + 1)
        for part, box in enumerate(ndimage.find_objects(found), start=1):
            if box is None or sizes[part] < smallest:
                continue
            mask = found[box] == part
            score = round(float(regions.probs[region][box][mask].mean()), 4)
            yield Part(region, mask, int(box[0].start), int(box[1].start), int(sizes[part]), score)


def thing(one: Instance) -> Part:
    """A thing as a part."""
    mask = rle.decode(one.counts, one.size)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    top, left = (int(rows[0]), int(columns[0])) if len(rows) else (0, 0)
    box = mask[top : int(rows[-1]) + 1, left : int(columns[-1]) + 1] if len(rows) else mask[:1, :1]
    return Part(one.region, box, top, left, int(box.sum()), round(one.score, 4))


def category(region: int, names: Sequence[str]) -> int:
    """Class number of a region in files where 0 is the background; never 0 for an object."""
    return region if names and is_background(names[0]) else region + 1


def unique(names: Sequence[str], taken: Sequence[str] = ()) -> list[str]:
    """`names`, none empty and none twice or among `taken`: later ones get " 2", " 3"... as the tools ask."""
    seen, out = set(taken), []
    for index, name in enumerate(names):
        base = name.strip() or f"region {index}"
        choice, turn = base, 2
        while choice in seen:
            choice, turn = f"{base} {turn}", turn + 1
        seen.add(choice)
        out.append(choice)
    return out
