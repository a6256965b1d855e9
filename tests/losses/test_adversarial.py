"""Both games against loops over floats in float64, and who pulls where."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from decoupe.losses import adversarial
from decoupe.methods.independence import losses as independence
from decoupe.methods.redraw import losses as redraw

GAMES = {
    "nonsaturating": (adversarial.discriminator_nonsaturating, adversarial.generator_nonsaturating),
    "hinge": (adversarial.discriminator_hinge, adversarial.generator_hinge),
}


def _scores(*shape: int, seed: int) -> Tensor:
    return 2 * torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_each_objective_is_its_formula() -> None:
    real, fake = _scores(3, 1, 2, 2, seed=0), _scores(5, 1, 3, 3, seed=1)
    r, f = real.flatten().tolist(), fake.flatten().tolist()
    p_r, p_f = ([1 / (1 + math.exp(-x)) for x in scores] for scores in (r, f))
    entropy = -sum(map(math.log, p_r)) / 12 - sum(math.log(1 - p) for p in p_f) / 45
    assert float(adversarial.discriminator_nonsaturating(real, fake)) == pytest.approx(entropy, rel=1e-12)
    assert float(adversarial.generator_nonsaturating(fake)) == pytest.approx(-sum(map(math.log, p_f)) / 45, rel=1e-12)
    hinge = sum(max(0.0, 1 - x) for x in r) / 12 + sum(max(0.0, 1 + x) for x in f) / 45
    assert float(adversarial.discriminator_hinge(real, fake)) == pytest.approx(hinge, rel=1e-12)
    assert float(adversarial.generator_hinge(fake)) == pytest.approx(-sum(f) / 45, rel=1e-12)


@pytest.mark.parametrize("name", GAMES)
def test_the_two_pull_in_opposite_directions(name: str) -> None:
    discriminator, generator = GAMES[name]
    real, fake = _scores(8, seed=2).requires_grad_(), (0.3 * _scores(8, seed=3)).requires_grad_()
    discriminator(real, fake).backward()
    assert real.grad is not None and fake.grad is not None
    assert bool((real.grad <= 0).all()) and bool((fake.grad >= 0).all()), "D raises real scores and lowers fake ones"
    assert generator(fake.detach() + 0.1) < generator(fake.detach()), "G raises fake ones"


@pytest.mark.parametrize("name", GAMES)
def test_scores_far_out_stay_finite(name: str) -> None:
    far = torch.tensor([-1e4, 1e4], requires_grad=True)
    discriminator, generator = GAMES[name]
    value = discriminator(far, far) + generator(far)
    value.backward()
    assert far.grad is not None and bool(torch.isfinite(far.grad).all()) and bool(torch.isfinite(value))


def test_the_rooms_use_these_and_not_their_own() -> None:
    for room in (independence, redraw):
        assert room.discriminator_hinge is adversarial.discriminator_hinge
        assert room.generator_hinge is adversarial.generator_hinge
