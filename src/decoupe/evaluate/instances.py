"""Scores of instances of one kind: average precision, F1 at IoU 0.5, panoptic quality, error of the count.

Both sides of an image are `Regions`, lists of `Instance`, or label maps (0 background, 1, 2, ... instances; -1 in the
truth is void). What is compared is kept as one small table per image, `Overlap`; all scores are functions of a list
of those.

Void: its pixels are taken out of all instances first. A prediction that has more than half of its pixels in void and
matches no true instance is not counted as wrong; it does not count for the number of things either.

Empty images: an image without true instances has no count error, and no F1 if nothing was predicted; means and
medians leave it out. Sums over the set (`ap`, `f1`, `pq`) take in all images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import linear_sum_assignment

from decoupe.errors import Fault
from decoupe.types import Instance, InstanceMap, Regions

Things = Regions | Sequence[Instance] | InstanceMap
THRESHOLDS = tuple(t / 100 for t in range(50, 100, 5))
"""COCO's: 0.50, 0.55, ..., 0.95."""
RECALLS = np.linspace(0, 1, 101)
"""Recall levels at which COCO reads precision."""


@dataclass(frozen=True)
class Overlap:
    """P predicted against T true instances of one image."""

    iou: NDArray[np.float64]
    """(P, T) intersection over union, void left out."""
    scores: NDArray[np.float64]
    """(P,) confidence; equal for all where predictions have none."""
    in_void: NDArray[np.bool_]
    """(P,) more than half of its pixels are void."""

    def count_pair(self) -> tuple[int, int]:
        """(predicted, true) number of things; predictions in void that match nothing are left out."""
        return len(self.scores) - int(_excused(self, match(self)).sum()), self.iou.shape[1]


def overlap(predicted: Things, truth: Things, void: NDArray[np.bool_] | None = None) -> Overlap:
    """Compare one image's predictions with its truth.

    Args:
        predicted: instances may overlap each other; a label map has no scores (they are all 1).
        truth: pixels of -1 in a label map are void.
        void: (H, W) bool, more pixels to leave out.

    Raises:
        Fault: the two, or two instances, differ in size, or a label map is no plane of whole numbers.
    """
    size = _size(predicted) or _size(truth) or (None if void is None else (void.shape[0], void.shape[1]))
    if size is None:
        return Overlap(np.zeros((0, 0)), np.zeros(0), np.zeros(0, np.bool_))
    hidden = np.zeros(size, np.bool_)
    for other in (truth < 0 if isinstance(truth, np.ndarray) else hidden, hidden if void is None else void):
        if other.shape != size:
            raise Fault(f"truth of {size[0]}x{size[1]} pixels", f"{other.shape}", "compare masks of one image")
        hidden = hidden | other
    (mine, scores), (theirs, _) = _rows(predicted, size), _rows(truth, size)
    whole = _areas(mine)
    seen = sparse.diags_array((~hidden).ravel(order="F").astype(np.int64), dtype=np.int64)
    mine, theirs = (mine @ seen).tocsr(), (theirs @ seen).tocsr()
    theirs = theirs[_areas(theirs) > 0]
    inter = (mine @ theirs.T).toarray().astype(np.float64)
    union = _areas(mine)[:, None] + _areas(theirs)[None] - inter
    return Overlap(inter / np.maximum(union, 1), scores, whole - _areas(mine) > whole / 2)


def _size(things: Things) -> tuple[int, int] | None:
    """(H, W), or None for an empty list."""
    if isinstance(things, np.ndarray):
        if things.ndim != 2 or things.dtype.kind not in "iu":
            raise Fault("a label map (H, W) of whole numbers", f"{things.shape} {things.dtype}", "number the instances")
        return things.shape[0], things.shape[1]
    if isinstance(things, Regions):
        return things.probs.shape[1], things.probs.shape[2]
    return things[0].size if len(things) else None


def _rows(things: Things, size: tuple[int, int]) -> tuple[sparse.csr_array, NDArray[np.float64]]:
    """Instances as rows of a sparse (n, H W) matrix of ones, columns first as in RLE, and their scores."""
    if isinstance(things, np.ndarray):
        flat = things.ravel(order="F")
        where = np.flatnonzero(flat > 0)
        numbers, row = np.unique(flat[where], return_inverse=True)
        cells, row, scores = where, row.ravel(), np.ones(len(numbers))
    else:
        found = things.instances if isinstance(things, Regions) else things
        parts = [_cells(one, size) for one in found]
        cells = np.concatenate([np.zeros(0, np.int64), *parts])
        row = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        scores = np.array([one.score for one in found], np.float64)
    shape = (len(scores), size[0] * size[1])
    return sparse.csr_array((np.ones(len(cells), np.int64), (row, cells)), shape=shape), scores


def _cells(one: Instance, size: tuple[int, int]) -> NDArray[np.int64]:
    """Column-major indices of an instance's pixels."""
    if one.size != size or sum(one.counts) != size[0] * size[1]:
        raise Fault(f"instances of {size[0]}x{size[1]} pixels", f"{one.size}", "compare masks of one image")
    counts = np.asarray(one.counts, np.int64)
    return np.flatnonzero(np.repeat(np.arange(len(counts)) % 2 == 1, counts))


def _areas(rows: sparse.csr_array) -> NDArray[np.int64]:
    return np.asarray(rows.sum(axis=1), np.int64).ravel()


def match(found: Overlap, threshold: float = 0.5) -> NDArray[np.int64]:
    """(P,) the true instance of each prediction, -1 for none: one-to-one, IoU above (not at) `threshold`.

    Of all matchings one with the most pairs, of those the one with the largest sum of IoU. Scores play no part. Where
    no two instances of a side overlap, no other matching above 0.5 exists.
    """
    out = np.full(len(found.scores), -1, np.int64)
    allowed = found.iou > threshold
    if allowed.any():
        bonus = 1.0 + min(allowed.shape)  # a pair more outweighs whatever IoU it costs
        rows, columns = linear_sum_assignment(np.where(allowed, found.iou + bonus, 0), maximize=True)
        good = allowed[rows, columns]
        out[rows[good]] = columns[good]
    return out


def _excused(found: Overlap, matched: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(P,) predictions in void that match nothing."""
    return found.in_void & (matched < 0)


def _tally(found: Overlap, threshold: float = 0.5) -> tuple[int, int, int, float]:
    """True positives, false positives, false negatives, and the sum of IoU over the true positives."""
    matched = match(found, threshold)
    hits = np.flatnonzero(matched >= 0)
    wrong = len(matched) - len(hits) - int(_excused(found, matched).sum())
    return len(hits), wrong, found.iou.shape[1] - len(hits), float(found.iou[hits, matched[hits]].sum())


def _total(found: Sequence[Overlap], threshold: float = 0.5) -> tuple[int, int, int, float]:
    """`_tally` summed over a set."""
    hits, wrong, missed, total = 0, 0, 0, 0.0
    for one in found:
        more = _tally(one, threshold)
        hits, wrong, missed, total = hits + more[0], wrong + more[1], missed + more[2], total + more[3]
    return hits, wrong, missed, total


def f1_of(found: Overlap, threshold: float = 0.5) -> float:
    """TP / (TP + (FP + FN) / 2) of one image; NaN where nothing is and nothing was predicted."""
    hits, wrong, missed, _ = _tally(found, threshold)
    return _ratio(hits, hits + (wrong + missed) / 2)


def f1(found: Sequence[Overlap], threshold: float = 0.5) -> float:
    """TP / (TP + (FP + FN) / 2), summed over the set."""
    hits, wrong, missed, _ = _total(found, threshold)
    return _ratio(hits, hits + (wrong + missed) / 2)


def panoptic(found: Sequence[Overlap]) -> tuple[float, float, float]:
    """(PQ, SQ, RQ), Kirillov et al. 2019 Eq. 1, for the one kind of thing: PQ = sum IoU(TP) / (TP + FP/2 + FN/2)."""
    hits, wrong, missed, total = _total(found)
    return _ratio(total, hits + (wrong + missed) / 2), _ratio(total, hits), _ratio(hits, hits + (wrong + missed) / 2)


def count_error(found: Overlap) -> float:
    """|predicted - true| / true number of things; NaN where there is none."""
    predicted, true = found.count_pair()
    return _ratio(abs(predicted - true), true)


def ap(found: Sequence[Overlap], threshold: float) -> float:
    """Average precision at one IoU, as COCO has it for one class, without its limit of 100 predictions an image.

    In each image predictions, best score first, take the free true instance of largest IoU >= threshold. Over the set
    precision is read at 101 levels of recall, each time the best at that recall or more. Among equal scores those of
    larger IoU choose first, and precision is read only after all predictions of one score: where no prediction has a
    score of its own (label maps), AP is the precision of them all times the share of the 101 levels that they reach.
    NaN where nothing is true.
    """
    true = sum(o.iou.shape[1] for o in found)
    scores, hits = (np.concatenate([np.zeros(0), *parts]) for parts in _ranked(found, threshold))
    if not true:
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    scores, hits = scores[order], hits[order]
    last = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1) if len(scores) else np.zeros(0, np.int64)
    good, taken = hits.cumsum()[last], last + 1.0
    precision = np.append(np.maximum.accumulate((good / taken)[::-1])[::-1], 0.0)
    return float(precision[np.searchsorted(good / true, RECALLS, side="left")].mean())


def _ranked(found: Sequence[Overlap], threshold: float) -> tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]]:
    """Scores, and 1 for hits, of every prediction that counts, image by image."""
    scores, hits = [], []
    for one in found:
        matched = _greedy(one, threshold)
        counted = ~_excused(one, matched)
        scores.append(one.scores[counted])
        hits.append((matched[counted] >= 0).astype(np.float64))
    return scores, hits


def _greedy(found: Overlap, threshold: float) -> NDArray[np.int64]:
    """(P,) the true instance each prediction takes in order of score (then of IoU), -1 for none."""
    out = np.full(len(found.scores), -1, np.int64)
    if not found.iou.size:
        return out
    iou = found.iou.copy()
    for p in np.lexsort((-found.iou.max(1), -found.scores)).tolist():
        best = int(iou[p].argmax())
        if iou[p, best] >= threshold:
            out[p], iou[:, best] = best, -1.0
    return out


def score(found: Sequence[Overlap]) -> dict[str, float]:
    """Every score of a set of images.

    `ap50`, `ap` (mean over IoU .50:.95), `f1`, `pq`, `sq`, `rq` are of the whole set; `f1_mean`, `f1_median`,
    `count_error_mean`, `count_error_median` of the images; `predicted` and `true` are numbers of things. NaN where a
    score is not defined.
    """
    at = {threshold: ap(found, threshold) for threshold in THRESHOLDS}
    each = np.array([f1_of(one) for one in found])
    errors = np.array([count_error(one) for one in found])
    pq, sq, rq = panoptic(found)
    pairs = [one.count_pair() for one in found]
    return {
        "ap50": at[0.5], "ap": float(np.mean(list(at.values()))), "f1": f1(found),
        "f1_mean": _over(each, np.mean), "f1_median": _over(each, np.median), "pq": pq, "sq": sq, "rq": rq,
        "count_error_mean": _over(errors, np.mean), "count_error_median": _over(errors, np.median),
        "predicted": float(sum(p for p, _ in pairs)), "true": float(sum(t for _, t in pairs)),
    }  # fmt: skip


def _over(values: NDArray[np.float64], reduce: Callable[[NDArray[np.float64]], np.floating]) -> float:
    """A mean or median of what is defined."""
    known = values[~np.isnan(values)]
    return float(reduce(known)) if len(known) else float("nan")


def _ratio(above: float, below: float) -> float:
    return float(above / below) if below else float("nan")
