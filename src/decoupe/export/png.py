"""`png`: one indexed PNG of region labels per image; region k is palette entry k, the names travel as text."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from PIL import Image as Pillow
from PIL.PngImagePlugin import PngInfo

from decoupe.errors import Fault
from decoupe.export.base import AnyLabels, Segmented, Writer
from decoupe.export.palette import Colour
from decoupe.types import Image

TEXT = "decoupe:names"
"""Keyword of the PNG text chunk that holds the names as a JSON list."""
LEVEL = 1
"""zlib level: label images are nearly constant, higher levels cost time for a few per cent."""


def encode_labels(labels: AnyLabels, names: Sequence[str], colours: Sequence[Colour]) -> bytes:
    """PNG of (H, W) labels in [0, K), K <= 256, with palette and names. Fault if K > 256."""
    if len(names) > 256:
        raise Fault("at most 256 regions for png", str(len(names)), "use --format npz, or merge regions")
    picture = Pillow.fromarray(labels.astype(np.uint8))
    picture.putpalette([channel for colour in colours for channel in colour])
    info = PngInfo()
    info.add_text(TEXT, json.dumps(list(names)))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=LEVEL, pnginfo=info)
    return buffer.getvalue()


class PngWriter(Writer):
    """`<image>.png`."""

    NAME: ClassVar[str] = "png"
    SUFFIX: ClassVar[str | None] = ".png"

    def write(self, key: str, image: Image | None, regions: Segmented) -> int:
        """Write the label image; returns its size in bytes."""
        data = encode_labels(regions.labels, regions.names, self.place.colours)
        return self.place.put(self.place.file(key, ".png"), data)
