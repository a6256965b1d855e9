"""Regions drawn to the edges of their photos, without labels: what networks blur, the colours know."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

ANCHORS = 32
"""Pixels are compared with an ANCHORS x ANCHORS reduction of their image: the cost grows with the pixels alone."""


def reduce_to(images: Tensor, size: int) -> Tensor:
    """(B, C, S, S) -> (B, C, size, size) by averaging; `images` itself if it is that small already."""
    side = images.shape[3]
    if side <= size:
        return images
    if side % size == 0:
        return F.avg_pool2d(images, side // size)
    return F.interpolate(images, (size, size), mode="bilinear", antialias=True)


def _features(image: Tensor, colour: float, place: float) -> Tensor:
    """(C, h, w) in [-1, 1] -> (h*w, C + 2): colour and position in units of the two widths."""
    channels, height, width = image.shape
    tones = (image + 1) / 2 * (3 / channels) ** 0.5 / colour
    y = torch.linspace(0.5 / height, 1 - 0.5 / height, height, device=image.device)
    x = torch.linspace(0.5 / width, 1 - 0.5 / width, width, device=image.device)
    where = torch.stack(torch.meshgrid(y, x, indexing="ij")) / place
    return torch.cat([tones, where]).flatten(1).T


def _kernel(points: Tensor, anchors: Tensor) -> Tensor:
    """(n, d), (m, d) -> (n, m): exp(-|p - a|^2 / 2), each row divided by its sum."""
    energy = points @ anchors.T
    energy -= points.square().sum(1, keepdim=True) / 2
    energy -= anchors.square().sum(1) / 2
    kernel = energy.exp_()
    return kernel.div_(kernel.sum(1, keepdim=True).clamp_min(1e-12))


def _prior(probs: Tensor, trust: float) -> Tensor:
    """(K, h, w) -> (h*w, K): bounded log-probabilities of the regions given."""
    return 2 * trust * (probs + 0.02).log().flatten(1).T


def _support(kernel: Tensor, q: Tensor) -> Tensor:
    """(n, m), (m, K) -> (n, K): means of q under the kernel. Rows of both sum to 1, so the first region is the rest."""
    others = kernel @ q[:, 1:]
    return torch.cat([1 - others.sum(1, keepdim=True), others], 1)


@torch.no_grad()
def snap(
    images: Tensor, probs: Tensor, colour: float = 0.10, place: float = 0.20, iterations: int = 6, trust: float = 0.5
) -> Tensor:
    """Mean-field iterations of a fully connected Potts model with a normalised Gaussian kernel.

    images (B, C, H, W) in [-1, 1], probs (B, K, H, W) summing to 1 over K >= 2 -> probabilities of the same shape.
    With k(i, j) = exp(-|c_i - c_j|^2 / 2 colour^2 - |x_i - x_j|^2 / 2 place^2) over colours in [0, 1] (their squares
    averaged over the bands, times 3) and positions in image sides, s_ik = sum_j k(i, j) q_jk / sum_j k(i, j) and
    q_ik ~ exp(3 s_ik + 2 trust log(p_ik + .02)), divided by its sum over the regions. For two regions this is
    q_i = sigmoid(6 (s_i - 1/2) + 2 trust log((p_i + .02) / (1.02 - p_i))).
    All iterations but the last run among the anchors, the last one carries their q to every pixel.
    """
    pairs = zip(images.float(), probs.float(), strict=True)
    return torch.stack([_snap_one(image, given, colour, place, iterations, trust) for image, given in pairs])


def _snap_one(image: Tensor, given: Tensor, colour: float, place: float, iterations: int, trust: float) -> Tensor:
    """`snap` of one image (C, H, W) and its regions (K, H, W): one at a time, a kernel stays in the cache."""
    size = (min(ANCHORS, image.shape[1]), min(ANCHORS, image.shape[2]))
    coarse = F.adaptive_avg_pool2d(given, size)
    anchors = _features(F.adaptive_avg_pool2d(image, size), colour, place)
    kernel, prior, q = _kernel(anchors, anchors), _prior(coarse, trust), coarse.flatten(1).T
    for _ in range(iterations - 1):
        q = torch.softmax(3 * _support(kernel, q) + prior, 1)
    if image.shape[1:] != size:
        kernel, prior = _kernel(_features(image, colour, place), anchors), _prior(given, trust)
    return torch.softmax(3 * _support(kernel, q) + prior, 1).T.reshape(given.shape)
