"""How photos are shown to networks: views, jitter and shifts drawn from the step's own random numbers."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from decoupe.compositing import warp
from decoupe.methods.room import Draw


def view(images: Tensor, draw: Draw, zoom: float) -> Tensor:
    """A random crop of 1/zoom to all of each photo, enlarged back, mirrored half of the time. (B, C, S, S) -> same."""
    scale = draw.uniform(low=1.0, high=zoom)
    shift = draw.uniform(2, low=-1.0, high=1.0) * (scale - 1)[:, None]
    return warp(images, scale, shift, draw.uniform() < 0.5, "reflection")


def _contrast(images: Tensor, about: Tensor, factor: Tensor) -> Tensor:
    return (images - about) * factor[:, None, None, None] + about


def colour_jitter(images: Tensor, draw: Draw, strength: float) -> Tensor:
    """Random brightness (+- strength), saturation and contrast (factor 1 +- strength) for any number of bands."""
    brightness = draw.uniform(low=-strength, high=strength)
    x = images + brightness[:, None, None, None]
    x = _contrast(x, x.mean(1, keepdim=True), draw.uniform(low=1 - strength, high=1 + strength))
    return _contrast(x, x.mean((1, 2, 3), keepdim=True), draw.uniform(low=1 - strength, high=1 + strength))


def translate(images: Tensor, draw: Draw, share: float = 1 / 8) -> Tensor:
    """Shift each image by up to `share` of its side, with reflected borders; whole pixels."""
    size = images.shape[3]
    reach = max(1, round(size * share))
    padded = F.pad(images, (reach,) * 4, mode="reflect")
    offsets = draw.integers(2 * reach + 1, 2)
    window = torch.arange(size, device=images.device)
    rows = (offsets[:, :1] + window)[:, None, :, None]
    columns = (offsets[:, 1:] + window)[:, None, None, :]
    batch = torch.arange(len(images), device=images.device)[:, None, None, None]
    channel = torch.arange(images.shape[1], device=images.device)[None, :, None, None]
    return padded[batch, channel, rows, columns]
