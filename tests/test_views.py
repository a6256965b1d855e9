"""Views, jitter and shifts: for any size and any number of bands."""

from __future__ import annotations

import torch

from decoupe.methods.room import Draw
from decoupe.views import colour_jitter, translate, view


def test_augmentations_keep_shape_and_whole_pixels() -> None:
    draw, images = Draw(1, 4), torch.rand(4, 5, 33, 33) * 2 - 1
    assert view(images, draw, 1.3).shape == images.shape
    assert torch.allclose(colour_jitter(images, Draw(1, 4), 0.0), images, atol=1e-6)
    moved = translate(images, draw)
    assert set(moved.flatten().tolist()) <= set(images.flatten().tolist())
