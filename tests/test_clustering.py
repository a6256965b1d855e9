"""k-means against a slow Lloyd in float64, matching against enumeration."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from decoupe import clustering
from decoupe.clustering import hungarian, kmeans, many_to_one, means, nearest, spread, two_means
from decoupe.errors import Fault


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blobs(n: int, k: int, seed: int, spread: float = 0.3) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(k, 3)) * 3
    return torch.from_numpy((centres[rng.integers(k, size=n)] + rng.normal(size=(n, 3)) * spread).astype(np.float32))


def slow_lloyd(x: np.ndarray, centres: np.ndarray, iterations: int) -> np.ndarray:
    for _ in range(iterations):
        assign = np.array([min(range(len(centres)), key=lambda k: float(((row - centres[k]) ** 2).sum())) for row in x])
        centres = np.array([x[assign == k].mean(0) for k in range(len(centres))])
    return centres


@pytest.mark.parametrize("seed", range(3))
def test_kmeans_is_lloyds_from_the_same_start(seed: int) -> None:
    x = blobs(200, 4, seed, spread=1.0)
    start = spread(x - x.double().mean(0).float(), 4, generator(seed)) + x.double().mean(0).float()
    expected = slow_lloyd(x.double().numpy(), start.double().numpy(), 30)
    centres, assign = kmeans(x, 4, generator(seed))
    np.testing.assert_allclose(centres.numpy(), expected, atol=1e-4)
    assert torch.equal(assign, nearest(x, centres)[0])


def test_kmeans_is_deterministic_and_does_not_touch_its_input() -> None:
    x = blobs(300, 5, 0)
    kept = x.clone()
    a, b = kmeans(x, 5, generator(7)), kmeans(x, 5, generator(7))
    assert torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) and torch.equal(x, kept)


def test_kmeans_survives_a_large_offset() -> None:
    x = blobs(300, 3, 1)
    assert torch.equal(kmeans(x, 3, generator())[1], kmeans(x + 256, 3, generator())[1])


def test_empty_clusters_are_reseeded_at_the_farthest_rows() -> None:
    x = torch.tensor([[0.0], [1.0], [10.0], [30.0]])
    centres = means(x, torch.zeros(4, dtype=torch.int64), torch.tensor([0.0, 1.0, 100.0, 900.0]), 3)
    assert centres[:, 0].tolist() == [10.25, 30.0, 10.0]


def test_kmeans_of_equal_rows_and_of_too_few() -> None:
    centres, assign = kmeans(torch.ones(5, 2), 3, generator())
    assert torch.equal(centres, torch.ones(3, 2)) and assign.max() == 0
    with pytest.raises(Fault, match="lower k"):
        kmeans(torch.ones(2, 2), 3, generator())


def test_nearest_does_not_depend_on_the_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    x, centres = blobs(101, 3, 2), blobs(4, 3, 3)
    whole = nearest(x, centres)
    monkeypatch.setattr(clustering, "CHUNK", 40)
    parts = nearest(x, centres)
    assert torch.equal(whole[0], parts[0])
    torch.testing.assert_close(whole[1], parts[1])
    brute = ((x[:, None].double() - centres[None].double()) ** 2).sum(2)
    assert torch.equal(whole[0], brute.argmin(1))
    torch.testing.assert_close(whole[1], brute.min(1).values.float(), atol=1e-4, rtol=1e-4)


def test_first_centres_prefer_far_rows() -> None:
    x = torch.cat([torch.zeros(1000, 1), torch.full((1, 1), 100.0)])
    hits = sum(bool((spread(x, 2, generator(seed)) == 100).any()) for seed in range(50))
    assert hits == 50  # by chance alone it would be 0.1


def test_two_means_reaches_the_best_cut_of_a_line() -> None:
    rng = np.random.default_rng(0)
    x = torch.from_numpy(np.concatenate([rng.normal(0, 1, (6, 40)), rng.normal(8, 1, (6, 15))], 1).astype(np.float32))
    labels = two_means(x[:, :, None])
    for row, side in zip(x, labels, strict=True):
        best = min(
            (float(lo.var(correction=0) * len(lo) + hi.var(correction=0) * len(hi)), float(cut))
            for cut in row.sort().values[:-1]
            for lo, hi in [(row[row <= cut], row[row > cut])]
        )
        parts = [row[side == s] for s in (0, 1)]
        assert sum(float(p.var(correction=0) * len(p)) for p in parts) == pytest.approx(best[0], rel=1e-4)


def test_two_means_of_a_batch_is_that_of_each_and_of_constants_is_zero() -> None:
    x = torch.stack([blobs(80, 2, s) for s in range(4)] + [torch.full((80, 3), 0.5)])
    together = two_means(x)
    assert together[-1].max() == 0
    for row, alone in zip(together[:-1], x[:-1], strict=True):
        assert torch.equal(row, two_means(alone[None])[0])
        assert 0 < row.float().mean() < 1


@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_hungarian_is_the_best_of_all_one_to_one_choices(k: int, c: int, seed: int) -> None:
    confusion = np.random.default_rng(seed).integers(0, 20, (k, c))
    classes = hungarian(confusion)
    used = classes[classes >= 0]
    assert len(used) == len(set(used.tolist())) == min(k, c)
    got = sum(confusion[i, j] for i, j in enumerate(classes) if j >= 0)
    if k <= c:
        best = max(sum(confusion[i, j] for i, j in enumerate(p)) for p in permutations(range(c), k))
    else:
        best = max(sum(confusion[i, j] for j, i in enumerate(p)) for p in permutations(range(k), c))
    assert got == best


@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_many_to_one_is_the_best_of_all_maps(k: int, c: int, seed: int) -> None:
    confusion = np.random.default_rng(seed).integers(0, 20, (k, c))
    got = sum(confusion[i, j] for i, j in enumerate(many_to_one(confusion)) if j >= 0)
    assert got == max(sum(confusion[i, j] for i, j in enumerate(p)) for p in product(range(c), repeat=k))


def test_a_cluster_without_pixels_has_no_class() -> None:
    assert many_to_one(np.array([[0, 0], [1, 3]])).tolist() == [-1, 1]
