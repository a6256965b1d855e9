"""The objectives of `redraw` against slow, obvious float64 references."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.integrate import quad
from torch import Tensor

from decoupe.methods.redraw import losses


def _masks(k: int, batch: int = 3, size: int = 5, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.softmax(2 * torch.randn(batch, k, size, size, generator=generator, dtype=torch.float64), 1)


def test_redrawing_a_region_keeps_every_other_pixel() -> None:
    generator = torch.Generator().manual_seed(0)
    image, made = torch.rand(2, 3, 4, 4, generator=generator), torch.rand(2, 3, 4, 4, generator=generator)
    mask = (torch.rand(2, 1, 4, 4, generator=generator) < 0.5).float()
    found = losses.redraw_region(image, mask, mask * made)
    for b in range(2):
        for y in range(4):
            for x in range(4):
                source = made if mask[b, 0, y, x] else image
                assert torch.equal(found[b, :, y, x], source[b, :, y, x])


def test_redraw_all_sums_the_regions() -> None:
    masks = _masks(3)
    drawn = masks[:, :, None] * torch.arange(1.0, 4.0, dtype=torch.float64)[:, None, None, None]
    wanted = sum(masks[:, i : i + 1] * (i + 1) for i in range(3))
    assert torch.allclose(losses.redraw_all(drawn), torch.as_tensor(wanted))


def test_hinge_losses() -> None:
    real, fake = torch.tensor([2.0, 0.5, -1.0]), torch.tensor([-3.0, 0.0, 2.0])
    by_hand = (0 + 0.5 + 2) / 3 + (0 + 1 + 3) / 3
    assert float(losses.discriminator_hinge(real, fake)) == pytest.approx(by_hand)
    assert float(losses.generator_hinge(fake)) == pytest.approx(1 / 3)


def test_information_is_the_squared_distance() -> None:
    z = torch.randn(4, 7, generator=torch.Generator().manual_seed(0))
    found = z + torch.arange(7.0)
    assert float(losses.information(found, z)) == pytest.approx(sum(i * i for i in range(7)), rel=1e-5)


def test_area_share_is_the_area_for_two_regions_and_half_at_the_even_share() -> None:
    masks = _masks(2)
    assert torch.allclose(losses.area_share(masks), masks.mean((2, 3)).float())
    for k in (2, 3, 7):
        even = torch.full((1, k, 4, 4), 1 / k)
        assert torch.allclose(losses.area_share(even), torch.full((1, k), 0.5), atol=1e-6)
    full = torch.tensor([1.0, 0.0, 0.0])[None, :, None, None].expand(1, 3, 4, 4)
    assert torch.allclose(losses.area_share(full), torch.tensor([[1.0, 0.0, 0.0]]))


def test_mse_and_rectified_mse_by_hand() -> None:
    area = torch.tensor([0.0, 0.1, 0.25, 0.5, 0.9, 1.0])
    assert losses.mse(area).tolist() == pytest.approx([0.25, 0.16, 0.0625, 0.0, 0.16, 0.25])
    rectified = [0.25 - 0.09, 0.16 - 0.09, 0.0, 0.0, 0.16 - 0.09, 0.25 - 0.09]
    assert losses.rectified_mse(area, 0.3).tolist() == pytest.approx(rectified, abs=1e-6)


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 0.5), (2.0, 0.7), (0.5, 1.0)])
def test_squared_concrete_is_a_density(alpha: float, beta: float) -> None:
    """Maddison et al.'s density integrates to one; the printed one (no square) does not."""

    def density(x: float, squared: bool) -> float:
        point = torch.tensor(x, dtype=torch.float64)
        return float(losses.concrete(point, alpha, beta, squared, floor=1e-12))

    def over_logits(logit: float) -> float:
        x = 1 / (1 + math.exp(-logit))
        return density(x, squared=True) * x * (1 - x)

    assert quad(over_logits, -25, 25)[0] == pytest.approx(1, abs=1e-4)
    x = 0.3
    printed = beta * alpha * x ** (-beta - 1) * (1 - x) ** (-beta - 1) / (alpha * x**-beta + (1 - x) ** -beta)
    assert density(x, False) == pytest.approx(printed)


def test_concrete_goes_on_straight_below_its_floor() -> None:
    area = torch.tensor([0.0, 0.002, 0.005, 0.01, 0.0101], dtype=torch.float64, requires_grad=True)
    for squared in (False, True):
        found = losses.concrete(area, squared=squared)
        (slope,) = torch.autograd.grad(found.sum(), area)
        assert torch.allclose(slope[:3], slope[3:4], rtol=1e-6) and float(slope[4] / slope[3]) == pytest.approx(
            1, abs=0.05
        )
        step = (found[3] - found[0]).detach() / 0.01
        assert float(step) == pytest.approx(float(slope[3]), rel=1e-6)


def test_concrete_has_its_minimum_at_one_half_and_stays_finite_at_the_ends() -> None:
    area = torch.linspace(0, 1, 101)
    for squared in (False, True):
        found = losses.concrete(area, squared=squared)
        assert bool(found.isfinite().all()) and int(found.argmin()) == 50
        assert torch.allclose(found, found.flip(0), rtol=1e-4)


@pytest.mark.parametrize("shape", [losses.mse, losses.rectified_mse, losses.concrete])
@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("logit", [-4.0, -6.0, -12.0])
def test_mask_penalty_pushes_an_empty_region_to_grow(shape: losses.Regulariser, k: int, logit: float) -> None:
    logits = torch.zeros(2, k, 4, 4)
    logits[:, 0] = logit
    logits.requires_grad_()
    losses.mask_penalty(torch.softmax(logits, 1), shape).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None and bool((logits.grad[:, 0] < 0).all())
