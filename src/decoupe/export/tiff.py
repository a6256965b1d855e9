"""`tiff`: one 16-bit label image per photo; the description holds the region names as JSON: {"names": [...]}."""

from __future__ import annotations

import io
from typing import ClassVar

import numpy as np
import tifffile

from decoupe.errors import Fault
from decoupe.export.base import Segmented, Writer
from decoupe.types import Image


class TiffWriter(Writer):
    """`<image>.tif`: region k is the value k."""

    NAME: ClassVar[str] = "tiff"
    SUFFIX: ClassVar[str | None] = ".tif"

    def write(self, key: str, image: Image | None, regions: Segmented) -> int:
        """Write the label image; returns its size in bytes. Fault if there are over 65,536 regions."""
        if len(regions.names) > 1 << 16:
            raise Fault("at most 65,536 regions for tiff", str(len(regions.names)), "merge regions")
        buffer = io.BytesIO()
        tifffile.imwrite(
            buffer,
            regions.labels.astype(np.uint16),
            photometric="minisblack",
            compression="zlib",
            metadata={"names": list(regions.names)},
        )
        return self.place.put(self.path(self.place, key), buffer.getvalue())
