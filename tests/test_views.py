"""Views, jitter and shifts: for any size and any number of bands."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from decoupe.compositing import warp
from decoupe.methods.room import Draw
from decoupe.views import colour_jitter, translate, view


def test_augmentations_keep_shape_and_whole_pixels() -> None:
    draw, images = Draw(1, 4), torch.rand(4, 5, 33, 33) * 2 - 1
    assert view(images, draw, 1.3).shape == images.shape
    assert torch.allclose(colour_jitter(images, Draw(1, 4), 0.0), images, atol=1e-6)
    moved = translate(images, draw)
    assert set(moved.flatten().tolist()) <= set(images.flatten().tolist())


def test_jitter_is_brightness_then_saturation_then_contrast() -> None:
    images, strength = torch.rand(4, 3, 16, 20) * 2 - 1, 0.4
    draw = Draw(7, 4)

    def drawn(low: float, high: float) -> Tensor:
        return draw.uniform(low=low, high=high)[:, None, None, None]

    x = images + drawn(-strength, strength)
    for axes in ((1,), (1, 2, 3)):
        about = x.mean(axes, keepdim=True)
        x = (x - about) * drawn(1 - strength, 1 + strength) + about
    torch.testing.assert_close(colour_jitter(images, Draw(7, 4), strength), x, rtol=0, atol=1e-6)


def test_a_warp_is_the_affine_map_of_its_scale_shift_and_flip() -> None:
    layers, draw = torch.rand(5, 2, 12, 15), Draw(3, 5)
    scale, shift, flip = draw.uniform(low=0.7, high=1.6), draw.uniform(2, low=-0.4, high=0.4), draw.uniform() < 0.5
    theta = torch.zeros(5, 2, 3)
    for one, (s, (x, y), mirrored) in enumerate(zip(scale, shift, flip, strict=True)):
        sign = -1.0 if mirrored else 1.0
        theta[one] = torch.tensor([[sign / s, 0, -x * sign / s], [0, 1 / s, -y / s]])
    grid = F.affine_grid(theta, list(layers.shape), align_corners=False)
    for padding in ("zeros", "reflection", "border"):
        expected = F.grid_sample(layers, grid, mode="bilinear", padding_mode=padding, align_corners=False)
        found = warp(layers, scale, shift, flip, padding)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
