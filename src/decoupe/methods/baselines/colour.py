"""Brightness, CIELAB, Otsu's threshold and the border rule, for a batch of images at once."""

from __future__ import annotations

import torch
from torch import Tensor

from decoupe.clustering import two_means

_XYZ = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))
"""Linear sRGB to CIE XYZ (D65)."""
_WHITE = (0.950470, 1.0, 1.088830)
"""XYZ of D65 white."""


def lab(images: Tensor) -> Tensor:
    """(B, 3, H, W) sRGB in [-1, 1] -> CIELAB: L in 0..100, a and b about -110..110. CIE 15:2004, D65."""
    rgb = (images + 1) / 2
    linear = torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb.clamp_min(0) + 0.055) / 1.055) ** 2.4)
    xyz = torch.einsum("xc,bchw->bxhw", images.new_tensor(_XYZ), linear) / images.new_tensor(_WHITE)[:, None, None]
    f = torch.where(xyz > (6 / 29) ** 3, xyz.clamp_min(1e-9) ** (1 / 3), xyz * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = f.unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


def luma(images: Tensor) -> Tensor:
    """(B, C, H, W) in [-1, 1] -> (B, H, W) grey levels 0..255: Rec. 601 weights for three bands, else the mean."""
    if images.shape[1] == 3:
        weights = images.new_tensor((0.299, 0.587, 0.114))
        return ((images * weights[:, None, None]).sum(1) + 1) * 127.5
    return (images.mean(1) + 1) * 127.5


def otsu(grey: Tensor) -> Tensor:
    """(B,) int64 thresholds t in 0..255 for (B, H, W) grey levels: the classes are g <= t and g > t.

    Otsu 1979, Eq. 18: t maximises (mu_T omega(t) - mu(t))^2 / (omega(t) (1 - omega(t))); the lowest of equals.
    """
    levels = grey.round().clamp(0, 255).long().flatten(1)
    histogram = torch.zeros(len(levels), 256, dtype=torch.float64, device=grey.device)
    histogram.scatter_add_(1, levels, torch.ones_like(levels, dtype=torch.float64))
    p = histogram / levels.shape[1]
    omega = p.cumsum(1)
    mu = (p * torch.arange(256, dtype=torch.float64, device=grey.device)).cumsum(1)
    between = (mu[:, -1:] * omega - mu) ** 2 / (omega * (1 - omega)).clamp_min(1e-12)
    return between.argmax(1)


def border_rule(side: Tensor) -> Tensor:
    """(B, H, W) bool object masks from bool `side`: the class that holds more of the outermost pixels is background."""
    ring = torch.cat([side[:, 0], side[:, -1], side[:, 1:-1, 0], side[:, 1:-1, -1]], 1)
    return side ^ (ring.double().mean(1) > 0.5)[:, None, None]


def split_by_colour(images: Tensor) -> Tensor:
    """(B, H, W) bool objects: 2-means of each image's pixels in CIELAB (of its bands as they are if not three)."""
    colours = lab(images) if images.shape[1] == 3 else images
    side = two_means(colours.flatten(2).mT).bool()
    return border_rule(side.view(len(images), *images.shape[2:]))


def split_by_brightness(images: Tensor) -> Tensor:
    """(B, H, W) bool objects: Otsu's threshold on each image's brightness."""
    grey = luma(images)
    return border_rule(grey.round() > otsu(grey)[:, None, None])
