"""From the segmenter's maps to instances: every pixel of a thing votes for where the centre of its thing is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from decoupe.methods.independence.cluster.sprites import THING
from decoupe.types import InstanceMap


@dataclass(frozen=True)
class Counting:
    """How votes become things."""

    blur: float = 0.09
    """Deviation of the blur of the votes, in units of THING."""
    apart: float = 0.3
    """Two centres are at least this far apart."""
    reach: float = 0.6
    """A vote further than this from every centre belongs to none."""
    valley: float = 0.5
    """A centre is no centre of its own where the votes on the way to a stronger one stay above this share of its own:
    the ends of a long thing may not quite agree where its middle is."""
    least: float = 0.12
    """A thing has at least this share of the typical area."""


def count(maps: NDArray[np.float32], how: Counting = Counting()) -> tuple[InstanceMap, NDArray[np.float64]]:
    """(3, H, W) probability and offsets in units of THING -> (H, W) labels 1, 2, ... and the votes of each."""
    chance, dy, dx = maps
    here = np.nonzero(chance > 0.5)
    shape = chance.shape
    labels = np.zeros(shape, np.int32)
    if not len(here[0]):
        return labels, np.zeros(0)
    pad = THING
    vote = np.stack([here[0] + dy[here] * THING, here[1] + dx[here] * THING])
    y = np.clip(np.round(vote[0]).astype(np.int64) + pad, 0, shape[0] + 2 * pad - 1)
    x = np.clip(np.round(vote[1]).astype(np.int64) + pad, 0, shape[1] + 2 * pad - 1)
    heat = np.zeros((shape[0] + 2 * pad, shape[1] + 2 * pad))
    np.add.at(heat, (y, x), chance[here])
    heat = ndimage.gaussian_filter(heat, how.blur * THING)
    peaks = _peaks(heat, how)
    if not len(peaks):
        return labels, np.zeros(0)
    distance, owner = _nearest(peaks - pad, vote.T)
    owner = np.where(distance <= how.reach * THING, owner + 1, 0)
    labels[here] = owner
    return _cleaned(labels, how)


def _peaks(heat: NDArray[np.float64], how: Counting) -> NDArray[np.float64]:
    """(N, 2) rows and columns of the centres, strongest first, none within `apart` of a stronger one."""
    side = 2 * max(1, round(how.apart * THING * 0.5)) + 1
    thing = np.pi / 4 * THING**2
    # all votes of a thing of the least area, blurred, when they agree to within twice the blur
    floor = how.least * thing / (2 * np.pi * (2 * how.blur * THING) ** 2)
    tops = np.argwhere((heat == ndimage.maximum_filter(heat, side)) & (heat > floor))
    tops = tops[np.argsort(-heat[tuple(tops.T)], kind="stable")]
    kept: list[NDArray[np.int64]] = []
    for top in tops:
        if all(_parted(heat, top, other, how) for other in kept):
            kept.append(top)
    return np.array(kept, np.float64).reshape(-1, 2)


def _parted(heat: NDArray[np.float64], top: NDArray[np.int64], other: NDArray[np.int64], how: Counting) -> bool:
    """Whether a peak and a stronger one are two: far enough apart, with a valley between them if they are near."""
    apart = float(np.hypot(*(top - other)))
    if apart < how.apart * THING:
        return False
    if apart > 1.2 * THING:
        return True
    way = np.linspace(top, other, 16)
    between = ndimage.map_coordinates(heat, way.T, order=1)
    return bool(between.min() < how.valley * heat[tuple(top)])


def _nearest(centres: NDArray[np.float64], votes: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    from scipy.spatial import cKDTree

    distance, index = cKDTree(centres).query(votes)
    return np.asarray(distance), np.asarray(index)


def _cleaned(labels: InstanceMap, how: Counting) -> tuple[InstanceMap, NDArray[np.float64]]:
    """Each thing in its largest piece and those of a quarter of it or more, holes filled, small ones left out."""
    out = np.zeros_like(labels)
    sizes: list[float] = []
    least = how.least * np.pi / 4 * THING**2
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None:
            continue
        pieces, n = ndimage.label(labels[box] == number)
        if not n:
            continue
        areas = np.bincount(pieces.ravel())[1:]
        mask = np.isin(pieces, 1 + np.flatnonzero(areas >= areas.max() / 4))
        mask = ndimage.binary_fill_holes(mask) & ((labels[box] == number) | (labels[box] == 0))
        edge = (
            box[0].start == 0 or box[1].start == 0 or box[0].stop == labels.shape[0] or box[1].stop == labels.shape[1]
        )
        if mask.sum() >= least * (0.5 if edge else 1.0):
            sizes.append(float(mask.sum()))
            out[box][mask] = len(sizes)
    return out, np.array(sizes)
