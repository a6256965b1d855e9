"""`overlay`: the photo with its regions tinted and outlined, the background left as it is."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont
from scipy.ndimage import find_objects

from decoupe.export.base import AnyLabels, Segmented, Writer, things_of
from decoupe.export.palette import Colour, is_background
from decoupe.types import Image, Instance

READABLE = 26
"""Shortest side in pixels of a typical thing that its number fits in; pictures of smaller things are enlarged."""
LARGEST = 6000
"""Longest side in pixels up to which they are."""
TINT = 0.45
"""Share of the region's colour in a tinted pixel."""
QUALITY = 90


def as_rgb(image: Image) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 to look at: grey repeated, the first three bands of more."""
    if image.shape[2] >= 3:
        return image[..., :3]
    return np.repeat(image[..., :1], 3, axis=2)


def outline(labels: AnyLabels, width: int) -> NDArray[np.bool_]:
    """(H, W) bool: pixels within `width` of a border between regions."""
    edge = np.zeros(labels.shape, bool)
    for axis in (0, 1):
        size = labels.shape[axis]
        for step in range(1, min(width, size - 1) + 1):
            a, b = (np.take(labels, np.arange(size)[s], axis) for s in (slice(None, -step), slice(step, None)))
            differs = a != b
            low = [slice(None), slice(None)]
            high = [slice(None), slice(None)]
            low[axis], high[axis] = slice(None, -step), slice(step, None)
            edge[tuple(low)] |= differs
            edge[tuple(high)] |= differs
    return edge


def paint(
    image: Image, labels: AnyLabels, names: Sequence[str], colours: Sequence[Colour], tint: float = TINT
) -> NDArray[np.uint8]:
    """(H, W, 3) uint8: `image` with every region but the background tinted, borders drawn white on dark."""
    photo = as_rgb(image)
    table = np.asarray(colours, np.float32)
    share = np.asarray([0.0 if is_background(name) else tint for name in names], np.float32)
    add = np.rint(table * share[:, None]).astype(np.uint8)
    keep = np.arange(256, dtype=np.float32)[None, :] * (1 - share[:, None])
    look = np.rint(keep).astype(np.uint8)
    painted = look[labels[..., None], photo] + add[labels]
    width = max(1, round(max(labels.shape) / 400))
    painted[outline(labels, 2 * width)] //= 3
    painted[outline(labels, width)] = 255
    return np.asarray(painted, np.uint8)


def number(
    image: Image,
    labels: AnyLabels,
    names: Sequence[str],
    colours: Sequence[Colour],
    things: Sequence[Instance],
    tint: float = TINT,
) -> NDArray[np.uint8]:
    """`paint`, with the outline of every thing and its number, 1, 2, ... in its middle.

    (f H, f W, 3) uint8: enlarged f-fold, f = 1, 2, ..., where things are too small for numbers.
    """
    from decoupe.instances import to_map

    ids = to_map(things, (image.shape[0], image.shape[1]))
    factor = _factor(ids)
    ids = ids.repeat(factor, 0).repeat(factor, 1)
    large = Pillow.fromarray(np.ascontiguousarray(as_rgb(image)))
    photo = np.asarray(large.resize((ids.shape[1], ids.shape[0]), Pillow.Resampling.BICUBIC))
    painted = paint(photo, labels.repeat(factor, 0).repeat(factor, 1), names, colours, tint)
    painted[outline(ids, max(1, round(max(ids.shape) / 800))) & (ids > 0)] = 255
    picture = Pillow.fromarray(painted)
    pen = ImageDraw.Draw(picture)
    font = ImageFont.load_default(int(np.clip(_side(ids) * 0.42, 8, 48)))
    for index, box in enumerate(find_objects(ids), start=1):
        if box is not None:
            y, x = np.nonzero(ids[box] == index)
            middle = int(np.argmin((y - y.mean()) ** 2 + (x - x.mean()) ** 2))
            at = (int(x[middle]) + box[1].start, int(y[middle]) + box[0].start)
            pen.text(at, str(index), fill="white", font=font, anchor="mm", stroke_width=1, stroke_fill="black")
    return np.asarray(picture)


def _side(ids: AnyLabels) -> float:
    """Shorter side in pixels of the box of a typical thing; 0 for none."""
    sides = [min(box[0].stop - box[0].start, box[1].stop - box[1].start) for box in find_objects(ids) if box]
    return float(np.median(sides)) if sides else 0.0


def _factor(ids: AnyLabels) -> int:
    """How many times the picture is enlarged so that numbers can be read."""
    side = _side(ids)
    wanted = int(np.ceil(READABLE / side)) if side else 1
    return max(1, min(wanted, int(LARGEST // max(ids.shape))))


class OverlayWriter(Writer):
    """`<image>.overlay.jpg`."""

    NAME: ClassVar[str] = "overlay"
    SUFFIX: ClassVar[str | None] = ".overlay.jpg"
    IMAGE: ClassVar[bool] = True

    def write(self, key: str, image: Image | None, regions: Segmented) -> int:
        """Write the painted photo; returns its size in bytes."""
        if image is None:
            raise ValueError("the overlay needs the image")
        look = image, regions.labels, regions.names, self.place.colours
        things = things_of(regions)
        painted = number(*look, things) if things else paint(*look)
        buffer = io.BytesIO()
        Pillow.fromarray(painted).save(buffer, "JPEG", quality=QUALITY)
        return self.place.put(self.place.file(key, ".overlay.jpg"), buffer.getvalue())
