"""Regions drawn to the edges of their photos, without labels: what networks blur, the colours know."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

ANCHORS = 32
"""Pixels are compared with an ANCHORS x ANCHORS reduction of their image: the cost grows with the pixels alone."""
ROWS = 512
"""Pixels compared with all anchors at a time: 2 MB of kernel."""


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


def _centres(anchors: Tensor) -> Tensor:
    """(m, d) -> (d + 2, m): (p, |p|^2 / 2, 1) times this is -|p - a|^2 / 2, in one product."""
    ones = torch.ones_like(anchors[:, :1])
    return torch.cat([anchors, -ones, -anchors.square().sum(1, keepdim=True) / 2], 1).T


def _kernel(points: Tensor, centres: Tensor) -> Tensor:
    """(n, d), (d + 2, m) of `_centres` -> (n, m): exp(-|p - a|^2 / 2)."""
    half = points.square().sum(1, keepdim=True) / 2
    return (torch.cat([points, half, torch.ones_like(half)], 1) @ centres).exp_()


def _prior(probs: Tensor, trust: float) -> Tensor:
    """(K, h, w) -> (h*w, K): bounded log-probabilities of the regions given."""
    return 2 * trust * (probs + 0.02).log().flatten(1).T


def _support(kernel: Tensor, q: Tensor) -> Tensor:
    """(n, m), (m, K) -> (n, K): means of q under the kernel. Rows of q sum to 1, so the first region is the rest."""
    sums = kernel @ torch.cat([torch.ones_like(q[:, :1]), q[:, 1:]], 1)
    others = sums[:, 1:] / sums[:, :1].clamp_min(1e-12)
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
    """`snap` of one image (C, H, W) and its regions (K, H, W); a processor takes `ROWS` pixels at a time."""
    size = (min(ANCHORS, image.shape[1]), min(ANCHORS, image.shape[2]))
    coarse = F.adaptive_avg_pool2d(given, size)
    anchors = _features(F.adaptive_avg_pool2d(image, size), colour, place)
    centres = _centres(anchors)
    kernel, prior, q = _kernel(anchors, centres), _prior(coarse, trust), coarse.flatten(1).T
    for _ in range(iterations - 1):
        q = torch.softmax(3 * _support(kernel, q) + prior, 1)
    if image.shape[1:] == size:
        support = _support(kernel, q)
    else:
        points, prior = _features(image, colour, place), _prior(given, trust)
        rows = ROWS if image.device.type == "cpu" else len(points)
        support = torch.cat([_support(_kernel(some, centres), q) for some in torch.split(points, rows)])
    return torch.softmax(3 * support + prior, 1).T.reshape(given.shape)
