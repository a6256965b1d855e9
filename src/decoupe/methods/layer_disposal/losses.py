"""The formulas of layer disposal, one function per equation.

Notation: z a code, f_k the image of layer k and m_k its mask, G_K(z) all layers over one another, E the encoder. The
terms of D in Eq. 3.3 and of G in Eq. 3.4 are those of every such game: `decoupe.losses.adversarial`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from decoupe.compositing import Stack, alpha_over
from decoupe.nn.norm import global_sum


# Eq. 3.1: G_0(z) = f_0(z)
def background(stack: Stack) -> Tensor:
    """(B, C, S, S): the base of the recursion, always there."""
    return stack.background


# Eq. 3.2: G_k(z) = f_k m_k + G_{k-1} (1 - m_k) with probability p_k, else G_{k-1}
def add_layer(below: Tensor, image: Tensor, mask: Tensor, keep: Tensor) -> Tensor:
    """`below`, `image` (B, C, S, S), `mask` (B, 1, S, S), `keep` (B,) 0 or 1 -> (B, C, S, S)."""
    return alpha_over(image, mask * keep[:, None, None, None], below)


# G_K(z): Eq. 3.1, then Eq. 3.2 for k = 1..K
def generate(stack: Stack, keep: Tensor) -> Tensor:
    """`keep` (B, K) -> (B, C, S, S)."""
    image = background(stack)
    for parts in zip(stack.images.unbind(1), stack.masks.unbind(1), keep.unbind(1), strict=True):
        image = add_layer(image, *parts)
    return image


# The draw in Eq. 3.2: layer k is kept with probability p_k
def keeping(uniform: Tensor, probs: Tensor) -> Tensor:
    """`uniform` (B, K) in [0, 1), `probs` (K,) -> (B, K) 0 or 1.

    Where `probs` is learned, the gradient is that of the draw relaxed at temperature 1 (Jang et al. 2017, straight
    through): d keep / d logit p = s (1 - s), s = sigmoid(logit p - logit u).
    """
    hard = (uniform < probs).float()
    if not probs.requires_grad:
        return hard
    noise = torch.logit(uniform.clamp(1e-6, 1 - 1e-6))
    soft = torch.sigmoid(torch.logit(probs) - noise)
    return hard + soft - soft.detach()


# Beyond the text: probabilities of each layer whose mean is keep_prob
def keep_probs(logits: Tensor, mean: float) -> Tensor:
    """(K,) logits -> sigmoid(logits + c), with the one c that makes their mean `mean` in (0, 1)."""
    with torch.no_grad():
        low, high = -logits.max() - 20, -logits.min() + 20
        for _ in range(60):
            middle = (low + high) / 2
            over = torch.sigmoid(logits + middle).mean() > mean
            low, high = torch.where(over, low, middle), torch.where(over, middle, high)
    return torch.sigmoid(logits + middle)


# Eq. 3.3, second term: || E(G_K(z) with all layers) - z ||^2
def latent(found: Tensor, codes: Tensor) -> Tensor:
    """(B, ...) each: the squared norm, mean over B."""
    return (found.float() - codes).square().flatten(1).sum(1).mean()


# Section 3.2.1: || G_K(E(x)) - x ||^2
def pixels(rebuilt: Tensor, images: Tensor) -> Tensor:
    """(B, C, S, S) each: the squared norm as a mean over pixels and bands, mean over B."""
    return (rebuilt.float() - images).square().mean()


# Beyond the text: | G_K(E(x)) - x |, all layers kept
def photos(rebuilt: Tensor, images: Tensor) -> Tensor:
    """(B, C, S, S) each: the absolute error, mean over all."""
    return (rebuilt.float() - images).abs().mean()


# Section 3.2.1: one binary classifier for each layer, whether it is in the image
def presence(logits: Tensor, keep: Tensor) -> Tensor:
    """(B, K) logits and 0 or 1: binary cross-entropy, mean over all."""
    return F.binary_cross_entropy_with_logits(logits.float(), keep)


# Beyond the text: mean over pairs j < k of <m_j, m_k> / (|m_j| |m_k|), over all pixels of the batch
def overlap(masks: Tensor) -> Tensor:
    """(B, K, 1, S, S) in [0, 1] -> the mean cosine in [0, 1] of pairs of layers: 1 = all masks lie on one another."""
    flat = masks.float().transpose(0, 1).flatten(1)
    k = len(flat)
    if k < 2:
        return flat.sum() * 0
    with torch.autocast(masks.device.type, enabled=False):
        products = global_sum(flat @ flat.T)
    norms = products.diagonal().clamp_min(1e-12).sqrt()
    cosines = products / (norms[:, None] * norms)
    return (cosines.sum() - cosines.diagonal().sum()) / (k * (k - 1))


# Bielski and Favaro 2019, Eq. 8: min(m, 1 - m)
def undecided(masks: Tensor) -> Tensor:
    """(B, K, 1, S, S) in [0, 1]: the mean distance to the nearer of 0 and 1, in [0, 1/2]."""
    found = masks.float()
    return torch.minimum(found, 1 - found).mean()


# Bielski and Favaro 2019, Eq. 7: max(0, a - mean of m), here in shares of a and for each layer
def too_small(masks: Tensor, area: float) -> Tensor:
    """(B, K, 1, S, S) in [0, 1]: by how much layers cover less than `area` > 0, over the batch, in [0, 1]."""
    layers = masks.float().transpose(0, 1).flatten(1)
    sums = global_sum(torch.stack([layers.sum(1), torch.ones_like(layers).sum(1)]))
    return F.relu(1 - sums[0] / sums[1] / area).mean()


# Mescheder et al. 2018, Eq. 9: R1 = gamma / 2 E |grad_x D(x)|^2 at real images
def gradient_penalty(scores: Tensor, images: Tensor) -> Tensor:
    """`scores` (B, ...) of `images` (B, C, S, S), which require a gradient: half of the squared norm, mean over B.

    Where an image has several scores, D(x) is their mean.
    """
    whole = scores.float().reshape(len(scores), -1).mean(1)
    (slope,) = torch.autograd.grad(whole.sum(), images, create_graph=True)
    return slope.square().flatten(1).sum(1).mean() / 2
