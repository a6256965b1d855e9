"""`rois`: one zip of ImageJ regions of interest per photo, one for each component of a region but the background.

Each is a traced outline: whole numbers, corners of pixels, so that ImageJ's own filling gives the mask back exactly; a
hole is joined to the outline by a cut without width. Layout of a file, big-endian:

    0 "Iout"   4 version   6 kind (8 = traced)   8 top, left, bottom, right   16 corners (0: see 18)   18 corners
    40 line colour (ARGB)   60 where the second header is   64 x - left of every corner, then y - top
    second header: 16 where the name is   20 its length   then the name in UTF-16
"""

from __future__ import annotations

import struct
from typing import ClassVar

import numpy as np

from decoupe.data.keys import keys
from decoupe.errors import Fault
from decoupe.export.archive import pack
from decoupe.export.base import Segmented, Writer
from decoupe.export.cvat import outline
from decoupe.export.palette import Colour
from decoupe.export.parts import parts
from decoupe.types import Image

TRACED = 8
VERSION = 227
HEADER = 64
LARGEST = 32767
"""Pixels of a side that every version of ImageJ reads."""


def encode_roi(corners: list[tuple[int, int]], name: str, colour: Colour) -> bytes:
    """The file of one outline: corners (x, y) in pixels from the image's corner. Fault beyond 32,767."""
    points = np.asarray(corners, np.int64)
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    if max(right, bottom) > LARGEST:
        raise Fault("sides up to 32,767 pixels for rois", f"{right}x{bottom}", "use --format cvat or png")
    count, text = len(points), name.encode("utf-16-be", "replace")
    second = HEADER + 4 * count
    head = struct.pack(
        ">4sHBx4hHI", b"Iout", VERSION, TRACED, top, left, bottom, right, count if count < 1 << 16 else 0,
        0 if count < 1 << 16 else count,
    )  # fmt: skip
    head = head.ljust(40, b"\0") + bytes((255, *colour))
    head = head.ljust(60, b"\0") + struct.pack(">I", second)
    body = np.concatenate((points[:, 0] - left, points[:, 1] - top)).astype(">u2").tobytes()
    tail = struct.pack(">16x2I", second + HEADER, len(text) // 2).ljust(HEADER, b"\0")
    return head + body + tail + text


class RoisWriter(Writer):
    """`<image>.rois.zip`."""

    NAME: ClassVar[str] = "rois"
    SUFFIX: ClassVar[str | None] = ".rois.zip"
    PROBS: ClassVar[bool] = True

    def write(self, key: str, image: Image | None, regions: Segmented) -> int:
        """Write the archive; returns its size in bytes."""
        safe = keys([name.replace("/", "_") + ".roi" for name in regions.names])
        entries = [
            (
                f"{number:04d} {safe[part.region]}.roi",
                encode_roi(outline(part), regions.names[part.region], self.place.colours[part.region]),
            )
            for number, part in enumerate(parts(regions), start=1)
        ]
        return self.place.put(self.path(self.place, key), pack(entries))
