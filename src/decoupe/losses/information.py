"""Mutual information of two soft assignments over displacements, and its contrastive bound on features.

Everything here is computed in float32 or better, whatever precision the networks run in: a joint distribution of
24 x 24 clusters over a million pixels has entries that bf16 cannot add up. Sums go over all processes, so that R
processes of batch b have the loss of one of R b.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from scipy.fft import next_fast_len
from torch import Tensor

from decoupe.nn.norm import gathered, global_sum

TINY = 1e-10
"""Smallest probability that a logarithm is taken of."""


def exact(values: Tensor) -> Tensor:
    """float64 as it is, anything narrower than float32 widened to it."""
    return values if values.dtype == torch.float64 else values.float()


# sum over pixels p of y_i(p) y'_j(p + u), for every displacement u of at most T pixels along each axis
def displaced_joints(first: Tensor, second: Tensor, reach: int) -> Tensor:
    """(2T + 1, 2T + 1, K, K') sums [dy + T, dx + T, i, j]; pixels whose partner lies outside the map count nowhere.

    `first` (B, K, H, W) and `second` (B, K', H, W) are soft assignments, zero at pixels that shall not count; 0 <= T <
    H, W. All displacements come out of one product in the frequency domain (the correlation theorem), so the cost
    hardly depends on T, where a loop over displacements pays for each of (2T + 1)^2.
    """
    with torch.autocast(first.device.type, enabled=False):
        first, second = exact(first), exact(second)
        if reach == 0:
            return torch.einsum("bihw,bjhw->ij", first, second)[None, None]
        size = [next_fast_len(side + reach, real=True) for side in first.shape[2:]]
        spectrum = torch.einsum(
            "bihw,bjhw->hwij", torch.fft.rfft2(first, s=size).conj(), torch.fft.rfft2(second, s=size)
        )
        rows = torch.fft.ifft(spectrum, dim=0)
        rows = torch.cat([rows[-reach:], rows[: reach + 1]])
        whole = torch.fft.irfft(rows, n=size[1], dim=1)
        return torch.cat([whole[:, -reach:], whole[:, : reach + 1]], 1)


# P(u) = (J(u) + J(u)^T) / 2 with J(u) the joint over all pixels, normalised for each displacement u by itself
def symmetric_joints(first: Tensor, second: Tensor, reach: int, valid: Tensor | None = None) -> Tensor:
    """((2T + 1)^2, K, K) joint distributions of two views' soft assignments, of all pixels of all processes.

    `first`, `second`: (B, K, H, W) summing to 1 over K. `valid` (B, 1, H, W) bool: pixels that count (None: all).
    """
    if valid is not None:
        first, second = first * valid, second * valid
    sums = global_sum(displaced_joints(first, second, reach).flatten(0, 1)).clamp_min(0)
    joint = sums / sums.sum((1, 2), keepdim=True).clamp_min(TINY)
    return (joint + joint.mT) / 2


# I(y, y') = sum_ij P_ij (log P_ij - lambda log P_i - lambda log P_j); lambda = 1 is mutual information
def mutual_information(joint: Tensor, marginal_weight: float = 1.0) -> Tensor:
    """(...) nats from joint distributions (..., K, K'); lambda > 1 asks more of equal cluster sizes."""
    joint = joint.clamp_min(TINY)
    rows, columns = joint.sum(-1, keepdim=True), joint.sum(-2, keepdim=True)
    weighed = joint.log() - marginal_weight * (rows.log() + columns.log())
    return (joint * weighed).sum((-1, -2))


# L = - mean over displacements u of I(u)
def displaced_information(
    first: Tensor, second: Tensor, reach: int, marginal_weight: float = 1.0, valid: Tensor | None = None
) -> Tensor:
    """Mean over displacements of the mutual information of two views' assignments; see `symmetric_joints`."""
    with torch.autocast(first.device.type, enabled=False):
        return mutual_information(symmetric_joints(first, second, reach, valid), marginal_weight).mean()


def pointwise_information(first: Tensor, second: Tensor) -> Tensor:
    """(B,): each image's share of the mutual information of the whole batch, as a part of log K; its mean is I / log K.

    `first`, `second`: (B, K, H, W) soft assignments. 1: K clusters of equal size on which both views agree for sure.
    """
    with torch.autocast(first.device.type, enabled=False):
        first, second = exact(first), exact(second)
        joint = symmetric_joints(first, second, 0)[0].clamp_min(TINY)
        surplus = (joint / (joint.sum(0) * joint.sum(1)[:, None])).log()
        pixels = first.shape[2] * first.shape[3]
        each = torch.einsum("bihw,ij,bjhw->b", first, surplus, second)
        other = torch.einsum("bihw,ij,bjhw->b", second, surplus, first)
        found: Tensor = (each + other) / (2 * pixels * math.log(max(2, first.shape[1])))
        return found


# E log( e^f(y_l, y'_l) / ( 1/N sum_m e^f(y_l, y'_m) ) ), f = cosine / temperature
def contrastive_bound(first: Tensor, second: Tensor, temperature: float = 0.1, valid: Tensor | None = None) -> Tensor:
    """A lower bound in nats of the mutual information of two views' features (InfoNCE), to be maximised.

    `first`, `second`: (n, D), row l of both belongs to the same pixel. The other rows, of all processes, are the
    negatives: N^2 numbers, whatever the size of the images. `valid` (n,) bool: rows that count (None: all).
    """
    with torch.autocast(first.device.type, enabled=False):
        first, second = F.normalize(exact(first), dim=1), F.normalize(exact(second), dim=1)
        counts = torch.ones_like(first[:, 0]) if valid is None else valid.to(first.dtype)
        keys, weights = gathered(second), gathered(counts)
        total = weights.sum().clamp_min(1)
        energies = first @ keys.T / temperature + weights.clamp_min(TINY**3).log()
        right = (first * second).sum(1) / temperature
        each = right - energies.logsumexp(1) + total.log()
        bound: Tensor = global_sum((each * counts).sum()) / total
        return bound
