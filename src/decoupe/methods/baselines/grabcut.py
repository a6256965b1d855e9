"""GrabCut (Rother, Kolmogorov & Blake 2004) from a central rectangle, for any number of bands."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from decoupe.clustering import kmeans
from decoupe.methods.baselines.mincut import GridCut, neighbours

COMPONENTS = 5
GAMMA = 50.0
QUANTISATION = 1 / 12
"""Variance of rounding to 8 bits, in squared grey levels: the least a component's covariance can be."""

Pixels = NDArray[np.float64]
"""(N, C) colours in 0..255."""
Indices = NDArray[np.int64]
"""(P,) flat pixel indices."""


@dataclass(frozen=True)
class Mixture:
    """K full-covariance Gaussians of one side (object or background)."""

    weight: NDArray[np.float64]
    """(K,) pi."""
    mean: NDArray[np.float64]
    """(K, C) mu."""
    precision: NDArray[np.float64]
    """(K, C, C) inverse of Sigma."""
    log_det: NDArray[np.float64]
    """(K,) log det Sigma."""


def costs(z: Pixels, mixture: Mixture) -> NDArray[np.float64]:
    """Eq. 9: D(k) = -log pi_k + log(det Sigma_k) / 2 + (z - mu_k)' Sigma_k^-1 (z - mu_k) / 2, as (N, K)."""
    columns = []
    for pi, mean, precision, log_det in zip(
        mixture.weight, mixture.mean, mixture.precision, mixture.log_det, strict=True
    ):
        d = z - mean
        columns.append(-np.log(pi) + log_det / 2 + np.einsum("nc,nc->n", d @ precision, d) / 2)
    return np.stack(columns, axis=1)


def learn(z: Pixels, component: Indices) -> Mixture:
    """Step 2 of Fig. 3: pi, mu and Sigma of the pixels of each component; empty components are left out."""
    weight, mean, covariance = [], [], []
    for k in np.unique(component):
        members = z[component == k]
        centre = members.mean(axis=0)
        d = members - centre
        weight.append(len(members) / len(z))
        mean.append(centre)
        covariance.append(d.T @ d / len(members) + QUANTISATION * np.eye(z.shape[1]))
    sigma = np.array(covariance)
    return Mixture(np.array(weight), np.array(mean), np.linalg.inv(sigma), np.linalg.slogdet(sigma)[1])


def contrast(z: Pixels, pairs: list[tuple[Indices, Indices, float]]) -> float:
    """Eq. 5: beta = 1 / (2 <|z_m - z_n|^2>), the mean over all neighbouring pairs; 0 for a constant image."""
    squares = [((z[m] - z[n]) ** 2).sum(1) for m, n, _ in pairs]
    mean = sum(float(s.sum()) for s in squares) / max(1, sum(len(s) for s in squares))
    return 0.0 if mean == 0 else 1 / (2 * mean)


def smoothness(z: Pixels, m: Indices, n: Indices, distance: float, beta: float) -> NDArray[np.float64]:
    """Eq. 4, 11: V of a pair across the border = gamma exp(-beta |z_m - z_n|^2), over their distance in pixels."""
    return np.asarray(GAMMA / distance * np.exp(-beta * ((z[m] - z[n]) ** 2).sum(1)))


def rectangle(height: int, width: int, margin: float) -> NDArray[np.bool_]:
    """(H, W) bool: True inside, `margin` (a share of each side, at least one pixel) left out all around."""
    inside = np.zeros((height, width), dtype=np.bool_)
    top, left = max(1, round(margin * height)), max(1, round(margin * width))
    inside[top : height - top, left : width - left] = True
    return inside


def start(z: Pixels) -> Mixture:
    """The first mixture of one side: k-means in colour, at most `COMPONENTS` clusters (no outside randomness)."""
    generator = torch.Generator().manual_seed(0)
    assign = kmeans(torch.from_numpy(z.astype(np.float32)), min(COMPONENTS, len(z)), generator, iterations=10)[1]
    return learn(z, assign.numpy())


def grabcut(image: Pixels, margin: float = 0.1, iterations: int = 5) -> NDArray[np.bool_]:
    """(H, W) bool: the object in `image` (H, W, C), colours in 0..255, taken to lie in the central rectangle.

    All outside the rectangle is background for good (T_B), all inside is open (T_U) and starts as object. Fig. 3:
    assign components, learn mixtures, cut; `iterations` times or until nothing moves or one side is empty.
    """
    height, width, bands = image.shape
    z = image.reshape(-1, bands).astype(np.float64)
    open_ = rectangle(height, width, margin).ravel()
    cut, fixed = _graph(z, height, width, open_)
    alpha = open_.copy()
    front, back = start(z[alpha]), start(z[~alpha])
    for _ in range(iterations):
        front = learn(z[alpha], costs(z[alpha], front).argmin(1))
        back = learn(z[~alpha], costs(z[~alpha], back).argmin(1))
        unary = costs(z[open_], front).min(1) - costs(z[open_], back).min(1)
        before = alpha.copy()
        alpha[open_] = cut(unary + fixed)
        if not alpha.any() or (alpha == before).all():
            break
    return alpha.reshape(height, width)


def _graph(z: Pixels, height: int, width: int, open_: NDArray[np.bool_]) -> tuple[GridCut, NDArray[np.float64]]:
    """The cut over the open pixels, and (M,) what each pays for being object beside fixed background."""
    pairs = neighbours(height, width)
    beta = contrast(z, pairs)
    m = np.concatenate([pair[0] for pair in pairs])
    n = np.concatenate([pair[1] for pair in pairs])
    v = np.concatenate([smoothness(z, *pair, beta) for pair in pairs])
    beside = np.bincount(m, v * ~open_[n], len(z)) + np.bincount(n, v * ~open_[m], len(z))
    fixed = np.asarray(beside, dtype=np.float64)
    both = open_[m] & open_[n]
    place = np.cumsum(open_) - 1
    return GridCut(place[m[both]], place[n[both]], v[both], int(open_.sum())), fixed[open_]
