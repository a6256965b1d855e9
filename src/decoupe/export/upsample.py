"""From the network's square to the user's frame, computing only what the chosen formats read."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from decoupe.data.decode import resize_probs
from decoupe.export.base import AnyLabels
from decoupe.types import Probabilities

STRIP = 1 << 16
"""Pixels handled at a time, so that the work stays in the processor's cache whatever the size of the photo."""


def taps(size: int, target: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """Of each target index, the two source indices of bilinear interpolation and the weight of the second."""
    at = np.clip((np.arange(target) + 0.5) * (size / target) - 0.5, 0, size - 1)
    low = np.floor(at).astype(np.intp)
    return low, np.minimum(low + 1, size - 1), (at - low).astype(np.float32)


def upsampled_labels(probs: Probabilities, height: int, width: int) -> AnyLabels:
    """(height, width) index of the largest of the bilinearly resized (K, h, w) `probs`, without building those.

    height >= h and width >= w. Ties go to the lower index. uint8 up to 256 regions, else uint16.
    """
    if len(probs) == 2:
        return _two(probs[1] - probs[0], height, width)
    y0, y1, ty = taps(probs.shape[1], height)
    wide = _widen(probs, width)
    labels = np.zeros((height, width), np.uint8 if len(probs) <= 256 else np.uint16)
    for part in _strips(height, width):
        best = np.full(labels[part].shape, -1, np.float32)
        for index, plane in enumerate(wide):
            value, step = plane[y0[part]], plane[y1[part]]
            step -= value
            step *= ty[part, None]
            value += step
            labels[part][value > best] = index
            np.maximum(best, value, out=best)
    return labels


def _two(ahead: NDArray[np.float32], height: int, width: int) -> NDArray[np.uint8]:
    """1 where the resized (h, w) lead of region 1 over region 0 is positive, else 0.

    Down a column the lead is linear between two source rows, so it changes sign at most once there: one comparison
    of the position with the place of that change replaces the interpolation.
    """
    y0, y1, ty = taps(ahead.shape[0], height)
    above = _widen(ahead, width)
    below = np.vstack([above[1:], above[-1:]])
    positive = above > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        change = np.where(positive != (below > 0), above / (above - below), np.float32(2))
    labels = np.empty((height, width), np.bool_)
    for part in _strips(height, width):
        np.greater(ty[part, None], change[y0[part]], out=labels[part])
        labels[part] ^= positive[y0[part]]
    return labels.view(np.uint8)


def _widen(planes: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    low, high, weight = taps(planes.shape[-1], width)
    return np.asarray(planes[..., low] * (1 - weight) + planes[..., high] * weight, np.float32)


def _strips(height: int, width: int) -> Iterator[slice]:
    rows = max(1, STRIP // width)
    return (slice(top, top + rows) for top in range(0, height, rows))


class Upsampled:
    """Regions of one image, computed when read: labels straight from the network's square where they suffice."""

    def __init__(
        self,
        square: Probabilities,
        size: tuple[int, int],
        names: tuple[str, ...],
        exact: bool,
        layers: NDArray[np.float32] | None = None,
    ) -> None:
        """square: (K, S, S); size: (H, W). exact: `probs` will be read too, so that labels must be their argmax.

        layers: (K, 4, S, S) premultiplied RGBA, for formats that read them.
        """
        self._square, self._size, self.names, self._exact = square, size, names, exact
        self._layers = layers

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

    @cached_property
    def layers(self) -> NDArray[np.float32] | None:
        """(K, H, W, 4) premultiplied RGBA in [0, 1], back to front; None where they are not asked for."""
        from decoupe.layers import resized

        return None if self._layers is None else resized(self._layers, self._size)
