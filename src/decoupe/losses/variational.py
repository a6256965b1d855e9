"""Variational inference with Gaussians, one function per equation. Log-likelihoods are sums in nats, one per image.

Notation: q(z|x) = N(mean, exp(log_variance)) with a diagonal covariance, p(z) or p(z|i) the prior, x the observed parts
of a scene. Everything is computed in float32, or in float64 where the inputs are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from decoupe.types import VOID

LEVELS = 255
"""Steps between -1 and 1 of an image of 8 bits."""


class Gaussian(NamedTuple):
    """A diagonal Gaussian for each image."""

    mean: Tensor
    """(B, ...)"""
    log_variance: Tensor
    """(B, ...), the same shape"""


def _wide(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def standard(like: Gaussian) -> Gaussian:
    """p(z) = N(0, I), in the shape of `like`."""
    return Gaussian(torch.zeros_like(like.mean), torch.zeros_like(like.log_variance))


# Equation 6: z = mu(x) + eps sigma(x), eps ~ N(0, I)
def reparameterise(q: Gaussian, noise: Tensor) -> Tensor:
    """`noise` (..., *shape of q) standard normal -> z of that shape, differentiable in mean and variance."""
    return _wide(q.mean) + noise * (0.5 * _wide(q.log_variance)).exp()


# log N(z; mean, exp(log_variance))
def log_density(z: Tensor, q: Gaussian) -> Tensor:
    """(..., B, *latent) -> (..., B): summed over the dimensions of the latent."""
    log_variance = _wide(q.log_variance)
    each = -0.5 * (math.log(2 * math.pi) + log_variance + (z - _wide(q.mean)).square() * (-log_variance).exp())
    return each.flatten(z.ndim - q.mean.ndim + 1).sum(-1)


# The second term of equation 4, in closed form: KL[q(z|x) || p(z)]
def kl(q: Gaussian, p: Gaussian | None = None) -> Tensor:
    """(B, D) nats for each of the D dimensions of the latent; `p` None = N(0, I)."""
    mean, log_variance = _wide(q.mean).flatten(1), _wide(q.log_variance).flatten(1)
    if p is None:
        return 0.5 * (log_variance.exp() + mean.square() - 1 - log_variance)
    other, wide = _wide(p.mean).flatten(1), _wide(p.log_variance).flatten(1)
    ratio = (log_variance - wide).exp()
    return 0.5 * (ratio + (mean - other).square() * (-wide).exp() - 1 + wide - log_variance)


# Free bits (Kingma et al. 2016): sum over d of max(E_x KL_d, bits)
def free_bits(mean_kl: Tensor, bits: float) -> Tensor:
    """`mean_kl` (D,) nats, averaged over images -> scalar. A dimension below `bits` nats is not pressed further."""
    return mean_kl.clamp_min(bits).sum()


# log p(i_S | z): a categorical distribution at every pixel
def mask_likelihood(logits: Tensor, labels: Tensor) -> Tensor:
    """(B, K, H, W) and int64 (B, H, W) of classes, 255 = void -> (B,), void pixels left out."""
    each = F.cross_entropy(_wide(logits), labels, ignore_index=VOID, reduction="none")
    return -each.flatten(1).sum(1)


# log p(c | z): independent Bernoulli variables
def tags_likelihood(logits: Tensor, tags: Tensor) -> Tensor:
    """(B, C) and (B, C) of 0, 1 or NaN = not known -> (B,), unknown tags left out."""
    known = tags.isfinite()
    each = F.binary_cross_entropy_with_logits(_wide(logits), tags.nan_to_num(), reduction="none")
    return -(each * known).sum(1)


# log p(i | z) = log N(i; mean, scale^2)
def gaussian_likelihood(mean: Tensor, images: Tensor, log_scale: Tensor) -> Tensor:
    """(B, C, H, W), the images in [-1, 1], and (C,) logarithms of the standard deviations -> (B,)."""
    log_scale = _wide(log_scale)[:, None, None]
    error = (images - _wide(mean)) * (-log_scale).exp()
    level = (log_scale + 0.5 * math.log(2 * math.pi)).sum() * (error.shape[2] * error.shape[3])
    return -0.5 * error.square().flatten(1).sum(1) - level


# log p(i | z), the logistic distribution integrated over each of the 256 levels (Salimans et al. 2017, eq. 2)
def logistic_likelihood(mean: Tensor, images: Tensor, log_scale: Tensor) -> Tensor:
    """As `gaussian_likelihood`, but the probability of an image of 8 bits: sums to 1 over the levels of each value."""
    narrow = (-_wide(log_scale)[:, None, None]).exp()
    centred = images - _wide(mean)
    above, below = (centred + 1 / LEVELS) * narrow, (centred - 1 / LEVELS) * narrow
    # log(s(a) - s(b)) = log s(a) + log s(-b) + log(1 - exp(b - a)), exact where both are near 0 or near 1
    inside = F.logsigmoid(above) + F.logsigmoid(-below) + torch.log(-torch.expm1(below - above))
    each = torch.where(images > 1 - 1 / LEVELS, F.logsigmoid(-below), inside)
    each = torch.where(images < -1 + 1 / LEVELS, F.logsigmoid(above), each)
    return each.flatten(1).sum(1)


# Importance-weighted bound (Burda et al. 2016): log 1/K sum over k of p(x, z_k) / q(z_k | x)
def importance_weighted(log_weights: Tensor) -> Tensor:
    """(K, B) of log p(x, z_k) - log q(z_k|x) -> (B,); for K = 1 a one-sample ELBO."""
    return torch.logsumexp(_wide(log_weights), 0) - math.log(len(log_weights))


# Product of experts with the universal expert N(0, I) (Vedantam et al. 2017): q(z|x_O) ~ p(z) prod over O of q(z|x_m)
def product_of_experts(experts: Sequence[Gaussian], present: Sequence[Tensor | None] = ()) -> Gaussian:
    """Precisions add, and so do precision-weighted means; N(0, I) always takes part.

    `present`: for each expert (B,) of 0 and 1, whether it takes part for that image; None = for all.
    """
    first = experts[0].mean
    precision, weighted = torch.ones_like(_wide(first)), torch.zeros_like(_wide(first))
    for index, expert in enumerate(experts):
        own = (-_wide(expert.log_variance)).exp()
        there = present[index] if index < len(present) else None
        if there is not None:
            own = own * there.view(-1, *(1 for _ in first.shape[1:]))
        precision = precision + own
        weighted = weighted + own * _wide(expert.mean)
    return Gaussian(weighted / precision, -precision.log())
