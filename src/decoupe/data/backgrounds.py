"""Backgrounds: square patches without the object, from a folder of photos or from the photos themselves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from decoupe.data.cache import Cache, Plan, build
from decoupe.data.checks import Cut, Group, Groups, Progress
from decoupe.data.decode import MAX_PIXELS, Decoded
from decoupe.data.paths import default_cache_folder
from decoupe.data.sources import Item, find
from decoupe.types import Image

ENOUGH = 500
"""Patches wanted at least."""
MOST = 10_000
"""Photos that patches are taken from at most."""


def background_cache(
    items: Sequence[Item],
    size: int,
    channels: int,
    folder: Path | None = None,
    source: str | Path | None = None,
    seed: int = 0,
    *,
    max_pixels: int = MAX_PIXELS,
    progress: Progress | None = None,
    workers: int = 2,
) -> tuple[Cache, str]:
    """Background patches, and the sentence that says where they come from.

    * `source` given: each photo whole, and random squares of 50-100 % of its short side, at least ~500 in all.
    * boxes: squares of 25-50 % of the short side (10-25 % where no larger fits) that touch no box of the photo.
    * neither: squares of 20-35 % of the short side in the corners of the photo, where objects are rarest.

    Squares are cut at native resolution, half of them mirrored, and shrunk to S x S antialiased. Everything follows
    from `seed` and the order of the photos.

    Args:
        items: the usable images of the training set.
        size: S in pixels.
        channels: C; patches with other bands are converted.
        folder: where caches live; by default `default_cache_folder()`.
        source: folder, glob or CSV of photos without the object.

    Raises:
        Fault: no patch can be had.
    """
    boxed = source is None and any(item.box for item in items)
    photos: Sequence[Item] = items if source is None else find(source)
    work = Groups(photos)
    if len(work) > MOST:
        chosen = sorted(np.random.default_rng(seed).choice(len(work), MOST, replace=False))
        photos = [item for index in chosen for _, item in work[int(index)]]
    count = min(len(work), MOST)
    each = max(math.ceil(ENOUGH / max(count, 1)), 4 if source is None and count <= 2500 else 1)
    mode = "folder" if source is not None else "outside" if boxed else "corners"
    wanted = "photos with room outside their boxes" if boxed else "background photos that can be used"
    plan = Plan(
        f"backgrounds {mode} {each} seed {seed}", _cut(mode, each, seed), 4 * size, size, channels, max_pixels, wanted
    )
    table, cache = build(photos, plan, folder or default_cache_folder(), progress, workers)
    used = int((table.column("good") > 0).sum())
    photo = f"{used:,} photo{'s' * (used != 1)}"
    origin = {
        "folder": f"from {photo} of {Path(str(source)).name}",
        "outside": f"from outside the boxes of the same {photo}",
        "corners": f"from the corners of the same {photo} (no boxes were given)",
    }[mode]
    return cache, f"backgrounds: {len(cache):,} patches {origin}"


def _cut(mode: str, each: int, seed: int) -> Cut:
    """What takes `each` patches out of a photo; its random numbers depend on the seed and the photo's position."""

    def cut(seen: Decoded, group: Group) -> list[Image]:
        random = np.random.default_rng([seed, group[0][0]])
        height, width = seen.pixels.shape[:2]
        if mode == "folder":
            squares = _anywhere(random, height, width, each - 1, 0.5, 1.0)
            patches = [seen.pixels, *_take(seen.pixels, squares)]
        elif mode == "outside":
            scale = height / seen.full[0]
            boxes = np.array([item.box for _, item in group if item.box], np.float64) * scale
            patches = _take(seen.pixels, _outside(random, height, width, each, boxes))
        else:
            patches = _take(seen.pixels, _corners(random, height, width, each))
        mirrored = random.random(len(patches)) < 0.5
        return [patch[:, ::-1] if flip else patch for patch, flip in zip(patches, mirrored, strict=True)]

    return cut


Squares = NDArray[np.int64]
"""(n, 3): left, top, side in pixels."""


def _anywhere(random: np.random.Generator, height: int, width: int, count: int, low: float, high: float) -> Squares:
    """Random squares with sides of low..high times the short side."""
    side = np.maximum(1, random.uniform(low, high, count) * min(height, width)).astype(np.int64)
    left = (random.random(count) * (width - side + 1)).astype(np.int64)
    top = (random.random(count) * (height - side + 1)).astype(np.int64)
    return np.stack([left, top, side], axis=1)


def _corners(random: np.random.Generator, height: int, width: int, count: int) -> Squares:
    """Random squares in the corners.

    The share of object pixels they hold, on Oxford flowers (28 % of a photo is flower): 5 %, against 14 % for squares
    of this size along the border and 22 % for those of 25-50 %; on Weizmann horses (25 %): 8, 13 and 21 %.
    """
    squares = _anywhere(random, height, width, count, 0.2, 0.35)
    squares[:, :2] = random.integers(0, 2, (count, 2)) * (np.array([width, height]) - squares[:, 2:])
    return squares


def _outside(random: np.random.Generator, height: int, width: int, count: int, boxes: NDArray[np.float64]) -> Squares:
    """Random squares that overlap no box (x0, y0, x1, y1); fewer than `count`, or none, where there is no room."""
    tries = [_anywhere(random, height, width, 64 * count, low, high) for low, high in ((0.25, 0.5), (0.1, 0.25))]
    squares = np.concatenate(tries)
    x0, y0, x1, y1 = boxes.T[:, None, :]
    left, top, side = squares.T[:, :, None]
    apart = (left >= x1) | (left + side <= x0) | (top >= y1) | (top + side <= y0)
    return np.asarray(squares[apart.all(axis=1)][:count])


def _take(pixels: Image, squares: Squares) -> list[Image]:
    return [pixels[top : top + side, left : left + side] for left, top, side in squares]
