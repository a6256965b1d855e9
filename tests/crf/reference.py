"""The same CRF from its equations, all pairs of pixels, float64: slow and plain."""

from __future__ import annotations

import torch
from torch import Tensor

from decoupe.crf import Settings


def kernel(features: Tensor) -> Tensor:
    """(N, d) -> (N, N) Gaussian of differences, normalised symmetrically; a pixel's kernel with itself counts."""
    apart = features[:, None] - features[None]
    full = torch.exp(-0.5 * (apart * apart).sum(-1))
    mass = full.sum(1)
    return full / torch.sqrt(mass[:, None] * mass[None])


def kernels(image: Tensor, settings: Settings) -> tuple[Tensor, Tensor]:
    """Appearance and smoothness kernel of an (H, W, C) image, (N, N) float64 each."""
    height, width, channels = image.shape
    y = torch.arange(height, dtype=torch.float64).repeat_interleave(width)
    x = torch.arange(width, dtype=torch.float64).repeat(height)
    place = torch.stack([x, y], 1)
    colour = image.double().reshape(-1, channels)
    return (
        kernel(torch.cat([place / settings.appearance_sxy, colour / settings.srgb], 1)),
        kernel(place / settings.smoothness_sxy),
    )


def mean_field(probs: Tensor, image: Tensor, settings: Settings) -> Tensor:
    """(K, H, W) float64 marginals after `settings.iterations` updates."""
    appearance, smoothness = kernels(image, settings)
    pairwise = settings.appearance * appearance + settings.smoothness * smoothness
    unary = probs.double().clamp(min=settings.floor).log().flatten(1).T
    q = torch.softmax(unary, 1)
    for _ in range(settings.iterations):
        q = torch.softmax(unary + pairwise @ q, 1)
    return q.T.reshape(probs.shape)
