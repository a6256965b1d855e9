"""The objectives of the room against loops over float64, and its diagnostics against cases whose answer is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from decoupe.losses.variational import Gaussian, kl, log_density, reparameterise, standard
from decoupe.methods.scene_vae.diagnostics import active_units, coverage, gradient_variance
from decoupe.methods.scene_vae.losses import elbo, jmvae, telbo
from decoupe.methods.scene_vae.objective import frozen


def _random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def _gaussian(seed: int) -> Gaussian:
    return Gaussian(_random(3, 2, 1, 1, seed=seed), 0.5 * _random(3, 2, 1, 1, seed=seed + 1))


def test_elbo_is_likelihood_minus_kl_and_equals_monte_carlo() -> None:
    """p(x|z) = N(x; z, 1): E_q log p in closed form, from many draws, and through `elbo` one draw at a time."""
    q, x = _gaussian(0), _random(3, 2, 1, 1, seed=9)
    noise = _random(100_000, 3, 2, 1, 1, seed=4)
    z = reparameterise(q, noise)
    likelihood = log_density(x.expand_as(z), Gaussian(z[0], torch.zeros_like(z[0]))) * 0  # shape (K, B)
    likelihood = -0.5 * ((x - z).square().flatten(2).sum(2) + 2 * math.log(2 * math.pi))
    exact = -0.5 * ((x - q.mean).square() + q.log_variance.exp()).flatten(1).sum(1) - math.log(2 * math.pi)
    expected = float((exact - kl(q).sum(1)).mean())
    drawn = [float(elbo(one[None], at[None], q, None)) for one, at in zip(likelihood[:4000], z[:4000], strict=True)]
    assert sum(drawn) / len(drawn) == pytest.approx(expected, abs=0.06)
    assert float(likelihood.mean() - kl(q).sum(1).mean()) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("weight", [1.0, 0.3])
def test_with_several_samples_it_is_the_importance_weighted_bound(weight: float) -> None:
    q, p = _gaussian(0), _gaussian(20)
    z, likelihood = reparameterise(q, _random(5, 3, 2, 1, 1, seed=4)), _random(5, 3, seed=6)
    for prior in (None, p):
        slow = 0.0
        for image in range(3):
            weights = []
            for k in range(5):
                ratio = log_density(z, standard(q) if prior is None else prior) - log_density(z, q)
                weights.append(math.exp(float(likelihood[k, image] + weight * ratio[k, image])))
            slow += math.log(sum(weights) / 5) / 3
        assert float(elbo(likelihood, z, q, prior, weight)) == pytest.approx(slow, rel=1e-10)


def test_free_bits_act_on_the_mean_over_images() -> None:
    q, likelihood, z = _gaussian(0), _random(1, 3, seed=6), _random(1, 3, 2, 1, 1, seed=7)
    slow = float(likelihood.mean()) - 0.5 * sum(max(float(kl(q)[:, d].mean()), 0.9) for d in range(2))
    assert float(elbo(likelihood, z, q, None, 0.5, 0.9)) == pytest.approx(slow, rel=1e-12)


def test_telbo_is_the_mean_and_jmvae_takes_the_divergences_off() -> None:
    q, one, two = _gaussian(0), _gaussian(10), _gaussian(20)
    assert float(telbo([torch.tensor(1.0), torch.tensor(2.0), torch.tensor(6.0)])) == 3.0
    slow = 5 - 0.1 * float((kl(q, one).sum(1) + kl(q, two).sum(1)).mean())
    assert float(jmvae(torch.tensor(5.0, dtype=torch.float64), q, (one, two), 0.1)) == pytest.approx(slow, rel=1e-12)


# ------------------------------------------------------------------ diagnostics


def test_coverage_is_one_without_holes_and_small_where_posteriors_sit_together() -> None:
    prior = Gaussian(torch.zeros(4, 3, 1, 1), torch.zeros(4, 3, 1, 1))
    assert float(coverage(prior)) == pytest.approx(1, abs=1e-3)
    narrow = Gaussian(torch.full((4, 3, 1, 1), 3.0), torch.full((4, 3, 1, 1), -6.0))
    assert float(coverage(narrow)) < 0.02
    half = Gaussian(torch.tensor([0.0, 3.0]).view(1, 2, 1, 1), torch.tensor([0.0, -6.0]).view(1, 2, 1, 1))
    assert float(coverage(half)) == pytest.approx(0.5, abs=0.02)
    assert float(coverage(narrow, narrow)) == pytest.approx(1, abs=1e-3)
    many = Gaussian(torch.randn(2000, 1, 1, 1, generator=torch.Generator().manual_seed(0)) * 0.9,
                    torch.full((2000, 1, 1, 1), math.log(1 - 0.81)))  # fmt: skip
    assert float(coverage(many)) > 0.95


def test_active_units_are_dimensions_whose_mean_moves() -> None:
    mean = torch.zeros(50, 4, 1, 1)
    mean[:, 0, 0, 0] = torch.linspace(-1, 1, 50)
    mean[:, 1, 0, 0] = torch.linspace(-0.05, 0.05, 50)
    assert float(active_units(mean)) == 0.25


def test_gradient_variance_is_that_over_draws() -> None:
    """d/dw (w e)^2 at w = 1 is 2 e^2: from pairs of draws its variance, 4 Var(e^2) = 8, on average."""
    module = nn.Linear(1, 1, bias=False)
    module.weight.data.fill_(1.0)
    generator = torch.Generator().manual_seed(0)

    def term() -> Tensor:
        return (module.weight * torch.randn(1, generator=generator)).square().sum()

    fixed = module.weight.square().sum()
    found = [gradient_variance({"a": term(), "b": fixed}, {"a": term(), "b": fixed}, module) for _ in range(4000)]
    assert sum(float(one["a"]) for one in found) / len(found) == pytest.approx(8, rel=0.15)
    assert all(float(one["b"]) == 0 for one in found)
    nothing = {"a": torch.zeros((), requires_grad=True) * 1}
    assert float(gradient_variance(nothing, nothing, module)["a"]) == 0


def test_a_frozen_module_hands_gradients_through_and_gets_none() -> None:
    module, z = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)), torch.randn(5, 3, requires_grad=True)
    module[0].bias.requires_grad_(False)
    expected = torch.autograd.grad(module(z).square().sum(), z)[0]
    alone = torch.autograd.grad(module(z.detach()).sum(), module[2].weight)[0]
    both = frozen(module, z).square().sum() + module(z.detach()).sum()  # in one graph with a pass that trains it
    both.backward()  # type: ignore[no-untyped-call]
    assert z.grad is not None and torch.equal(z.grad, expected)
    assert torch.equal(module[2].weight.grad, alone)
    trained = [name for name, parameter in module.named_parameters() if parameter.requires_grad]
    assert trained == ["0.weight", "2.weight", "2.bias"], "what was not trained before is not trained after"
