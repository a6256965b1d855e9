"""`ora`: one OpenRaster file per photo, which GIMP and Krita open: each region is a layer, cut out of the photo.

A layer's alpha is its region's mask, so that the layers together are the photo and each mask is kept exactly. Layers
are cut to their box; an absent region has an empty layer of one pixel. The first region is the lowest layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from scipy import ndimage

from decoupe.export import markup
from decoupe.export.archive import pack
from decoupe.export.base import AnyLabels, Segmented, Writer
from decoupe.export.overlay import as_rgb
from decoupe.export.png import encode_pixels
from decoupe.types import Image

DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'
THUMBNAIL = 256
"""Pixels of the longer side of the thumbnail, at most."""


def encode_ora(image: Image, labels: AnyLabels, names: Sequence[str]) -> bytes:
    """OpenRaster of (H, W, C) `image` and (H, W) `labels` in [0, K)."""
    photo, (height, width) = as_rgb(image), labels.shape
    layers, files = [], []
    for index, (pixels, y, x) in enumerate(_layers(photo, labels, len(names))):
        source = f"data/layer{index:03d}.png"
        files.append((source, encode_pixels(pixels)))
        attributes: dict[str, str | int] = {"name": names[index], "src": source, "x": x, "y": y}
        shown = {"opacity": "1.0", "visibility": "visible", "composite-op": "svg:src-over"}
        layers.append("    " + markup.tag("layer", {**attributes, **shown}) + "\n")
    head = markup.tag("image", {"version": "0.0.5", "w": width, "h": height, "xres": 72, "yres": 72}, closed=False)
    stack = f"{head}\n  <stack>\n{''.join(reversed(layers))}  </stack>\n</image>\n"
    thumbnail = Pillow.fromarray(photo)
    thumbnail.thumbnail((THUMBNAIL, THUMBNAIL))
    opaque = np.dstack((photo, np.full((height, width), 255, np.uint8)))
    fixed = [("mimetype", b"image/openraster"), ("stack.xml", (DECLARATION + stack).encode())]
    last = [
        ("mergedimage.png", encode_pixels(opaque)),
        ("Thumbnails/thumbnail.png", encode_pixels(np.asarray(thumbnail))),
    ]
    return pack([*fixed, *files, *last], stored=True)


def _layers(photo: NDArray[np.uint8], labels: AnyLabels, count: int) -> Iterator[tuple[NDArray[np.uint8], int, int]]:
    """(h, w, 4) RGBA, top row and left column of every region."""
    for region, box in enumerate(ndimage.find_objects(labels.astype(np.int32) + 1, max_label=count)):
        if box is None:
            yield np.zeros((1, 1, 4), np.uint8), 0, 0
            continue
        mask = labels[box] == region
        colours = np.where(mask[..., None], photo[box], 0)
        yield np.dstack((colours, 255 * mask)).astype(np.uint8), int(box[0].start), int(box[1].start)


class OraWriter(Writer):
    """`<image>.ora`."""

    NAME: ClassVar[str] = "ora"
    SUFFIX: ClassVar[str | None] = ".ora"
    IMAGE: ClassVar[bool] = True

    def write(self, key: str, image: Image | None, regions: Segmented) -> int:
        """Write the layers; returns the file's size in bytes."""
        if image is None:
            raise ValueError("the layers need the image")
        data = encode_ora(image, regions.labels, regions.names)
        return self.place.put(self.path(self.place, key), data)
