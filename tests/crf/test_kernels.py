"""The two kernels against sums over all pairs of pixels in float64."""

from __future__ import annotations

import pytest
import torch

from decoupe.crf import Settings
from decoupe.crf.kernels import Appearance, Axis, Exact, Fast, Smoothness
from decoupe.crf.lattice import Lattice, elevation, enclose, encode, ordered
from tests.crf import reference
from tests.crf.scenes import guess, scene


@pytest.mark.parametrize("sigma", [0.25, 1.0, 3.0, 40.0])
@pytest.mark.parametrize("size", [(1, 23), (17, 1), (19, 26), (41, 70)])
def test_smoothness_is_exact(size: tuple[int, int], sigma: float) -> None:
    """To 2e-6: float32 and the tail beyond five standard deviations."""
    height, width = size
    q = torch.rand(height * width, 3, generator=torch.Generator().manual_seed(1))
    _, expected = reference.kernels(torch.zeros(height, width, 1), Settings(smoothness_sxy=sigma))
    kernel = Smoothness(height, width, sigma, torch.device("cpu"))
    out = torch.zeros_like(q)
    for first in range(0, height, 7):  # in strips, as inference does
        last = min(first + 7, height)
        kernel.add(q, first, last, 2.0, out[first * width : last * width])
    assert (out - 2 * expected @ q.double()).abs().max() < 4e-6


def test_blocks_of_an_axis_are_parts_of_one_symmetric_matrix() -> None:
    axis = Axis(50, 2.0, torch.device("cpu"))
    _, _, whole = axis.block(0, 50)
    low, high, part = axis.block(11, 20)
    assert (low, high) == (1, 30) and torch.equal(part, whole[11:20, 1:30])
    assert torch.allclose(whole, whole.T) and axis.block(11, 20)[2] is part


def test_elevated_points_keep_their_distances_and_lie_on_the_plane() -> None:
    for d in (1, 2, 5, 12):
        matrix = elevation(d)
        scale = (2 / 3) ** 0.5 * (d + 1)
        assert matrix.sum(0).abs().max() < 1e-9
        assert torch.allclose(matrix.T @ matrix, scale**2 * torch.eye(d, dtype=torch.float64))


@pytest.mark.parametrize("d", [1, 2, 5, 9])
def test_every_point_is_the_weighted_mean_of_its_simplex(d: int) -> None:
    points = (elevation(d) @ torch.randn(d, 400, generator=torch.Generator().manual_seed(d)).double() * 3).float()
    base, rank, weights = enclose(points)
    assert weights.min() > -1e-4 and torch.allclose(weights.sum(0), torch.ones(400), atol=1e-4)
    assert torch.equal(rank.sort(0).values, torch.arange(d + 1)[:, None].expand(d + 1, 400))
    mean = torch.zeros_like(points)
    for k in range(d + 1):
        vertex = (d + 1) * base + k - (d + 1) * (rank > d - k)
        assert vertex.sum(0).abs().max() < 1e-3
        mean += weights[k] * vertex
    assert torch.allclose(mean, points, atol=1e-3)


def test_keys_are_exact_or_hashed_and_sorting_agrees() -> None:
    few = torch.randint(-9, 9, (6, 500), generator=torch.Generator().manual_seed(0)).float()
    many = torch.randint(-900, 900, (16, 500), generator=torch.Generator().manual_seed(0)).float()
    for base, exact in ((few, True), (many, False)):
        keys = encode(base)
        assert bool(keys.capacity) is exact and keys.strides[-1] == 0
        distinct = len({tuple(column) for column in base[:-1].T.tolist()})
        assert len(keys.first.unique()) == distinct
        values, index = ordered(keys.first, keys.capacity)
        assert torch.equal(values, keys.first[index]) and bool((values[1:] >= values[:-1]).all())


def test_hashed_keys_give_the_same_lattice(monkeypatch: pytest.MonkeyPatch) -> None:
    features = torch.randn(300, 4, generator=torch.Generator().manual_seed(2)) * 2
    q = torch.rand(300, 2, generator=torch.Generator().manual_seed(3))
    plain = Lattice(features)
    real = encode

    def hashed(base: torch.Tensor) -> object:
        wide = base.clone()
        wide[:-1, 0] += 1e6  # one far point: digits no longer fit
        keys = real(wide)
        assert keys.capacity == 0
        return keys._replace(first=keys.first - (keys.strides[:-1] * 1_000_000).sum() * (torch.arange(300) == 0))

    monkeypatch.setattr("decoupe.crf.lattice.encode", hashed)
    other = Lattice(features)
    assert other.vertices == plain.vertices
    assert torch.allclose(other.filter(q), plain.filter(q), atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("widths", [(80, 13), (67, 3), (6.67, 13)])
def test_appearance_is_near_the_exact_kernel(channels: int, widths: tuple[float, float]) -> None:
    """What the lattice costs: 0.03 of a probability on average, 0.3 at the worst of pixels like no other."""
    image = scene(30, 34, channels)
    settings = Settings(appearance_sxy=widths[0], srgb=widths[1])
    expected, _ = reference.kernels(image, settings)
    q = guess(4, 30, 34).flatten(1).T.contiguous()
    lattice = Appearance(image.float(), settings).lattice
    both = 0.5 * (lattice.filter(q) + lattice.filter(q, backward=True))
    error = (both - expected @ q.double()).abs()
    assert error.max() < 0.3 and error.mean() < 0.03


def test_backward_is_the_transpose() -> None:
    lattice = Appearance(scene(12, 14).float(), Settings(srgb=3)).lattice
    forward, backward = lattice.filter(torch.eye(168)), lattice.filter(torch.eye(168), backward=True)
    assert torch.allclose(forward, backward.T, atol=1e-6) and not torch.allclose(forward, backward, atol=1e-4)


def test_filtering_of_any_slice_of_points_is_that_of_all() -> None:
    lattice = Appearance(scene(20, 20).float(), Settings()).lattice
    q = torch.rand(400, 5, generator=torch.Generator().manual_seed(0))
    vertices = lattice.splat_blur(q)
    assert torch.equal(lattice.slice(vertices, 37, 201), lattice.slice(vertices)[37:201])
    assert torch.equal(vertices[-1], torch.zeros(5))


def test_exact_kernels_agree_whether_kept_or_computed_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    image, settings = scene(15, 18).float(), Settings()
    q = guess(3, 15, 18).flatten(1).T.contiguous()

    def sent(messages: Exact | Fast) -> torch.Tensor:
        out = torch.zeros_like(q)
        for first, last in messages.begin(q, 0):
            messages.add(first, last, out[first:last])
        return out

    kept = sent(Exact(image, settings))
    monkeypatch.setattr("decoupe.crf.kernels.CACHED", 270 * 32)
    blocked = Exact(image, settings)
    assert len(blocked.begin(q, 0)) > 5
    appearance, smoothness = reference.kernels(image, settings)
    expected = (settings.appearance * appearance + settings.smoothness * smoothness) @ q.double()
    assert (kept - expected).abs().max() < 1e-5 and (sent(blocked) - expected).abs().max() < 1e-5
