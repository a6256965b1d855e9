"""Scores of instances against counting by hand, matching by permutation, and COCO's own tools."""

from __future__ import annotations

import contextlib
import io
from itertools import combinations, permutations

import numpy as np
import pytest

from decoupe.errors import Fault
from decoupe.evaluate.instances import (
    THRESHOLDS,
    Overlap,
    Things,
    ap,
    count_error,
    f1,
    f1_of,
    match,
    overlap,
    panoptic,
    score,
)
from decoupe.export import rle
from decoupe.types import Instance, Regions

SIDE = 40


def boxes(rng: np.random.Generator, n: int, jitter: np.ndarray | None = None) -> list[np.ndarray]:
    """Corners y0, x0, y1, x1 of n boxes, or those of `jitter` moved a little."""
    if jitter is not None:
        return [np.clip(box + rng.integers(-1, 2, 4), 0, SIDE) for box in jitter]
    corner = rng.integers(0, SIDE - 12, (n, 2))
    return list(np.concatenate([corner, corner + rng.integers(5, 12, (n, 2))], 1))


def things(corners: list[np.ndarray], scores: np.ndarray | None = None) -> list[Instance]:
    found = []
    for i, (y0, x0, y1, x1) in enumerate(corners):
        mask = np.zeros((SIDE, SIDE), bool)
        mask[y0:y1, x0:x1] = True
        found.append(Instance((SIDE, SIDE), rle.encode(mask), 1.0 if scores is None else float(scores[i])))
    return found


def image(seed: int, n: int = 5) -> tuple[list[Instance], list[Instance]]:
    """(predicted with scores, true): some found, some missed, some made up, some found twice."""
    rng = np.random.default_rng(seed)
    true = boxes(rng, n)
    mine = boxes(rng, 0, true[: rng.integers(0, n + 1)]) + boxes(rng, rng.integers(0, 3))
    mine += boxes(rng, 0, true[:1]) if seed % 3 == 0 else []
    mine = [box for box in mine if box[2] > box[0] and box[3] > box[1]]
    return things(mine, rng.random(len(mine))), things(true)


def mask_of(one: Instance) -> np.ndarray:
    return rle.decode(one.counts, one.size)


@pytest.mark.parametrize("seed", range(6))
def test_iou_is_counting_pixels(seed: int) -> None:
    predicted, true = image(seed)
    void = np.random.default_rng(seed).random((SIDE, SIDE)) < 0.1 * (seed % 3)
    got = overlap(predicted, true, void)
    for p, mine in enumerate(map(mask_of, predicted)):
        assert got.in_void[p] == ((mine & void).sum() > mine.sum() / 2)
        for t, theirs in enumerate(map(mask_of, true)):
            a, b = mine & ~void, theirs & ~void
            assert got.iou[p, t] == pytest.approx((a & b).sum() / max((a | b).sum(), 1))
    assert got.scores.tolist() == [one.score for one in predicted]


def best_of_all(iou: np.ndarray, threshold: float) -> tuple[int, float]:
    """Most pairs, then the largest sum, over every one-to-one matching."""
    p, t = iou.shape
    best = (0, 0.0)
    for k in range(1, min(p, t) + 1):
        for mine in combinations(range(p), k):
            for theirs in permutations(range(t), k):
                pairs = [iou[i, j] for i, j in zip(mine, theirs, strict=True)]
                if min(pairs) > threshold:
                    best = max(best, (k, float(sum(pairs))))
    return best


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("threshold", [0.2, 0.5])
def test_matching_f1_and_pq_against_every_permutation(seed: int, threshold: float) -> None:
    rng = np.random.default_rng(seed)
    p, t = rng.integers(0, 5, 2)
    found = Overlap(rng.random((p, t)), np.ones(p), np.zeros(p, bool))
    pairs, total = best_of_all(found.iou, threshold)
    got = match(found, threshold)
    hits = np.flatnonzero(got >= 0)
    assert len(hits) == pairs == len(set(got[hits].tolist()))
    assert found.iou[hits, got[hits]].sum() == pytest.approx(total)
    if p + t:
        assert f1_of(found, threshold) == pytest.approx(2 * pairs / (p + t))
        assert f1([found, found], threshold) == pytest.approx(2 * pairs / (p + t))
    if threshold == 0.5 and p + t:
        assert panoptic([found])[0] == pytest.approx(2 * total / (p + t))


def slow_ap(found: list[Overlap], threshold: float) -> float:
    """Average precision by the book, scores all different: walk down the ranking, one prediction at a time."""
    ranking = sorted(((s, i, p) for i, o in enumerate(found) for p, s in enumerate(o.scores)), reverse=True)
    taken: set[tuple[int, int]] = set()
    true = sum(o.iou.shape[1] for o in found)
    curve, hits = [], 0
    for rank, (_, i, p) in enumerate(ranking, start=1):
        free = [(found[i].iou[p, t], t) for t in range(found[i].iou.shape[1]) if (i, t) not in taken]
        if free and max(free)[0] >= threshold:
            taken.add((i, max(free)[1]))
            hits += 1
        curve.append((hits / true, hits / rank))
    levels = [max([p for r, p in curve if r >= level], default=0.0) for level in np.linspace(0, 1, 101)]
    return sum(levels) / 101


@pytest.mark.parametrize("seed", range(5))
def test_ap_is_the_book(seed: int) -> None:
    found = [overlap(*image(10 * seed + i)) for i in range(4)]
    for threshold in (0.5, 0.65, 0.9):
        assert ap(found, threshold) == pytest.approx(slow_ap(found, threshold))


@pytest.mark.parametrize("seed", range(3))
def test_ap_is_that_of_coco(seed: int) -> None:
    coco = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
    from pycocotools.cocoeval import COCOeval

    pairs = [image(100 + 10 * seed + i, n=7) for i in range(6)]
    truth, answer = coco.COCO(), coco.COCO()
    heads = {
        "info": {},
        "images": [{"id": i + 1, "height": SIDE, "width": SIDE} for i in range(len(pairs))],
        "categories": [{"id": 1, "name": "thing"}],
    }
    for data, side in ((truth, 1), (answer, 0)):
        rows = [(i, one) for i, pair in enumerate(pairs) for one in pair[side]]
        data.dataset = heads | {"annotations": [
            {"id": n + 1, "image_id": i + 1, "category_id": 1, "iscrowd": 0, "score": one.score,
             "area": rle.area(one.counts), "bbox": [0, 0, 1, 1],
             "segmentation": {"size": list(one.size), "counts": rle.to_string(one.counts)}}
            for n, (i, one) in enumerate(rows)
        ]}  # fmt: skip
        with contextlib.redirect_stdout(io.StringIO()):
            data.createIndex()
    with contextlib.redirect_stdout(io.StringIO()):
        judge = COCOeval(truth, answer, "segm")
        judge.params.maxDets = [1, 10, 1000]
        judge.evaluate(), judge.accumulate()
    theirs = judge.eval["precision"][:, :, 0, 0, -1].mean(1)
    found = [overlap(*pair) for pair in pairs]
    np.testing.assert_allclose([ap(found, t) for t in THRESHOLDS], theirs, atol=1e-9)
    assert score(found)["ap"] == pytest.approx(theirs.mean()) and 0.03 < theirs.mean() < 0.9


def strip(*numbers: int) -> np.ndarray:
    return np.repeat(np.array(numbers, np.int32), 4)[None].repeat(6, 0)


def test_predictions_without_scores_are_one_group_in_any_order() -> None:
    truth, mine = strip(1, 2, 0, 3, 4, 0), strip(5, 6, 9, 3, 0, 0)
    found = overlap(mine, truth)
    assert ap([found], 0.5) == pytest.approx(0.75 * 76 / 101)  # 3 of 4 right, 3 of 4 found: levels 0 to 0.75
    turned = Overlap(found.iou[::-1], found.scores, found.in_void)
    assert ap([turned], 0.5) == ap([found], 0.5)
    twice = Overlap(np.array([[0.6], [0.9]]), np.ones(2), np.zeros(2, bool))
    assert ap([twice], 0.8) == pytest.approx(0.5)  # the better of two equals comes first


def test_the_kinds_of_input_agree() -> None:
    truth, mine = strip(1, 2, 0, 3), strip(7, 0, 2, 3)
    listed: list[Instance] = [Instance((6, 16), rle.encode(mine == n)) for n in (2, 3, 7)]
    regions = Regions(np.full((2, 6, 16), 0.5, np.float32), ("background", "object"), instances=tuple(listed))
    kinds: list[Things] = [mine, listed, regions]
    tables = [overlap(kind, truth).iou for kind in kinds]
    assert np.array_equal(tables[0], tables[1]) and np.array_equal(tables[0], tables[2])
    assert tables[0].tolist() == [[0, 0, 0], [0, 0, 1], [1, 0, 0]]


def test_void_is_ignored_on_both_sides() -> None:
    truth = strip(1, -1, 2, 2)
    found = overlap(strip(1, 5, 2, 0), truth)  # 5 lies in void; half of 2 is found
    assert found.iou.tolist() == [[1, 0], [0, 0.5], [0, 0]] and found.in_void.tolist() == [False, False, True]
    assert f1_of(found) == pytest.approx(0.5) and ap([found], 0.5) == pytest.approx(1.0)
    assert count_error(found) == 0.0
    wide = overlap(strip(1, 1, 2, 2), truth)  # spilling into void costs nothing
    assert wide.iou.tolist() == [[1, 0], [0, 1]] and panoptic([wide]) == (1.0, 1.0, 1.0)
    hidden = overlap(strip(1, 2, 0, 0), strip(1, 2, 0, 0), strip(0, 1, 0, 0) > 0)  # a true one wholly in void is none
    assert hidden.iou.shape == (2, 1) and f1_of(hidden) == 1.0


def test_counts_and_empty_images() -> None:
    none, three = strip(0, 0, 0, 0), strip(1, 2, 3, 0)
    counts = [overlap(strip(1, 0, 0, 0), three), overlap(strip(1, 2, 3, 4), three), overlap(none, none)]
    counts += [overlap(three, none), overlap([], three), overlap([], [])]
    errors = [count_error(one) for one in counts]
    assert errors[:2] == pytest.approx([2 / 3, 1 / 3]) and errors[4] == 1.0
    assert np.isnan([errors[i] for i in (2, 3, 5)]).all()
    got = score(counts)
    assert got["count_error_mean"] == pytest.approx(2 / 3) and got["count_error_median"] == pytest.approx(2 / 3)
    assert np.isnan(f1_of(counts[2])) and f1_of(counts[3]) == 0 and f1_of(counts[4]) == 0
    assert got["predicted"] == 8 and got["true"] == 9 and got["f1"] == pytest.approx(2 * 4 / 17)
    assert got["f1_median"] == pytest.approx(np.median([0.5, 6 / 7, 0, 0]))
    assert np.isnan(score([counts[2]])["ap"]) and np.isnan(score([])["f1"])


def test_f1_asks_for_more_than_half_and_ap_for_half() -> None:
    half = Overlap(np.array([[0.5]]), np.ones(1), np.zeros(1, bool))
    assert f1_of(half) == 0 and ap([half], 0.5) == 1


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(Fault, match="6x16 pixels"):
        overlap(strip(1, 0, 0, 0), strip(1, 0, 0))
    with pytest.raises(Fault, match="6x16 pixels"):
        overlap(strip(1, 0, 0, 0), [Instance((6, 15), (90,))])
    with pytest.raises(Fault, match="whole numbers"):
        overlap(np.zeros((3, 3)), strip(1))  # type: ignore[arg-type]
