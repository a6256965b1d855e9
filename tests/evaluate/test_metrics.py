"""Every score against a slow, obvious computation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, precision_score, recall_score

from decoupe.evaluate import metrics
from decoupe.evaluate.metrics import BINS, Confusion, Ranking, bootstrap, bootstrap_difference, match, resample


def images(n: int, regions: int, classes: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Label maps that agree half of the time, with void."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        shape = (int(rng.integers(3, 9)), int(rng.integers(3, 9)))
        truth = rng.integers(classes, size=shape)
        labels = np.where(rng.random(shape) < 0.5, truth % regions, rng.integers(regions, size=shape))
        truth[rng.random(shape) < 0.2] = 255
        found.append((labels, truth))
    return found


def counted(pairs: list[tuple[np.ndarray, np.ndarray]], regions: int, classes: int) -> Confusion:
    confusion = Confusion(regions, classes)
    for labels, truth in pairs:
        confusion.add(labels, truth)
    return confusion


@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_scores_are_those_of_sets_of_pixels(regions: int, classes: int, seed: int) -> None:
    pairs = images(3, regions, classes, seed)
    rng = np.random.default_rng(seed)
    assignment = rng.integers(-1, classes, regions)
    matched = match(counted(pairs, regions, classes).counts, assignment)
    predicted = np.concatenate([assignment[labels][truth != 255] for labels, truth in pairs])
    true = np.concatenate([truth[truth != 255] for _, truth in pairs])
    for c in range(classes):
        both, either = np.sum((predicted == c) & (true == c)), np.sum((predicted == c) | (true == c))
        np.testing.assert_allclose(metrics.iou(matched)[c], both / either if either else np.nan)
        reference = {"labels": [c], "average": "macro", "zero_division": np.nan}
        np.testing.assert_allclose(metrics.precision(matched)[c], precision_score(true, predicted, **reference))
        np.testing.assert_allclose(metrics.recall(matched)[c], recall_score(true, predicted, **reference))
        np.testing.assert_allclose(metrics.f1(matched)[c], f1_score(true, predicted, **reference))
    np.testing.assert_allclose(metrics.accuracy(matched), np.mean(predicted == true))
    present = [metrics.iou(matched)[c] for c in range(classes) if np.any((predicted == c) | (true == c))]
    np.testing.assert_allclose(metrics.miou(matched), np.mean(present) if present else np.nan)


def test_dataset_iou_is_not_the_mean_over_images() -> None:
    big, small = np.zeros((10, 10), int), np.zeros((2, 2), int)
    big[:5] = 1
    small[0] = 1
    confusion = counted([(big, big), (small, 1 - small)], 2, 2)
    assert metrics.iou(match(confusion.counts, np.array([0, 1])))[1] == pytest.approx(50 / 54)


def test_void_only_and_no_images() -> None:
    confusion = counted([(np.zeros((2, 2), int), np.full((2, 2), 255))], 2, 2)
    matched = match(confusion.counts, np.array([0, 1]))
    assert matched.sum() == 0 and np.isnan(metrics.accuracy(matched)) and np.isnan(metrics.miou(matched))
    assert Confusion(2, 3).counts.shape == (2, 3) and np.isnan(bootstrap(np.zeros((0, 3, 2), int), metrics.miou)).all()


def test_leading_axes_are_kept() -> None:
    matched = np.random.default_rng(0).integers(0, 50, (5, 4, 3))
    for score in (metrics.iou, metrics.f1, metrics.miou, metrics.accuracy, metrics.precision, metrics.recall):
        np.testing.assert_array_equal(score(matched), np.stack([score(m) for m in matched]))


@given(st.integers(0, 10_000), st.sampled_from([2, 5, BINS]))
@settings(max_examples=40, deadline=None)
def test_average_precision_is_sklearns(seed: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, (6, 7))
    truth[rng.random(truth.shape) < 0.2] = 255
    truth[0, :2] = 0, 1
    level = np.clip(rng.integers(0, levels, truth.shape) + (truth == 1) * levels // 4, 0, levels - 1)
    score = (level / levels).astype(np.float32)  # exact bin edges: no two levels share a bin
    ranking = Ranking(2, 3)
    probs = np.stack([1 - score, score])
    ranking.add(probs[:, :3], truth[:3])
    ranking.add(probs[:, 3:], truth[3:])
    valid = truth != 255
    assert ranking.ap(1, 1) == pytest.approx(average_precision_score(truth[valid] == 1, score[valid]))


def test_average_precision_of_continuous_scores_is_close_to_sklearns() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, (100, 100))
    score = 1 / (1 + np.exp(-rng.normal(truth * 2 - 1, 1.5)))
    ranking = Ranking(2, 2)
    ranking.add(np.stack([1 - score, score]).astype(np.float32), truth)
    assert ranking.ap(1, 1) == pytest.approx(average_precision_score(truth.ravel(), score.ravel()), abs=1e-3)
    assert np.isnan(Ranking(2, 2).ap(1, 1))


def matched_images(n: int, right: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    hits = rng.binomial(100, np.clip(rng.normal(right, 0.2, n), 0, 1))
    counts = np.zeros((n, 3, 2), dtype=np.int64)
    counts[:, 1, 1], counts[:, 0, 1], counts[:, 0, 0] = hits, 100 - hits, 100
    return counts


def slow_bootstrap(counts: np.ndarray, n: int) -> tuple[float, float]:
    rng = np.random.default_rng(99)
    scores = []
    for _ in range(n):
        chosen = counts[rng.integers(0, len(counts), len(counts))].sum(0)
        scores.append(chosen[1, 1] / (chosen[1].sum() + chosen[:, 1].sum() - chosen[1, 1]))
    return float(np.percentile(scores, 2.5)), float(np.percentile(scores, 97.5))


def test_bootstrap_is_the_loop_and_is_deterministic(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = matched_images(60, 0.7, 0)
    got = bootstrap(counts, lambda m: metrics.iou(m)[:, 1], n=4000)
    np.testing.assert_allclose(got, slow_bootstrap(counts, 4000), atol=0.006)
    assert got == bootstrap(counts, lambda m: metrics.iou(m)[:, 1], n=4000)
    assert got != bootstrap(counts, lambda m: metrics.iou(m)[:, 1], n=4000, seed=1)
    monkeypatch.setattr(metrics, "_CHUNK", 600)
    assert resample(counts, 25, 0).shape == (25, 3, 2)
    assert (resample(counts, 25, 0).sum((1, 2)) == 200 * 60).all()


def test_bootstrap_covers_the_truth_about_95_times_in_100() -> None:
    population = float(metrics.accuracy(matched_images(20_000, 0.7, 123).sum(0)))
    intervals = [bootstrap(matched_images(80, 0.7, s), metrics.accuracy, n=300) for s in range(200)]
    assert 0.89 <= np.mean([low <= population <= high for low, high in intervals]) <= 0.985


def test_paired_difference_is_tighter_than_unpaired() -> None:
    a = matched_images(60, 0.6, 0)
    b = a.copy()
    b[:, 1, 1] -= 2
    b[:, 0, 1] += 2
    low, high = bootstrap_difference(a, b, metrics.accuracy)
    assert low == pytest.approx(0.01) and high == pytest.approx(0.01)
    assert np.diff(bootstrap(a, metrics.accuracy))[0] > 0.03
