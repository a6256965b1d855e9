"""The two types every room and every verb share: an image and its regions, in the user's own frame.

Frame: row 0 is the top row of the upright photo (EXIF rotation applied), column 0 its left column.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""(H, W, C) uint8, upright, C >= 1 bands in file order (RGB when C = 3)."""

Probabilities = NDArray[np.float32]
"""(K, H, W) float32 in [0, 1], summing to 1 over K at every pixel."""

Labels = NDArray[np.int64]
"""(H, W) int64 region or class index; 255 means void in ground truth."""

InstanceMap = NDArray[np.int32]
"""(H, W) int32: 0 background, 1, 2, ... the instance at each pixel; in ground truth -1 is void."""

VOID = 255


@dataclass(frozen=True)
class Instance:
    """One object: column-major (Fortran) run lengths starting with a run of zeros, as COCO's uncompressed RLE."""

    size: tuple[int, int]
    """(H, W) in pixels."""
    counts: tuple[int, ...]
    """Run lengths; they sum to H * W."""
    score: float = 1.0
    """Confidence in [0, 1]."""
    region: int = 1
    """Index of the region the instance belongs to."""


@dataclass(frozen=True)
class Regions:
    """The K regions of one image."""

    probs: Probabilities
    """(K, H, W) float32, sums to 1 over K."""
    names: tuple[str, ...]
    """K region names."""
    layers: NDArray[np.float32] | None = None
    """Optional (K, H, W, 4) premultiplied RGBA in [0, 1], back to front."""
    instances: tuple[Instance, ...] = field(default=())

    def __post_init__(self) -> None:
        if self.probs.ndim != 3 or len(self.names) != self.probs.shape[0]:
            from decoupe.errors import Fault

            raise Fault(
                "probs of shape (K, H, W) with K names",
                f"shape {self.probs.shape} with {len(self.names)} names",
                "pass one name per region",
            )

    @property
    def labels(self) -> Labels:
        """(H, W) int64: the most probable region of each pixel (ties go to the lower index)."""
        return np.asarray(self.probs.argmax(axis=0), dtype=np.int64)
