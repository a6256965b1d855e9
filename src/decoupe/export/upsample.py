"""From the network's square to the user's frame, computing only what the chosen formats read."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from decoupe.data.decode import resize_probs
from decoupe.export.base import AnyLabels
from decoupe.types import Probabilities

STRIP = 1 << 18
"""Pixels handled at a time, so that the work stays in the processor's cache whatever the size of the photo."""


def _taps(size: int, target: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """Of each target index, the two source indices of bilinear interpolation and the weight of the second."""
    at = np.clip((np.arange(target) + 0.5) * (size / target) - 0.5, 0, size - 1)
    low = np.floor(at).astype(np.intp)
    return low, np.minimum(low + 1, size - 1), (at - low).astype(np.float32)


def upsampled_labels(probs: Probabilities, height: int, width: int) -> AnyLabels:
    """(height, width) index of the largest of the bilinearly resized (K, h, w) `probs`, without building those.

    height >= h and width >= w. Ties go to the lower index. uint8 up to 256 regions, else uint16.
    """
    regions = len(probs)
    planes = probs[1:2] - probs[0:1] if regions == 2 else probs
    y0, y1, ty = _taps(probs.shape[1], height)
    x0, x1, tx = _taps(probs.shape[2], width)
    wide = planes[..., x0] * (1 - tx) + planes[..., x1] * tx
    labels = np.zeros((height, width), np.uint8 if regions <= 256 else np.uint16)
    rows = max(1, STRIP // width)
    for top in range(0, height, rows):
        part = slice(top, top + rows)
        best = np.zeros(labels[part].shape, np.float32) if regions == 2 else np.full(labels[part].shape, -1, np.float32)
        for index, plane in enumerate(wide, start=1 if regions == 2 else 0):
            value, step = plane[y0[part]], plane[y1[part]]
            step -= value
            step *= ty[part, None]
            value += step
            better = value > best
            if regions == 2:
                labels[part] = better
            else:
                labels[part][better] = index
                np.maximum(best, value, out=best)
    return labels


class Upsampled:
    """Regions of one image, computed when read: labels straight from the network's square where they suffice."""

    def __init__(self, square: Probabilities, size: tuple[int, int], names: tuple[str, ...], exact: bool) -> None:
        """square: (K, S, S); size: (H, W). exact: `probs` will be read too, so that labels must be their argmax."""
        self._square, self._size, self.names, self._exact = square, size, names, exact

    @cached_property
    def labels(self) -> AnyLabels:
        """(H, W) index of each pixel's most probable region."""
        small = self._size[0] < self._square.shape[1] or self._size[1] < self._square.shape[2]
        if self._exact or small:
            return np.asarray(self.probs.argmax(axis=0))
        return upsampled_labels(self._square, *self._size)

    @cached_property
    def probs(self) -> Probabilities:
        """(K, H, W) float32, sums to 1 over K."""
        return resize_probs(self._square, *self._size)
