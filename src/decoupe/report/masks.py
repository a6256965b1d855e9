"""A sheet of photos and their masks as one JPEG: small enough to put many on a page, large enough to judge by eye."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from decoupe.export.overlay import as_rgb
from decoupe.export.palette import colours
from decoupe.types import Image, Probabilities

GAP = 2
"""White pixels between tiles."""


def sheet(photos: Sequence[Image], probs: NDArray[np.float32], names: Sequence[str]) -> bytes:
    """JPEG bytes: photos (S, S, C) uint8 on top, below them the most probable regions of probs (n, K, s, s).

    Two regions are drawn black and white whatever their names, so that an empty or full mask cannot be overlooked.
    """
    side = photos[0].shape[0]
    palette = np.asarray(_palette(names), np.uint8)
    top = [np.asarray(as_rgb(photo)) for photo in photos]
    below = [_grown(palette[_labels(p)], side) for p in probs]
    lines = [np.concatenate([_framed(tile) for tile in line], axis=1) for line in (top, below)]
    buffer = io.BytesIO()
    Pillow.fromarray(np.concatenate(lines)[:-GAP, :-GAP]).save(buffer, "JPEG", quality=80, optimize=True)
    return buffer.getvalue()


def _palette(names: Sequence[str]) -> Sequence[tuple[int, int, int]]:
    return ((0, 0, 0), (255, 255, 255)) if len(names) == 2 else colours(names)


def _labels(probs: Probabilities) -> NDArray[np.int64]:
    return np.asarray(probs.argmax(0), np.int64)


def _grown(tile: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    return np.asarray(Pillow.fromarray(tile).resize((side, side), Pillow.Resampling.NEAREST))


def _framed(tile: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.pad(tile, ((0, GAP), (0, GAP), (0, 0)), constant_values=255)
