"""GrabCut's terms against their definitions, and its results on images whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from decoupe.methods.baselines import grabcut as module
from decoupe.methods.baselines.grabcut import Mixture, contrast, costs, grabcut, learn, rectangle, smoothness, start
from decoupe.methods.baselines.mincut import neighbours


def disc(size: int, bands: int, seed: int, centre: tuple[float, float] = (0.5, 0.5)) -> tuple[np.ndarray, np.ndarray]:
    """A noisy disc of one colour on another (0..255), and its mask."""
    rng = np.random.default_rng(seed)
    y, x = (np.mgrid[:size, :size] + 0.5) / size
    mask = (y - centre[0]) ** 2 + (x - centre[1]) ** 2 < 0.25**2
    colours = np.array([[60.0] * bands, [180.0] * bands]) + rng.normal(size=(2, bands)) * 10
    return np.clip(colours[mask.astype(int)] + rng.normal(size=(size, size, bands)) * 20, 0, 255), mask


def test_costs_are_minus_log_of_weighted_gaussians() -> None:
    z = np.random.default_rng(0).normal(size=(40, 3)) * 30 + 100
    mixture = learn(z, np.arange(40) % 2)
    for k in range(2):
        density = multivariate_normal(mixture.mean[k], np.linalg.inv(mixture.precision[k])).logpdf(z)
        constant = 3 / 2 * np.log(2 * np.pi)
        np.testing.assert_allclose(costs(z, mixture)[:, k], -density - np.log(mixture.weight[k]) - constant)


def test_learn_is_the_moments_and_leaves_out_empty_components() -> None:
    z = np.random.default_rng(1).normal(size=(30, 2)) * 9
    component = np.array([0] * 10 + [3] * 20)
    mixture = learn(z, component)
    assert mixture.weight.tolist() == [1 / 3, 2 / 3]
    np.testing.assert_allclose(mixture.mean[1], z[10:].mean(0))
    sigma = np.cov(z[10:].T, bias=True) + np.eye(2) / 12
    np.testing.assert_allclose(np.linalg.inv(mixture.precision[1]), sigma)
    np.testing.assert_allclose(mixture.log_det[1], np.log(np.linalg.det(sigma)))


def test_contrast_and_smoothness_are_loops() -> None:
    image = np.random.default_rng(2).uniform(0, 255, (3, 4, 3))
    z, pairs = image.reshape(-1, 3), neighbours(3, 4)
    squares = [float(((z[m] - z[n]) ** 2).sum()) for ms, ns, _ in pairs for m, n in zip(ms, ns, strict=True)]
    beta = contrast(z, pairs)
    assert beta == pytest.approx(1 / (2 * np.mean(squares)))
    m, n, distance = pairs[2]
    expected = 50 / np.sqrt(2) * np.exp(-beta * ((z[m[1]] - z[n[1]]) ** 2).sum())
    assert smoothness(z, m, n, distance, beta)[1] == pytest.approx(expected)
    assert contrast(np.ones((12, 3)), pairs) == 0


@pytest.mark.parametrize("bands", [1, 3, 5])
def test_a_disc_is_found(bands: int) -> None:
    image, mask = disc(48, bands, 0)
    got = grabcut(image)
    assert (got & mask).sum() / (got | mask).sum() > 0.9


def test_outside_the_rectangle_stays_background() -> None:
    image, mask = disc(40, 3, 1, centre=(0.4, 0.5))
    got, inside = grabcut(image, margin=0.2), rectangle(40, 40, 0.2)
    assert (mask & ~inside).any() and got.any() and not (got & ~inside).any()
    assert rectangle(10, 20, 0.1).sum() == 8 * 16 and rectangle(10, 10, 0).sum() == 64


def test_each_cut_lowers_the_energy_it_minimises(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every move of Fig. 3 can only lower E: labels minimise it for fixed mixtures and components at their best."""
    image, _ = disc(24, 3, 3)
    z, open_ = image.reshape(-1, 3), rectangle(24, 24, 0.1).ravel()
    cut, fixed = module._graph(z, 24, 24, open_)
    pairs = neighbours(24, 24)
    beta = contrast(z, pairs)

    def whole(alpha: np.ndarray, front: Mixture, back: Mixture) -> float:
        data = np.where(alpha, costs(z, front).min(1), costs(z, back).min(1)).sum()
        links = sum((smoothness(z, m, n, d, beta) * (alpha[m] != alpha[n])).sum() for m, n, d in pairs)
        return float(data + links)

    alpha = open_.copy()
    front, back = start(z[alpha]), start(z[~alpha])
    unary = costs(z[open_], front).min(1) - costs(z[open_], back).min(1)
    before = whole(alpha, front, back)
    alpha[open_] = cut(unary + fixed)
    least = whole(alpha, front, back)
    assert least < before
    rng = np.random.default_rng(0)
    for _ in range(200):  # no flip of a block lowers it further
        other = alpha.reshape(24, 24).copy()
        y, x, s = rng.integers(3, 18), rng.integers(3, 18), rng.integers(1, 4)
        other[y : y + s, x : x + s] ^= True
        assert whole(other.ravel(), front, back) >= least - 1.0  # 1/64 rounding of each term


@pytest.mark.parametrize("image", [np.full((32, 32, 3), 9.0), np.zeros((33, 40, 1)), np.eye(32)[..., None] * 255])
def test_degenerate_images_do_not_fail(image: np.ndarray) -> None:
    got = grabcut(image)
    assert got.shape == image.shape[:2] and got.dtype == np.bool_
    assert np.array_equal(got, grabcut(image))
