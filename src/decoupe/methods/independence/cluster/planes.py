"""Grey planes of an image in which alike things may stand out: brightness, colour, distance from the ground colour."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from decoupe.types import Image

Plane = NDArray[np.float32]

_BINS = 24
_SPARE = 0.95
"""A principal component that follows the brightness this closely adds nothing."""
_FAINT = 0.02
"""A principal component whose spread is below this share of the full range holds only noise."""


def planes(image: Image) -> dict[str, Plane]:
    """(H, W, C) uint8 -> named (H, W) float32 planes; things may be the bright or the dark parts of any of them.

    `light`: the mean of the bands. `colour 1`, `colour 2`: principal components of the bands that differ from it.
    `away`: log(1 + d / 3), d the Mahalanobis distance from the commonest colour; only its bright parts can be things.
    """
    bands: NDArray[np.float32] = (np.moveaxis(image, 2, 0) / 255).astype(np.float32)
    light = bands.mean(0)
    found = {"light": light}
    for component in _components(bands):
        alike = abs(float(np.corrcoef(component.ravel(), light.ravel())[0, 1])) if light.std() > 1e-6 else 0.0
        if alike < _SPARE and len(found) < 3:
            found[f"colour {len(found)}"] = component
    found["away"] = np.log1p(ground_distance(np.stack(list(found.values()))) / 3)
    return found


def _components(bands: NDArray[np.float32]) -> list[Plane]:
    """Up to three principal components of (C, H, W) bands that are more than noise; none of one band."""
    if len(bands) < 2:
        return []
    flat = bands.reshape(len(bands), -1)
    flat = flat - flat.mean(1, keepdims=True)
    values, vectors = np.linalg.eigh(flat @ flat.T / flat.shape[1])
    order = np.argsort(-values)[:3]
    return [(vectors[:, i] @ flat).reshape(bands.shape[1:]).astype(np.float32) for i in order if values[i] > _FAINT**2]


def ground_distance(found: NDArray[np.float32]) -> Plane:
    """(P, H, W) planes -> (H, W): Mahalanobis distance from the commonest colour.

    The fullest bin of a smoothed histogram, then a Gaussian fitted to what lies within three deviations, repeatedly.
    """
    count = len(found)
    x = found.reshape(count, -1).T.astype(np.float64)
    low, high = np.percentile(x, 0.5, 0), np.percentile(x, 99.5, 0)
    width = np.maximum(high - low, 1e-3)
    bins = np.clip((x - low) / width * _BINS, 0, _BINS - 1).astype(np.int64)
    cells = np.ravel_multi_index(tuple(bins.T), (_BINS,) * count)
    histogram = np.bincount(cells, minlength=_BINS**count).reshape((_BINS,) * count).astype(np.float64)
    peak = np.array(np.unravel_index(ndimage.gaussian_filter(histogram, 1.0).argmax(), histogram.shape))
    centre, spread = low + (peak + 0.5) / _BINS * width, np.diag((width / 12) ** 2)
    for _ in range(8):
        distance = _mahalanobis(x, centre, spread)
        near = x[distance < 3]
        if len(near) < 50:
            break
        centre = near.mean(0)
        spread = np.cov(near.T).reshape(count, count) * 1.2 + np.eye(count) * 0.006**2
    return _mahalanobis(x, centre, spread).reshape(found.shape[1:]).astype(np.float32)


def _mahalanobis(
    x: NDArray[np.float64], centre: NDArray[np.float64], spread: NDArray[np.float64]
) -> NDArray[np.float64]:
    apart = x - centre
    return np.asarray(np.sqrt(np.maximum(np.einsum("nc,cd,nd->n", apart, np.linalg.inv(spread), apart), 0)))
