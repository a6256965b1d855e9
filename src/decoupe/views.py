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


def colour_jitter(images: Tensor, draw: Draw, strength: float) -> Tensor:
    """Random brightness (+- strength), saturation and contrast (factor 1 +- strength) for any number of bands.

    With brightness b, saturation s and contrast c, the grey g of a pixel and the grey m of its image:
    first x' = (x - g) s + g + b, then (x' - m - b) c + m + b, here in one pass.
    """
    brightness = draw.uniform(low=-strength, high=strength)[:, None, None, None]
    saturation, contrast = (draw.uniform(low=1 - strength, high=1 + strength)[:, None, None, None] for _ in range(2))
    grey = images.mean(1, keepdim=True)
    whole = grey.mean((2, 3), keepdim=True)
    same = grey * (contrast * (1 - saturation)) + (brightness + whole * (1 - contrast))
    return torch.addcmul(same, images, saturation * contrast)


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
