"""Material of composites that the trained generator invents: unlimited things, none of them cut out of the image."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from decoupe.methods.independence.cluster.layout import pad_and_crop
from decoupe.methods.independence.cluster.networks import SIDE, Generator
from decoupe.methods.independence.cluster.sprites import THING, WINDOW, Material, paint_over
from decoupe.methods.independence.config import Config
from decoupe.types import Image

MANY = 256
"""Things drawn from the generator."""
SOLID = 0.5
"""A pixel belongs to a thing where its mask is above this."""


@torch.no_grad()
def invented(generator: Generator, image: Image, config: Config, size: int) -> Material:
    """Things of the generator at the working scale, on the darkest parts of the image (there is no other ground)."""
    device = next(generator.parameters()).device
    z = torch.randn(MANY, config.latent, generator=torch.Generator().manual_seed(size)).to(device)
    made = generator(z).cpu()
    side = max(8, round(THING * config.patch))
    small = torch.nn.functional.interpolate(made, (side, side), mode="bilinear", antialias=True)
    centred = _centred(small.numpy())
    sprites = np.concatenate([centred[:, :-1] * 2 - 1, centred[:, -1:]], 1).astype(np.float32)
    areas = (sprites[:, -1] > SOLID).sum((1, 2))
    weights = (areas > 12).astype(np.float64) + 1e-9
    unit = np.moveaxis(image, 2, 0).astype(np.float32) / 127.5 - 1
    bright = unit.mean(0)
    ground = paint_over(unit, bright <= np.quantile(bright, 0.1))
    everywhere = np.where(bright <= np.quantile(bright, 0.1), 0.3, 0.9).astype(np.float32)
    return Material(sprites, weights / weights.sum(), ground, everywhere)


def _centred(layers: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, C + 1, s, s) -> (N, C + 1, WINDOW, WINDOW), each mask's centroid in the middle."""
    side = layers.shape[2]
    wide = np.zeros((*layers.shape[:2], max(WINDOW, side), max(WINDOW, side)), np.float32)
    start = (wide.shape[2] - side) // 2
    wide[:, :, start : start + side, start : start + side] = layers
    half = wide.shape[2] // 2
    places = np.empty((len(wide), 2), np.int64)
    for row, layer in enumerate(wide):
        middle = ndimage.center_of_mass(layer[-1] > SOLID) if (layer[-1] > SOLID).any() else (half, half)
        places[row] = np.round(np.array(middle)).astype(np.int64)
    moved = pad_and_crop(torch.from_numpy(wide), half, torch.from_numpy(places)).numpy()
    inner = (moved.shape[2] - WINDOW) // 2
    return np.asarray(moved[:, :, inner : inner + WINDOW, inner : inner + WINDOW])


__all__ = ["MANY", "SIDE", "invented"]
