"""The discriminators' shapes and norms, and the layout."""

from __future__ import annotations

import pytest
import torch

from decoupe.methods.independence.networks import PatchDiscriminator, PooledDiscriminator
from decoupe.methods.independence.providers import Instance, lay_out
from decoupe.methods.room import Draw


def test_the_papers_discriminator_has_the_papers_shapes() -> None:
    discriminator = PatchDiscriminator(3, 128)
    assert discriminator(torch.randn(1, 3, 128, 128)).shape == (1, 1, 8, 8)
    widths = [m.weight.shape[0] for m in discriminator.body if hasattr(m, "weight")]
    assert widths == [64, 128, 256, 256, 256, 1]


def test_the_spectral_norm_of_every_layer_goes_to_one() -> None:
    torch.manual_seed(0)
    discriminator = PooledDiscriminator(3, 32, (1, 2), 8)
    for _ in range(200):
        discriminator(torch.randn(2, 3, 32, 32))
    for layer in discriminator.modules():
        if hasattr(layer, "normalised"):
            norm = torch.linalg.matrix_norm(layer.normalised().detach().flatten(1), 2)
            assert float(norm) == pytest.approx(1, abs=0.02)


def test_layout_moves_colour_and_mask_together_and_brings_nothing_in() -> None:
    mask = torch.zeros(8, 1, 32, 32)
    mask[..., 10:20, 10:20] = 1
    moved = lay_out(Instance(mask * 2 - 1, mask), Draw(3, 8), 0.5)
    assert torch.allclose((moved.image + 1) / 2, moved.mask, atol=1e-5)
    full = lay_out(Instance(torch.ones(8, 1, 32, 32), torch.ones(8, 1, 32, 32)), Draw(4, 8), 0.5)
    assert float(full.mask.mean()) < 0.95
    assert lay_out(Instance(mask, mask), Draw(3, 8), 0).mask is mask
