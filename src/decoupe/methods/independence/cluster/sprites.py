"""From proposals to material for composites: cut-out things, the ground without them, and what is known of the image.

All of it at the working scale, at which a thing is `THING` pixels across.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from decoupe.errors import Fault
from decoupe.methods.independence.cluster.planes import planes
from decoupe.types import Image, InstanceMap

THING = 22
"""Diameter in pixels of the typical thing at the working scale (of the disk of its area)."""
WINDOW = 56
"""Side of the square in which a cut-out thing lies, its centroid in the middle."""
_BINS = 16


@dataclass(frozen=True)
class Material:
    """What composites are made of."""

    sprites: NDArray[np.float32]
    """(N, C + 1, WINDOW, WINDOW): colour in [-1, 1] and soft mask in [0, 1] of each single thing."""
    weights: NDArray[np.float64]
    """(N,) how often each is drawn; sums to 1."""
    ground: NDArray[np.float32]
    """(C, H, W) in [-1, 1]: the image with every thing painted over by its surroundings."""
    foreground: NDArray[np.float32]
    """(H, W): how likely each pixel is to belong to a thing, by its colour."""

    @property
    def cover(self) -> float:
        """Share of the image that things cover."""
        return float((self.foreground > 0.45).mean())


def gather(image: Image, labels: InstanceMap, quality: NDArray[np.float64]) -> Material:
    """Material of (H, W, C) uint8 at the working scale and its single things.

    Raises:
        Fault: not one whole thing lies inside the image.
    """
    unit = np.moveaxis(image, 2, 0).astype(np.float32) / 127.5 - 1
    foreground = colour_foreground(image, labels)
    sprites, kept = cut_out(unit, labels)
    if not len(kept):
        raise Fault(
            "things that can be told apart in some part of the image", "none",
            "give --instance-px, the width of a thing in pixels, or choose a sharper image",
        )  # fmt: skip
    weights = np.maximum(quality[kept], 0.05) ** 2  # what may be two teaches the opposite of what composites do
    ground = paint_over(unit, (foreground < 0.35) & (ndimage.maximum_filter(labels, 5) == 0))
    return Material(sprites, weights / weights.sum(), ground, foreground)


def cut_out(unit: NDArray[np.float32], labels: InstanceMap) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Sprites of the things that the border of the image does not cut, and their numbers less 1."""
    half = WINDOW // 2
    colour = np.pad(unit, ((0, 0), (half, half), (half, half)), mode="edge")
    padded = np.pad(labels, half)
    sprites, kept = [], []
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None or box[0].start == 0 or box[1].start == 0:
            continue
        if box[0].stop == labels.shape[0] or box[1].stop == labels.shape[1]:
            continue
        y, x = (round(float(c.mean())) + s.start for c, s in zip(np.nonzero(labels[box] == number), box, strict=True))
        window = (slice(y, y + WINDOW), slice(x, x + WINDOW))
        mask = padded[window] == number
        alpha = np.clip(ndimage.gaussian_filter(mask.astype(np.float32), 0.7), 0, 1)
        # colours of the rim come from inside, so that nothing of the old surroundings travels with the thing
        near = ndimage.distance_transform_edt(~mask, return_distances=False, return_indices=True)
        inner = colour[(slice(None), *window)][:, near[0], near[1]]
        sprites.append(np.concatenate([inner, alpha[None]]))
        kept.append(number - 1)
    empty = np.zeros((0, len(unit) + 1, WINDOW, WINDOW), np.float32)
    return (np.stack(sprites) if sprites else empty).astype(np.float32), np.array(kept, np.int64)


def colour_foreground(image: Image, labels: InstanceMap) -> NDArray[np.float32]:
    """(H, W) in [0, 1]: how likely each pixel is to belong to a thing, by its colour.

    Density of the colour inside the proposals over that inside them and in the ground around them; 1/2 where neither
    has it. What is around a proposal is ground only if it differs from the inside as most of its surroundings do:
    a neighbour that touches it is none.
    """
    found = np.stack(list(planes(image).values())[:3])
    inside = ndimage.minimum_filter(labels, 3) > 0
    ring = (ndimage.maximum_filter(labels, 2 * (THING // 4) + 1) > 0) & (ndimage.maximum_filter(labels, 3) == 0)
    other = other_side(found, inside, ring if ring.any() else labels == 0)
    low, high = np.percentile(found, 0.5, (1, 2)), np.percentile(found, 99.5, (1, 2))
    scaled = (found - low[:, None, None]) / np.maximum(high - low, 1e-3)[:, None, None]
    cells = np.clip(scaled * _BINS, 0, _BINS - 1).astype(np.int64)
    shape = (_BINS,) * len(cells)
    flat = np.ravel_multi_index(tuple(cells), shape)
    densities = []
    for part in (inside, (ring if ring.any() else labels == 0) & other):
        histogram = np.bincount(flat[part], minlength=int(np.prod(shape))).reshape(shape).astype(np.float64)
        densities.append(ndimage.gaussian_filter(histogram / max(histogram.sum(), 1), 0.7))
    thing, ground = densities
    floor = 1e-3 / thing.size
    chance = ((thing + floor) / (thing + ground + 2 * floor)).ravel()[flat]
    chance = np.where(other, chance, np.maximum(chance, 0.5))
    smooth = ndimage.gaussian_filter(chance, 1.0)
    smooth[labels > 0] = np.maximum(smooth[labels > 0], 0.9)
    return np.asarray(smooth, np.float32)


def other_side(found: NDArray[np.float32], inside: NDArray[np.bool_], around: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(H, W) bool: what lies on the ground's side in the plane (of (P, H, W)) that parts things from ground best.

    The threshold is halfway between the median inside and the fifth of the surroundings that is furthest from it.
    """
    best, result = -1.0, np.ones(inside.shape, bool)
    if not inside.any() or not around.any():
        return result
    for plane in found:
        for sign in (1, -1):
            signed = sign * plane
            middle, far = float(np.median(signed[inside])), float(np.quantile(signed[around], 0.2))
            apart = (middle - far) / max(float(signed.std()), 1e-6)
            if apart > best:
                best, result = apart, signed < (middle + far) / 2
    return np.asarray(result)


def paint_over(unit: NDArray[np.float32], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(C, H, W) with the pixels that are not `known` replaced: a smooth mean of the known ones, and their texture."""
    if known.mean() < 0.002:
        dark = unit.mean(0) <= np.quantile(unit.mean(0), 0.02)  # things cover everything: what is darkest lies deepest
        known = known | dark
    weight = known.astype(np.float32)
    smooth, total = np.zeros_like(unit), np.zeros_like(weight)
    for sigma in (3.0, 8.0, 24.0, 96.0):
        near = ndimage.gaussian_filter(weight, sigma)
        share = np.where(total < 1, np.clip(near * 50, 0, 1 - total), 0)
        for band in range(len(unit)):
            smooth[band] += share * ndimage.gaussian_filter(unit[band] * weight, sigma) / np.maximum(near, 1e-6)
        total += share
    mean = unit[:, known].mean(1)[:, None, None]
    smooth += (1 - total) * mean
    rough = (unit - smooth)[:, known]
    spots = np.random.default_rng(0).integers(0, rough.shape[1], known.shape)
    texture = ndimage.gaussian_filter(rough[:, spots], (0, 0.5, 0.5))
    return np.asarray(np.clip(np.where(known, unit, smooth + texture), -1, 1), np.float32)
