"""The equations against loops over floats in float64, and their gradients by finite differences."""

from __future__ import annotations

import math

import pytest
import torch

from decoupe.compositing import composite, warp
from decoupe.methods.independence import losses


def _numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_equation_6_as_printed_and_its_other_forms() -> None:
    real, fake = _numbers(4, 1, 2, 2), _numbers(4, 1, 2, 2, seed=1)
    r, f = real.flatten().tolist(), fake.flatten().tolist()
    printed = sum(math.log(_sigmoid(x)) for x in r) / 16 + sum(math.log(1 - _sigmoid(x)) for x in f) / 16
    assert float(losses.discriminator_paper(real, fake)) == pytest.approx(printed, rel=1e-12)
    usual = -sum(math.log(_sigmoid(x)) for x in r) / 16 - sum(math.log(1 - _sigmoid(x)) for x in f) / 16
    assert float(losses.discriminator_nonsaturating(real, fake)) == pytest.approx(usual, rel=1e-12)
    hinge = sum(max(0, 1 - x) for x in r) / 16 + sum(max(0, 1 + x) for x in f) / 16
    assert float(losses.discriminator_hinge(real, fake)) == pytest.approx(hinge, rel=1e-12)


def test_equation_7_as_printed_and_its_other_forms() -> None:
    fake = _numbers(5, 1, 3, 3)
    f = fake.flatten().tolist()
    assert float(losses.generator_paper(fake)) == pytest.approx(sum(math.log(_sigmoid(x)) for x in f) / 45, rel=1e-12)
    assert float(losses.generator_nonsaturating(fake)) == pytest.approx(
        -sum(math.log(_sigmoid(x)) for x in f) / 45, rel=1e-12
    )
    assert float(losses.generator_hinge(fake)) == pytest.approx(-sum(f) / 45, rel=1e-12)


@pytest.mark.parametrize("form", losses.GENERATOR)
def test_fooling_the_discriminator_lowers_the_generators_loss(form: str) -> None:
    real, fake = _numbers(8, 1, 2, 2), _numbers(8, 1, 2, 2, seed=3).requires_grad_()
    losses.DISCRIMINATOR[form](real, fake).backward()
    assert fake.grad is not None
    better_for_d = fake.detach() - 0.1 * fake.grad
    assert losses.GENERATOR[form](better_for_d) > losses.GENERATOR[form](fake.detach())


def test_area_penalty_is_the_printed_formula() -> None:
    masks = torch.rand(3, 1, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    expected = sum((sum(m.flatten().tolist()) / 20 - 0.25) ** 2 for m in masks) / 3
    assert float(losses.area_penalty(masks, 0.25)) == pytest.approx(expected, rel=1e-12)


def test_margins_and_one_side() -> None:
    small, right, large = (torch.full((1, 1, 4, 4), v, dtype=torch.float64) for v in (0.1, 0.3, 0.6))
    assert float(losses.area_penalty(right, 0.25, margin=0.06)) == 0
    assert float(losses.area_penalty(large, 0.25, margin=0.05)) == pytest.approx(0.3**2)
    assert float(losses.area_penalty(small, 0.25, one_sided=True)) == 0
    assert float(losses.area_penalty(large, 0.25, one_sided=True)) == pytest.approx(0.35**2)
    mean = torch.cat([small, large]).mean()
    assert float(losses.batch_area_penalty(mean, 0.25)) == pytest.approx(0.1**2)


@pytest.mark.parametrize(
    "loss",
    [
        losses.generator_paper,
        losses.generator_nonsaturating,
        lambda x: losses.area_penalty(x.sigmoid(), 0.25, 0.05),
        lambda x: losses.discriminator_paper(x, x.flip(0)),
    ],
)
def test_gradients_by_finite_differences(loss: object) -> None:
    assert torch.autograd.gradcheck(loss, _numbers(3, 1, 2, 2).requires_grad_())


def test_equation_5_by_hand_and_where_its_gradient_goes() -> None:
    images = [_numbers(1, 3, 2, 2, seed=s).requires_grad_() for s in range(3)]
    masks = [torch.rand(1, 1, 2, 2, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    start = torch.zeros(1, 3, 2, 2, dtype=torch.float64)
    result = composite(list(zip(images, masks, strict=True)), start)
    for c in range(3):
        for y in range(2):
            for x in range(2):
                value = 0.0
                for image, mask in zip(images, masks, strict=True):
                    m = float(mask[0, 0, y, x].detach())
                    value = float(image[0, c, y, x].detach()) * m + value * (1 - m)
                assert float(result[0, c, y, x].detach()) == pytest.approx(value, rel=1e-12)
    result.sum().backward()
    for i, image in enumerate(images):  # each layer gets exactly its own transmittance
        through = masks[i].detach().clone()
        for mask in masks[i + 1 :]:
            through = through * (1 - mask.detach())
        assert image.grad is not None and torch.allclose(image.grad, through.expand_as(image))


def test_equation_4_moves_pixels_where_it_says() -> None:
    layer = torch.zeros(1, 1, 8, 8)
    layer[0, 0, 2, 3] = 1
    still = warp(layer, torch.ones(1), torch.zeros(1, 2), torch.tensor([False]), "zeros")
    assert torch.allclose(still, layer, atol=1e-6)
    moved = warp(layer, torch.ones(1), torch.tensor([[0.5, 0.25]]), torch.tensor([False]), "zeros")
    assert float(moved[0, 0, 3, 5]) == pytest.approx(1, abs=1e-5)  # half a half-side = 2 px right, 1 px down
    mirrored = warp(layer, torch.ones(1), torch.zeros(1, 2), torch.tensor([True]), "zeros")
    assert torch.allclose(mirrored, layer.flip(3), atol=1e-5)
    twice = warp(torch.ones(1, 1, 8, 8), torch.full((1,), 0.5), torch.zeros(1, 2), torch.tensor([False]), "zeros")
    assert float(twice.sum()) == pytest.approx(16, rel=0.3)
