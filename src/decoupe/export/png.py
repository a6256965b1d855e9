"""`png`: one indexed PNG of region labels per image; region k is palette entry k, the names travel as text."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from decoupe.errors import Fault
from decoupe.export.base import AnyLabels, Segmented, Writer
from decoupe.export.palette import Colour
from decoupe.types import Image

TEXT = b"decoupe:names"
"""Keyword of the PNG text chunk that holds the names as a JSON list."""
SIGNATURE = b"\x89PNG\r\n\x1a\n"
PALETTE_COLOURS = 3
"""PNG colour type of indexed images."""
BAND = 1 << 24
"""Pixels that are compressed at a time."""
UP = 2
"""PNG filter: each line minus the one above it, which is all zeros nearly everywhere in a label image."""


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def encode_labels(labels: AnyLabels, names: Sequence[str], colours: Sequence[Colour]) -> bytes:
    """PNG of (H, W) labels in [0, K), K <= 256, with palette and names; 1 bit per pixel for K <= 2, else 8.

    Fault if K > 256.
    """
    if len(names) > 256:
        raise Fault("at most 256 regions for png", str(len(names)), "use --format npz, or merge regions")
    return encode_indexed(labels, colours, TEXT + b"\0" + json.dumps(list(names)).encode("ascii"))


def encode_indexed(
    labels: AnyLabels, colours: Sequence[Colour], text: bytes | None = None, opacities: bytes | None = None
) -> bytes:
    """PNG of (H, W) palette entries; text: a text chunk. 1 bit per pixel for up to two colours, else 8.

    opacities: of each palette entry, 0 to 255; None: all are opaque.

    Written here because a run-length deflate of such images is about eight times as fast as a general encoder and no
    larger.
    """
    height, width = labels.shape
    bits = 1 if len(colours) <= 2 else 8
    return b"".join(
        [
            SIGNATURE,
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, PALETTE_COLOURS, 0, 0, 0)),
            _chunk(b"PLTE", bytes(channel for colour in colours for channel in colour)),
            _chunk(b"tRNS", opacities) if opacities is not None else b"",
            _chunk(b"tEXt", text) if text is not None else b"",
            *(_chunk(b"IDAT", part) for part in _deflated(labels, bits)),
            _chunk(b"IEND", b""),
        ]
    )


def encode_pixels(pixels: NDArray[np.uint8], level: int = 3) -> bytes:
    """PNG of (H, W), (H, W, 3) or (H, W, 4) pixels: grey, RGB, or RGBA not premultiplied; level: of zlib, 0 to 9."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=level)
    return buffer.getvalue()


def _deflated(labels: AnyLabels, bits: int) -> Iterator[bytes]:
    """The filtered lines, compressed, band by band; a chunk holds at most 2 GB."""
    deflate = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, 9, zlib.Z_RLE)
    above: NDArray[np.uint8] | None = None
    step = max(1, BAND // labels.shape[1])
    for top in range(0, len(labels), step):
        band = np.asarray(labels[top : top + step])
        rows = np.packbits(band.astype(np.bool_), axis=1) if bits == 1 else band.astype(np.uint8)
        lines = np.empty((len(rows), rows.shape[1] + 1), np.uint8)
        lines[:, 0] = UP
        lines[0, 1:] = rows[0] if above is None else rows[0] - above
        np.subtract(rows[1:], rows[:-1], out=lines[1:, 1:])
        above = rows[-1]
        if part := deflate.compress(lines.data):
            yield part
    yield deflate.flush()


class PngWriter(Writer):
    """`<image>.png`."""

    NAME: ClassVar[str] = "png"
    SUFFIX: ClassVar[str | None] = ".png"

    def write(self, key: str, image: Image | None, regions: Segmented) -> int:
        """Write the label image; returns its size in bytes."""
        data = encode_labels(regions.labels, regions.names, self.place.colours)
        return self.place.put(self.place.file(key, ".png"), data)
