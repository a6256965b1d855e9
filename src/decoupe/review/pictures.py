"""What is laid over photos: tinted regions with outlines, cut-outs, and crops of one region."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from decoupe.export.overlay import outline
from decoupe.export.png import encode_indexed, encode_pixels
from decoupe.review.regions import Shown

TINT, DIM = 96, 150
"""Opacity of a region's colour, and of the shade over the background, of 255."""
LIGHT, DARK = 254, 255
"""Palette entries of the two lines of an outline; regions use those below."""


def overlay(labels: NDArray[np.uint8], regions: Sequence[Shown], lines: bool = True) -> bytes:
    """PNG to lay over the photo: background shaded, other regions tinted, borders white beside black."""
    palette = np.zeros((256, 4), np.uint8)
    alone = sum(not region.background for region in regions) == 1 and len(regions) > 1
    for region in regions:
        tint = 0 if alone else TINT
        palette[region.index] = (12, 14, 18, DIM) if region.background else (*region.colour, tint)
    palette[LIGHT], palette[DARK] = (255, 255, 255, 255), (0, 0, 0, 150)
    drawn = labels.copy()
    if lines:
        width = max(1, round(max(labels.shape) / 500))
        drawn[outline(labels, 2 * width)] = DARK
        drawn[outline(labels, width)] = LIGHT
    colours = [(int(r), int(g), int(b)) for r, g, b in palette[:, :3]]
    return encode_indexed(drawn, colours, opacities=palette[:, 3].tobytes())


def cutout(photo: NDArray[np.uint8], inside: NDArray[np.bool_]) -> bytes:
    """PNG of (H, W, 3) with everything outside of a region transparent."""
    layer = np.dstack([photo, np.where(inside, 255, 0).astype(np.uint8)])
    layer[~inside] = 0
    return rgba(layer)


def rgba(layer: NDArray[np.uint8]) -> bytes:
    """PNG of (H, W, 4) uint8, colours not premultiplied."""
    return encode_pixels(layer, 1)


def crop(photo: NDArray[np.uint8], share: NDArray[np.float32], box: Sequence[float], side: int) -> NDArray[np.uint8]:
    """A square within (H, W, 3) around a box (y0, x0, y1, x1 in shares of the sides); what is not the region is dimmed.

    share: (h, w) in [0, 1], the region's probability at any size.
    """
    height, width = photo.shape[:2]
    top, left, bottom, right = (v * s for v, s in zip(box, (height, width, height, width), strict=True))
    half = max(bottom - top, right - left, 8.0) * 0.56
    half = min(half, min(height, width) / 2)
    y = min(max((top + bottom) / 2, half), height - half)
    x = min(max((left + right) / 2, half), width - half)
    grey = photo.mean(2, keepdims=True) * 0.35 + 12
    plane = Pillow.fromarray(np.ascontiguousarray(share, dtype=np.float32))
    kept = np.asarray(plane.resize((width, height), Pillow.Resampling.BILINEAR))[..., None]
    weight = np.clip((kept - 0.35) / 0.3, 0, 1)
    shown = (photo * weight + grey * (1 - weight)).astype(np.uint8)
    window = Pillow.fromarray(shown).transform(
        (side, side), Pillow.Transform.EXTENT, (x - half, y - half, x + half, y + half), Pillow.Resampling.BILINEAR
    )
    return np.asarray(window)
