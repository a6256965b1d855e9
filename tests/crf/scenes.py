"""Small photos and uncertain probabilities that follow them loosely."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image as Pillow
from torch import Tensor
from torch.nn.functional import interpolate

CROP = 48


def scene(height: int, width: int, channels: int = 3, seed: int = 0) -> Tensor:
    """(H, W, C) uint8: a disc on a sloping ground, with noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    inside = (y - height * 0.45) ** 2 + (x - width * 0.55) ** 2 < (0.3 * min(height, width)) ** 2
    pixels = np.empty((height, width, channels))
    for band in range(channels):
        pixels[..., band] = 60 + 50 * (x / max(1, width - 1)) + inside * rng.uniform(40, 90)
    return torch.from_numpy((pixels + rng.normal(0, 4, pixels.shape)).clip(0, 255).astype(np.uint8))


def guess(k: int, height: int, width: int, seed: int = 0, sharp: float = 1.5) -> Tensor:
    """(K, H, W) float32 probabilities of coarse random blobs."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(1, k, max(2, height // 12), max(2, width // 12), generator=generator) * sharp
    return interpolate(coarse, size=(height, width), mode="bilinear", align_corners=False)[0].softmax(0)


def photo_paths(shared: Path, n: int) -> list[Path]:
    """`n` real photos, evenly over the folder."""
    paths = sorted((shared / "data" / "VOC2012_animals").rglob("*.jpg"))
    return paths[:: max(1, len(paths) // n)][:n]


def photo(path: Path) -> Tensor:
    """(H, W, 3) uint8."""
    with Pillow.open(path) as file:
        return torch.from_numpy(np.array(file.convert("RGB")))


def crop(image: Tensor) -> Tensor:
    """Its middle 48 x 48 pixels."""
    top, left = (image.shape[0] - CROP) // 2, (image.shape[1] - CROP) // 2
    return image[top : top + CROP, left : left + CROP].contiguous()
