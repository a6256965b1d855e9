"""Masks drawn to the edges of their photos, without labels: what the teachers blur, the colours know."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

ANCHORS = 32
"""Pixels are compared with an ANCHORS x ANCHORS reduction of their image: the cost grows with the pixels alone."""


def _features(images: Tensor, colour: float, place: float) -> Tensor:
    """(B, C, h, w) in [-1, 1] -> (B, h*w, C + 2): colour and position in units of the two widths."""
    count, channels, height, width = images.shape
    tones = (images + 1) / 2 * (3 / channels) ** 0.5 / colour
    y = torch.linspace(0.5 / height, 1 - 0.5 / height, height, device=images.device)
    x = torch.linspace(0.5 / width, 1 - 0.5 / width, width, device=images.device)
    where = torch.stack(torch.meshgrid(y, x, indexing="ij")).expand(count, -1, -1, -1) / place
    return torch.cat([tones, where], 1).flatten(2).transpose(1, 2)


def _kernel(points: Tensor, anchors: Tensor) -> Tensor:
    """(B, n, d), (B, m, d) -> (B, n, m): exp(-|p - a|^2 / 2), each row divided by its sum."""
    energy = points @ anchors.transpose(1, 2)
    energy -= points.square().sum(2, keepdim=True) / 2
    energy -= anchors.square().sum(2)[:, None] / 2
    kernel = energy.exp_()
    return kernel.div_(kernel.sum(2, keepdim=True).clamp_min(1e-12))


def _prior(masks: Tensor, trust: float) -> Tensor:
    """(B, 1, h, w) -> (B, h*w, 1) log-odds of the mask given, bounded."""
    return 2 * trust * ((masks + 0.02) / (1.02 - masks)).log().flatten(2).transpose(1, 2)


@torch.no_grad()
def snap(
    images: Tensor, masks: Tensor, colour: float = 0.10, place: float = 0.20, iterations: int = 6, trust: float = 0.5
) -> Tensor:
    """Mean-field iterations of a fully connected two-label model with a normalised Gaussian kernel.

    images (B, C, H, W) in [-1, 1], masks (B, 1, H, W) in [0, 1] -> masks of the same shape. With k(i, j) =
    exp(-|c_i - c_j|^2 / 2 colour^2 - |x_i - x_j|^2 / 2 place^2) over colours in [0, 1] and positions in image sides,
    s_i = sum_j k(i, j) q_j / sum_j k(i, j) and q_i = sigmoid(6 (s_i - 1/2) + 2 trust log((m_i + .02) / (1.02 - m_i))).
    All iterations but the last run among the anchors, the last one carries their q to every pixel.
    """
    size = (min(ANCHORS, images.shape[2]), min(ANCHORS, images.shape[3]))
    masks = masks.float()
    small = F.adaptive_avg_pool2d(images.float(), size)
    anchors, coarse = _features(small, colour, place), F.adaptive_avg_pool2d(masks, size)
    kernel, prior, q = _kernel(anchors, anchors), _prior(coarse, trust), coarse.flatten(2).transpose(1, 2)
    for _ in range(iterations - 1):
        q = torch.sigmoid(6 * (kernel @ q - 0.5) + prior)
    pixels = _features(images.float(), colour, place)
    support = torch.stack([_kernel(p[None], a[None])[0] @ s for p, a, s in zip(pixels, anchors, q, strict=True)])
    return torch.sigmoid(6 * (support - 0.5) + _prior(masks, trust)).transpose(1, 2).reshape(masks.shape)
