"""`tiff`: one 16-bit label image per photo; the description holds the region names as JSON: {"names": [...]}.

A GeoTIFF gives a GeoTIFF: its georeference is copied tag by tag. The pixel size of OME and ImageJ files is kept as the
resolution, and in the description as {"pixel": [width, height, unit]}.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import tifffile
from numpy.typing import NDArray

from decoupe.data.geo import described, tiff_options
from decoupe.errors import Fault
from decoupe.export.base import AnyLabels, Segmented, Writer
from decoupe.types import Image

TILE = 256
"""Side of the tiles of images that are larger than `STRIPPED`; smaller ones are written as one strip."""
STRIPPED = 1 << 22
"""Pixels."""


def tiles(labels: AnyLabels) -> Iterator[NDArray[np.uint16]]:
    """(TILE, TILE) uint16 in reading order, filled up with 0 at the right and lower edges."""
    height, width = labels.shape
    for top in range(0, height, TILE):
        rows = np.zeros((TILE, -(-width // TILE) * TILE), np.uint16)
        band = labels[top : top + TILE]
        rows[: len(band), :width] = band
        for left in range(0, width, TILE):
            yield rows[:, left : left + TILE]


class TiffWriter(Writer):
    """`<image>.tif`: region k is the value k."""

    NAME: ClassVar[str] = "tiff"
    SUFFIX: ClassVar[str | None] = ".tif"

    def write(self, key: str, image: Image | None, regions: Segmented) -> int:
        """Write the label image; returns its size in bytes. Fault if there are over 65,536 regions."""
        if len(regions.names) > 1 << 16:
            raise Fault("at most 65,536 regions for tiff", str(len(regions.names)), "merge regions")
        labels, geo = regions.labels, self.place.geo(key)
        options: dict[str, Any] = {"data": labels.astype(np.uint16)} if labels.size <= STRIPPED else {
            "data": tiles(labels), "shape": labels.shape, "dtype": np.uint16, "tile": (TILE, TILE)
        }  # fmt: skip
        buffer = io.BytesIO()
        tifffile.imwrite(
            buffer,
            photometric="minisblack",
            compression="zlib",
            metadata={"names": list(regions.names)} | described(geo),
            **options,
            **tiff_options(geo),
        )
        return self.place.put(self.path(self.place, key), buffer.getvalue())
