"""`layers`: one TIFF per photo whose pages are the layers, RGBA, back to front: what rooms that find layers rebuilt.

Page k is region k, its name the page's name; laid over one another the pages are the rebuilt photo. GIMP opens them as
layers. `ora` cuts the photo itself into layers, here each layer goes on behind what hides it.
"""

from __future__ import annotations

import io
from typing import ClassVar

import numpy as np
import tifffile
from numpy.typing import NDArray

from decoupe.export.base import Segmented, Writer
from decoupe.types import Image


def straight(layers: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(K, H, W, 4) premultiplied RGBA in [0, 1] -> uint8 RGBA whose colours are not multiplied by alpha."""
    alpha = layers[..., 3:]
    colours = np.divide(layers[..., :3], alpha, out=np.zeros_like(layers[..., :3]), where=alpha > 1e-4)
    return np.asarray(np.rint(255 * np.clip(np.concatenate([colours, alpha], -1), 0, 1)), np.uint8)


class LayersWriter(Writer):
    """`<image>.layers.tif`."""

    NAME: ClassVar[str] = "layers"
    SUFFIX: ClassVar[str | None] = ".layers.tif"
    LAYERS: ClassVar[bool] = True

    def write(self, key: str, image: Image | None, regions: Segmented) -> int:
        """Write the pages; returns the file's size in bytes."""
        layers = getattr(regions, "layers", None)
        if layers is None:
            raise ValueError("the room finds no layers")
        buffer = io.BytesIO()
        with tifffile.TiffWriter(buffer) as file:
            for name, page in zip(regions.names, straight(layers), strict=True):
                file.write(
                    page, photometric="rgb", extrasamples=["unassalpha"], compression="zlib", metadata=None,
                    extratags=[(285, "s", 0, name.encode("ascii", "replace").decode(), True)], software=False,
                    contiguous=False,
                )  # fmt: skip
        return self.place.put(self.path(self.place, key), buffer.getvalue())
