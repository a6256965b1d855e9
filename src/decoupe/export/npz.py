"""`npz`: the probabilities themselves, one compressed NumPy archive per image, readable without pickle."""

from __future__ import annotations

import io
import zipfile
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from decoupe.export.base import Segmented, Writer
from decoupe.types import Image


def encode_arrays(**arrays: NDArray[Any]) -> bytes:
    """An .npz of `arrays`: the same bytes every time, fast compression, no object arrays."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(entry, "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)
    return buffer.getvalue()


class NpzWriter(Writer):
    """`<image>.npz` with `probs` (K, H, W) float32, `labels` (H, W) uint16 and `names` (K strings)."""

    NAME: ClassVar[str] = "npz"
    SUFFIX: ClassVar[str | None] = ".npz"
    PROBS: ClassVar[bool] = True

    def write(self, key: str, image: Image | None, regions: Segmented) -> int:
        """Write the archive; returns its size in bytes."""
        data = encode_arrays(
            probs=regions.probs, labels=regions.labels.astype(np.uint16), names=np.asarray(regions.names, np.str_)
        )
        return self.place.put(self.place.file(key, ".npz"), data)
