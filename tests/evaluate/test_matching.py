"""The modes of matching, each against what its description says."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from decoupe.errors import UsageFault
from decoupe.evaluate import metrics
from decoupe.evaluate.matching import MATCHINGS, apply, assign, by_name, check_matching

REGIONS, CLASSES = ("region 0", "region 1"), ("background", "object")


def test_hungarian_over_the_set_is_not_per_image() -> None:
    upright, flipped = np.array([[90, 10], [10, 90]]), np.array([[10, 40], [40, 10]])
    images = np.stack([upright, upright, flipped])
    whole = assign("hungarian", images.sum(0), REGIONS, CLASSES)
    assert whole is not None and whole.tolist() == [0, 1]
    assert metrics.accuracy(apply(whole, images).sum(0)) == pytest.approx((180 + 180 + 20) / 500)
    oracle = apply(assign("per-image-flip", images.sum(0), REGIONS, CLASSES), images)
    assert metrics.accuracy(oracle.sum(0)) == pytest.approx((180 + 180 + 80) / 500)


def test_leftover_regions_are_wrong_in_hungarian_and_shared_in_majority() -> None:
    confusion = np.array([[50, 0], [30, 0], [0, 20]])
    regions = ("a", "b", "c")
    one = assign("hungarian", confusion, regions, CLASSES)
    many = assign("majority", confusion, regions, CLASSES)
    assert one is not None and one.tolist() == [0, -1, 1]
    assert many is not None and many.tolist() == [0, 0, 1]
    images = confusion[None]
    assert metrics.accuracy(apply(one, images)[0]) == 0.7 and metrics.accuracy(apply(many, images)[0]) == 1
    assert metrics.iou(apply(one, images)[0]).tolist() == [50 / 80, 1]


def test_per_image_is_never_below_whole_set_and_at_its_best_for_each_image() -> None:
    images = np.random.default_rng(0).integers(0, 50, (20, 3, 3))
    flip = apply(None, images)
    whole = apply(assign("hungarian", images.sum(0), "abc", "xyz"), images)
    assert (metrics.accuracy(flip) >= metrics.accuracy(whole)).all()
    best = [max(sum(m[i, j] for i, j in enumerate(p)) for p in permutations(range(3))) / m.sum() for m in images]
    np.testing.assert_allclose(metrics.accuracy(flip), best)
    assert apply(None, images[:0]).shape == (0, 4, 3)


def test_named_reads_no_counts() -> None:
    assert by_name(("Object", "sky", "background"), CLASSES).tolist() == [1, -1, 0]
    got = assign("named", np.array([[0, 9], [9, 0]]), ("background", "object"), CLASSES)
    assert got is not None and got.tolist() == [0, 1]
    with pytest.raises(UsageFault, match="decoupe name"):
        by_name(REGIONS, CLASSES)


@pytest.mark.parametrize(
    ("name", "fit_on", "words"),
    [
        ("best", None, "--matching to be one of"),
        ("fit-on-train", None, "--fit-on"),
        ("named", "masks:a", "leave it out"),
        ("per-image-flip", "masks:a", "leave it out"),
    ],
)
def test_wrong_combinations_name_the_remedy(name: str, fit_on: str | None, words: str) -> None:
    with pytest.raises(UsageFault, match=words):
        check_matching(name, fit_on)


def test_right_combinations_pass() -> None:
    for name in MATCHINGS:
        check_matching(name, "masks:a" if name == "fit-on-train" else None)
    check_matching("majority", "masks:a")
