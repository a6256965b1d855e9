"""The objectives of section 6, from the terms of `decoupe.losses.variational`: means over images, to be maximised.

Notation: i the image, c its tags, i_S its mask, z the latent, q(z|.) an inference network.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from decoupe.losses.variational import Gaussian, free_bits, importance_weighted, kl, log_density, standard


# Equation 8: E_q log p(i_S|i,z) - KL[q(z|i,i_S) || p(z)], and each of equations 9 to 11 with its own likelihood and q
def elbo(
    likelihood: Tensor, z: Tensor, q: Gaussian, p: Gaussian | None, weight: float = 1.0, bits: float = 0.0
) -> Tensor:
    """Scalar. `likelihood` (K, B): log p of all that is explained, weighted, for the K samples `z` (K, B, ...) of q.

    K = 1: the closed form of the KL term, times `weight`, without the first `bits` nats of each dimension. K > 1: the
    importance-weighted bound of Burda et al., log p(z) - log q(z) times `weight`. `p` None = N(0, I).
    """
    if len(likelihood) == 1:
        return likelihood.mean() - weight * free_bits(kl(q, p).mean(0), bits)
    ratio = log_density(z, standard(q) if p is None else p) - log_density(z, q)
    return importance_weighted(likelihood + weight * ratio).mean()


# Section 6: the sum of equations 9, 10 and 11, as a mean
def telbo(bounds: Sequence[Tensor]) -> Tensor:
    """Scalars of the joint ELBO, of (i, c) and of i_S -> their mean."""
    total = bounds[0]
    for bound in bounds[1:]:
        total = total + bound
    return total / len(bounds)


# JMVAE (Suzuki et al. 2016): ELBO_joint - alpha sum over subsets of KL[q(z|i,c,i_S) || q(z|subset)]
def jmvae(joint: Tensor, q: Gaussian, subsets: Sequence[Gaussian], alpha: float) -> Tensor:
    """Scalar."""
    total = joint
    for subset in subsets:
        total = total - alpha * kl(q, subset).sum(1).mean()
    return total
