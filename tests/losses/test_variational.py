"""Every term against float64 Monte-Carlo or enumeration; bounds and products against a linear-Gaussian toy."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, MultivariateNormal, Normal

from decoupe.losses.variational import (
    Gaussian,
    free_bits,
    gaussian_likelihood,
    importance_weighted,
    kl,
    log_density,
    logistic_likelihood,
    mask_likelihood,
    product_of_experts,
    reparameterise,
    standard,
    tags_likelihood,
)

DRAWS = 200_000


def _random(*shape: int, seed: int, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def _gaussian(batch: int, size: int, seed: int) -> Gaussian:
    return Gaussian(_random(batch, size, seed=seed), _random(batch, size, seed=seed + 1, scale=0.7))


def _torch(q: Gaussian) -> Independent:
    return Independent(Normal(q.mean, (0.5 * q.log_variance).exp()), 1)


# ------------------------------------------------------------------ equations 4 and 6


def test_reparameterised_draws_have_the_mean_and_variance_of_q() -> None:
    q = _gaussian(3, 2, 0)
    z = reparameterise(q, _random(DRAWS, 3, 2, seed=5))
    error = (q.log_variance.exp() / DRAWS).sqrt()
    assert bool(((z.mean(0) - q.mean).abs() < 5 * error).all())
    assert torch.allclose(z.var(0), q.log_variance.exp(), rtol=0.02)


def test_gradients_through_a_draw_are_those_of_the_expectation() -> None:
    """d/dmu E z^2 = 2 mu and d/dlog var E z^2 = var."""
    mean = torch.tensor([[0.7]], dtype=torch.float64, requires_grad=True)
    log_variance = torch.tensor([[-0.4]], dtype=torch.float64, requires_grad=True)
    z = reparameterise(Gaussian(mean, log_variance), _random(DRAWS, 1, 1, seed=6))
    by_mean, by_variance = torch.autograd.grad(z.square().mean(), (mean, log_variance))
    assert float(by_mean) == pytest.approx(1.4, abs=0.02)
    assert float(by_variance) == pytest.approx(math.exp(-0.4), rel=0.02)


def test_log_density_is_that_of_torch() -> None:
    q, z = _gaussian(3, 4, 7), _random(6, 3, 4, seed=9)
    assert torch.allclose(log_density(z, q), _torch(q).log_prob(z), rtol=1e-12)
    maps = Gaussian(q.mean.view(3, 1, 2, 2), q.log_variance.view(3, 1, 2, 2))
    assert torch.allclose(log_density(z.view(6, 3, 1, 2, 2), maps), log_density(z, q), rtol=1e-12)


@pytest.mark.parametrize("against_standard", [True, False])
def test_closed_form_kl_equals_monte_carlo(against_standard: bool) -> None:
    q = _gaussian(2, 3, 11)
    p = standard(q) if against_standard else _gaussian(2, 3, 21)
    z = reparameterise(q, _random(DRAWS, 2, 3, seed=12))
    each = log_density(z, q) - log_density(z, p)
    error = each.std(0) / DRAWS**0.5
    found = kl(q, None if against_standard else p)
    assert found.shape == (2, 3)
    assert bool(((each.mean(0) - found.sum(1)).abs() < 5 * error).all())
    assert torch.allclose(kl(q, q), torch.zeros(2, 3, dtype=torch.float64), atol=1e-12)


def test_free_bits_press_only_dimensions_above_them() -> None:
    spent = torch.tensor([0.1, 0.5, 2.0], dtype=torch.float64, requires_grad=True)
    total = free_bits(spent, 0.5)
    (gradient,) = torch.autograd.grad(total, spent)
    assert float(total.detach()) == 3.0 and gradient.tolist()[::2] == [0.0, 1.0]
    assert float(free_bits(spent.detach(), 0.0)) == pytest.approx(2.6)


# ------------------------------------------------------------------ likelihoods


def test_mask_likelihood_is_the_sum_of_log_shares_without_void() -> None:
    logits = _random(2, 4, 3, 5, seed=31, scale=2)
    labels = torch.randint(0, 4, (2, 3, 5), generator=torch.Generator().manual_seed(1))
    labels[0, 0, :2] = 255
    slow = [0.0, 0.0]
    for b in range(2):
        for y in range(3):
            for x in range(5):
                k = int(labels[b, y, x])
                if k != 255:
                    shares = [math.exp(v) for v in logits[b, :, y, x].tolist()]
                    slow[b] += math.log(shares[k] / sum(shares))
    assert mask_likelihood(logits, labels).tolist() == pytest.approx(slow, rel=1e-12)


def test_tags_likelihood_is_bernoulli_and_leaves_out_unknown_tags() -> None:
    logits = _random(2, 3, seed=33, scale=2)
    tags = torch.tensor([[1.0, 0.0, math.nan], [0.0, 1.0, 1.0]], dtype=torch.float64)
    slow = []
    for row, known in zip(logits.tolist(), tags.tolist(), strict=True):
        shares = [1 / (1 + math.exp(-v)) for v in row]
        slow.append(sum(math.log(p if t else 1 - p) for p, t in zip(shares, known, strict=True) if not math.isnan(t)))
    assert tags_likelihood(logits, tags).tolist() == pytest.approx(slow, rel=1e-12)


def test_gaussian_likelihood_is_that_of_torch() -> None:
    mean, images, log_scale = _random(2, 3, 4, 4, seed=35), _random(2, 3, 4, 4, seed=36), _random(3, seed=37)
    expected = Normal(mean, log_scale.exp()[:, None, None]).log_prob(images).sum((1, 2, 3))
    assert torch.allclose(gaussian_likelihood(mean, images, log_scale), expected, rtol=1e-12)


def test_logistic_likelihood_is_a_distribution_over_the_256_levels() -> None:
    """It sums to 1, and each level has the share of a logistic that falls nearest to it, by drawing."""
    levels = (torch.arange(256, dtype=torch.float64) / 127.5 - 1).view(256, 1, 1, 1)
    for mean, log_scale in ((0.3, -2.5), (-0.98, -4.0), (0.0, 1.0)):
        where = torch.full((256, 1, 1, 1), mean, dtype=torch.float64)
        shares = logistic_likelihood(where, levels, torch.tensor([log_scale], dtype=torch.float64)).exp()
        assert float(shares.sum()) == pytest.approx(1, abs=1e-9)
        u = torch.rand(DRAWS, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
        drawn = mean + math.exp(log_scale) * (u.log() - (-u).log1p())
        nearest = ((drawn + 1) * 127.5).round().clamp(0, 255).long()
        counted = torch.bincount(nearest, minlength=256) / DRAWS
        assert bool(((counted - shares).abs() < 5 * (shares / DRAWS).sqrt() + 1e-5).all())


def test_logistic_likelihood_stays_finite_far_from_the_mean() -> None:
    images = torch.tensor([-1.0, -0.5, 0.5, 1.0]).view(4, 1, 1, 1)
    mean = torch.full((4, 1, 1, 1), 0.9, requires_grad=True)
    found = logistic_likelihood(mean, images, torch.tensor([-6.0]))
    found.sum().backward()
    assert bool(found.isfinite().all()) and mean.grad is not None and bool(mean.grad.isfinite().all())


# ------------------------------------------------------------------ a toy whose posterior is known


class Toy:
    """z ~ N(0, I); x_m = W_m z + N(0, s_m^2), the columns of each W_m orthogonal: every posterior is diagonal."""

    def __init__(self) -> None:
        self.scales = (0.8, 1.3)
        self.maps = []
        for seed in (41, 42):
            basis, _ = torch.linalg.qr(_random(4, 3, seed=seed))
            self.maps.append(basis * torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64))
        z = _random(1, 3, seed=43)
        parts = zip(self.maps, self.scales, strict=True)
        self.x = [z @ w.T + s * _random(1, 4, seed=44 + i) for i, (w, s) in enumerate(parts)]

    def expert(self, m: int) -> Gaussian:
        """p(x_m | z) as a function of z: N(mean, 1 / precision), without the prior."""
        w, s = self.maps[m], self.scales[m]
        precision = w.square().sum(0) / s**2
        return Gaussian(self.x[m] @ w / s**2 / precision, -precision.log()[None])

    def posterior(self, observed: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Mean and covariance by the rule for linear Gaussians, dense matrices."""
        precision = torch.eye(3, dtype=torch.float64)
        pull = torch.zeros(3, dtype=torch.float64)
        for m in observed:
            precision = precision + self.maps[m].T @ self.maps[m] / self.scales[m] ** 2
            pull = pull + self.maps[m].T @ self.x[m][0] / self.scales[m] ** 2
        covariance = torch.linalg.inv(precision)
        return covariance @ pull, covariance

    def log_likelihood(self, z: Tensor) -> Tensor:
        """(K, 1, 3) -> (K, 1): log p(x_0, x_1 | z)."""
        found = [Normal(z @ w.T, s).log_prob(x).sum(-1) for w, s, x in zip(self.maps, self.scales, self.x, strict=True)]
        return found[0] + found[1]

    def evidence(self) -> float:
        """log p(x_0, x_1), by the joint Gaussian of all eight values."""
        w = torch.cat(self.maps)
        noise = torch.cat([torch.full((4,), s**2, dtype=torch.float64) for s in self.scales])
        covariance = w @ w.T + noise.diag()
        return float(
            MultivariateNormal(torch.zeros(8, dtype=torch.float64), covariance).log_prob(torch.cat(self.x, 1))[0]
        )


@pytest.mark.parametrize("observed", [(0,), (1,), (0, 1)])
def test_product_of_experts_is_the_posterior_of_any_subset(observed: tuple[int, ...]) -> None:
    toy = Toy()
    found = product_of_experts([toy.expert(m) for m in observed])
    mean, covariance = toy.posterior(observed)
    assert torch.allclose(found.mean[0], mean, rtol=1e-10)
    assert torch.allclose(found.log_variance[0].exp().diag(), covariance, rtol=1e-10, atol=1e-12)


def test_an_expert_that_is_absent_takes_no_part() -> None:
    toy = Toy()
    both = [Gaussian(e.mean.repeat(2, 1), e.log_variance.repeat(2, 1)) for e in (toy.expert(0), toy.expert(1))]
    found = product_of_experts(both, (None, torch.tensor([1.0, 0.0])))
    for row, observed in ((0, (0, 1)), (1, (0,))):
        assert torch.allclose(found.mean[row], toy.posterior(observed)[0], rtol=1e-10)
    nobody = product_of_experts(both, (torch.zeros(2), torch.zeros(2)))
    assert torch.equal(nobody.mean, torch.zeros_like(nobody.mean)) and float(nobody.log_variance.abs().max()) == 0


def test_the_elbo_is_tight_at_the_posterior_and_below_the_evidence_elsewhere() -> None:
    toy = Toy()
    right = product_of_experts([toy.expert(0), toy.expert(1)])
    wrong = Gaussian(right.mean + 0.4, right.log_variance + 0.5)
    noise = _random(DRAWS, 1, 3, seed=51)

    def elbo(q: Gaussian) -> float:
        return float(toy.log_likelihood(reparameterise(q, noise)).mean() - kl(q).sum())

    assert elbo(right) == pytest.approx(toy.evidence(), abs=0.02)
    gap = float(kl(wrong, right).sum())  # equation 3: evidence = KL[q || posterior] + ELBO
    assert elbo(wrong) == pytest.approx(toy.evidence() - gap, abs=0.03) and gap > 0.2


def test_the_importance_weighted_bound_tightens_with_samples() -> None:
    toy = Toy()
    right = product_of_experts([toy.expert(0), toy.expert(1)])
    q = Gaussian(right.mean + 0.4, right.log_variance + 0.5)
    z = reparameterise(q, _random(40_000, 1, 3, seed=52))
    weights = toy.log_likelihood(z) + log_density(z, standard(q)) - log_density(z, q)
    bounds = [float(importance_weighted(weights.view(k, -1)).mean()) for k in (1, 2, 5, 20, 100)]
    assert all(b > a + 0.005 for a, b in zip(bounds, bounds[1:], strict=False))
    assert bounds[0] == pytest.approx(toy.evidence() - float(kl(q, right).sum()), abs=0.03)
    assert bounds[-1] == pytest.approx(toy.evidence(), abs=0.03)
