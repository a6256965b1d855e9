"""Scores from ONE confusion matrix of the whole data set, average precision, and intervals over images.

Every score takes `matched` (..., C + 1, C) counts: predicted class by true class, the last row for pixels of regions
that stand for no class (always wrong). Leading axes are kept, so a bootstrap of 1000 resamples is one call.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from decoupe.types import VOID, Labels, Probabilities

Counts = NDArray[np.int64]
Scores = NDArray[np.float64]
Score = Callable[[Counts], Scores]

BINS = 1024
"""Levels of probability that average precision tells apart."""
_CHUNK = 1 << 24


class Confusion:
    """Region by class pixel counts of every image, and their sum over the data set."""

    def __init__(self, regions: int, classes: int) -> None:
        self._shape = (regions, classes)
        self._rows: list[NDArray[np.uint32]] = []

    def add(self, labels: Labels, truth: Labels) -> None:
        """One image: (H, W) region indices against (H, W) class ids; void pixels count nowhere."""
        regions, classes = self._shape
        valid = truth != VOID
        pairs = labels[valid] * classes + truth[valid]
        self._rows.append(np.bincount(pairs, minlength=regions * classes).astype(np.uint32))

    @property
    def images(self) -> Counts:
        """(N, K, C) int64, one matrix per image in the order they were added."""
        rows = np.array(self._rows, dtype=np.int64).reshape(-1, *self._shape)
        return rows

    @property
    def counts(self) -> Counts:
        """(K, C) int64 of the whole data set."""
        return np.asarray(self.images.sum(0))


class Ranking:
    """How the probabilities of each region are spread over the pixels of each class: (K, C, BINS) counts."""

    def __init__(self, regions: int, classes: int) -> None:
        self.counts = np.zeros((regions, classes, BINS), dtype=np.int64)

    def add(self, probs: Probabilities, truth: Labels) -> None:
        """One image: (K, H, W) probabilities in [0, 1] against (H, W) class ids; void pixels count nowhere."""
        regions, classes, bins = self.counts.shape
        valid = truth != VOID
        base = truth[valid] * bins
        for region in range(regions):
            level = np.minimum((probs[region][valid] * bins).astype(np.int64), bins - 1)
            self.counts[region] += np.bincount(base + level, minlength=classes * bins).reshape(classes, bins)

    def ap(self, region: int, class_: int) -> float:
        """Average precision of the region's probability as a score for the class."""
        positives = self.counts[region, class_]
        return average_precision(positives, self.counts[region].sum(0) - positives)


def average_precision(positives: Counts, negatives: Counts) -> float:
    """AP = sum_t (R_t - R_t-1) P_t over thresholds t from high to low; (T,) counts at each level, ascending.

    Pixels of one level enter together (as ties do). NaN without a positive.
    """
    hits = positives[::-1].cumsum().astype(np.float64)
    total = hits + negatives[::-1].cumsum()
    if hits[-1] == 0:
        return float("nan")
    gained = np.diff(hits, prepend=0.0) / hits[-1]
    return float((gained * hits / np.maximum(total, 1)).sum())


def match(confusion: Counts, classes: NDArray[np.int64]) -> Counts:
    """(..., K, C) region counts and (K,) class of each region (-1 for none) -> (..., C + 1, C)."""
    count = confusion.shape[-1]
    rows = np.zeros((count + 1, len(classes)), dtype=np.int64)
    rows[classes, np.arange(len(classes))] = 1  # -1 is the last row
    return np.asarray(rows @ confusion)


def _parts(matched: Counts) -> tuple[Scores, Scores, Scores]:
    """(..., C) right, predicted and true pixels of each class, float64."""
    own = matched[..., :-1, :].astype(np.float64)
    return np.diagonal(own, axis1=-2, axis2=-1), own.sum(-1), matched.sum(-2).astype(np.float64)


def _ratio(a: Scores, b: Scores) -> Scores:
    """a / b, NaN where b is 0."""
    return np.asarray(np.divide(a, b, out=np.full(np.broadcast(a, b).shape, np.nan), where=b > 0))


def iou(matched: Counts) -> Scores:
    """(..., C) right / (predicted + true - right); NaN for a class that is neither predicted nor true."""
    right, predicted, true = _parts(matched)
    return _ratio(right, predicted + true - right)


def miou(matched: Counts) -> Scores:
    """(...) mean IoU over the classes that are predicted or true."""
    per_class = iou(matched)
    return _ratio(np.nansum(per_class, -1), (~np.isnan(per_class)).sum(-1).astype(np.float64))


def accuracy(matched: Counts) -> Scores:
    """(...) right pixels / all pixels."""
    right, _, true = _parts(matched)
    return _ratio(right.sum(-1), true.sum(-1))


def precision(matched: Counts) -> Scores:
    """(..., C) right / predicted."""
    right, predicted, _ = _parts(matched)
    return _ratio(right, predicted)


def recall(matched: Counts) -> Scores:
    """(..., C) right / true."""
    right, _, true = _parts(matched)
    return _ratio(right, true)


def f1(matched: Counts) -> Scores:
    """(..., C) 2 right / (predicted + true)."""
    right, predicted, true = _parts(matched)
    return _ratio(2 * right, predicted + true)


def resample(images: Counts, n: int, seed: int) -> Counts:
    """(n, ...) sums over N images drawn with replacement, from (N, ...) counts of each. Equal seeds, equal draws."""
    rng = np.random.default_rng(seed)
    flat = images.reshape(len(images), -1).astype(np.float64)  # exact: sums stay below 2^53
    rows = max(1, _CHUNK // max(1, len(images)))
    share = np.full(len(images), 1 / len(images))
    sums = [rng.multinomial(len(images), share, size=min(rows, n - i)) @ flat for i in range(0, n, rows)]
    return np.concatenate(sums).astype(np.int64).reshape(n, *images.shape[1:])


def bootstrap(images: Counts, score: Score, n: int = 1000, seed: int = 0) -> tuple[float, float]:
    """The 95 % interval (2.5 and 97.5 percentiles) of `score` when the images are drawn again with replacement.

    `images` (N, C + 1, C) matched counts of each image; `score` maps (n, C + 1, C) to (n,). NaN without images.
    """
    if not len(images):
        return float("nan"), float("nan")
    return _interval(score(resample(images, n, seed)))


def bootstrap_difference(a: Counts, b: Counts, score: Score, n: int = 1000, seed: int = 0) -> tuple[float, float]:
    """The 95 % interval of score(a) - score(b) over the same images, drawn again in pairs."""
    if not len(a):
        return float("nan"), float("nan")
    return _interval(score(resample(a, n, seed)) - score(resample(b, n, seed)))


def wilson(successes: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a rate by Wilson (1927), of `successes` in `n` trials; (0, 1) without a trial.

    With z = 1.96 and p = successes / n: (p + z^2 / 2n -+ z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n).
    """
    if not 0 <= successes <= n:
        raise ValueError(f"0 <= successes <= n, not {successes} of {n}")
    if n == 0:
        return 0.0, 1.0
    z, p = 1.959963984540054, successes / n
    middle, reach = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = (middle - reach) / (1 + z * z / n), (middle + reach) / (1 + z * z / n)
    return (0.0 if successes == 0 else low), (1.0 if successes == n else high)


def _interval(values: Scores) -> tuple[float, float]:
    values = values[~np.isnan(values)]
    if not len(values):
        return float("nan"), float("nan")
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
