"""Things of a mask: splitting against a slow flood from the top, specks, holes, scores, and built-in images."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from decoupe.data.synthetic import render
from decoupe.errors import Fault
from decoupe.evaluate.instances import count_error, f1_of, overlap
from decoupe.export import rle
from decoupe.instances import NECK, components, fill_holes, instances, separate, to_instances, to_map, typical
from decoupe.types import Instance


def discs(shape: tuple[int, int], *circles: tuple[float, float, float]) -> np.ndarray:
    """bool, the union of circles (y, x, r)."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    return np.any([(y - cy) ** 2 + (x - cx) ** 2 <= r**2 for cy, cx, r in circles], axis=0)


def flood(mask: np.ndarray, neck: float) -> np.ndarray:
    """Pixels from the deepest down; each joins the thing of its deepest neighbour, shallow things join deep ones."""
    depth = ndimage.distance_transform_edt(mask) if not mask.all() else np.ones(mask.shape)
    order = sorted(zip(*np.nonzero(mask), strict=True), key=lambda p: (depth[p], p), reverse=True)
    rank = {p: i for i, p in enumerate(order)}
    group: dict[tuple[int, int], int] = {}
    top: dict[int, tuple[int, int]] = {}
    for p in order:
        y, x = p
        around = [(y + a, x + b) for a in (-1, 0, 1) for b in (-1, 0, 1) if (a or b) and (y + a, x + b) in group]
        if not around:
            group[p] = len(top)
            top[len(top)] = p
            continue
        group[p] = group[min(around, key=lambda q: rank[q])]
        for q in sorted(around, key=lambda q: rank[q]):
            a, b = group[p], group[q]
            if a != b:
                low, high = sorted((a, b), key=lambda g: rank[top[g]], reverse=True)
                if depth[p] >= neck * depth[top[low]]:
                    group = {key: high if g == low else g for key, g in group.items()}
    out = np.zeros(mask.shape, int)
    for p, g in group.items():
        out[p] = g + 1
    return out


def same_partition(a: np.ndarray, b: np.ndarray) -> bool:
    pairs = {(int(p), int(q)) for p, q in zip(a.ravel(), b.ravel(), strict=True)}
    return len(pairs) == len({p for p, _ in pairs}) == len({q for _, q in pairs}) and (0, 0) in pairs | {(0, 0)}


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("neck", [0.6, 0.8, 1.0])
def test_splitting_is_the_slow_flood(seed: int, neck: float) -> None:
    rng = np.random.default_rng(seed)
    mask = ndimage.gaussian_filter(rng.normal(size=(34, 41)), 2.5) > 0
    filled = fill_holes(mask, 1)
    got, slow = separate(mask, neck, smallest=1), flood(filled, neck)
    assert np.array_equal(got > 0, filled) and same_partition(got, slow)


@pytest.mark.parametrize(("distance", "things"), [(3, 1), (6, 1), (13, 2), (16, 2), (19, 2)])
def test_two_discs_are_split_where_the_neck_is_narrow(distance: int, things: int) -> None:
    radius = 10.0
    labels = separate(discs((40, 60), (20, 20, radius), (20, 20 + distance, radius)))
    neck = np.sqrt(radius**2 - (distance / 2) ** 2) / radius
    assert abs(neck - NECK) > 0.04 and things == (2 if neck < NECK else 1)  # the table states the rule, off its edge
    assert labels.max() == things
    if things == 2:
        line = int(20 + distance / 2)
        assert {labels[20, line - 2], labels[20, line + 3]} == {1, 2}


def test_the_size_of_things_does_not_matter() -> None:
    for scale in (1, 2, 4):
        mask = discs(
            (60 * scale, 90 * scale), (30 * scale, 30 * scale, 12 * scale), (30 * scale, 50 * scale, 12 * scale)
        )
        assert separate(mask).max() == 2 and separate(mask, neck=0.25).max() == 1


def test_specks_and_holes_go_by_the_typical_size() -> None:
    mask = discs((60, 90), (20, 20, 10), (20, 50, 10), (42, 35, 10))
    mask[58, ::2] = True  # 45 specks
    mask[20, 20] = False
    assert typical(np.array([1] * 45 + [314] * 3)) == 314 and typical(np.zeros(0, np.int64)) == 0
    assert components(mask).max() == 3 and separate(mask).max() == 3
    assert components(mask, smallest=1).max() == 48
    assert separate(mask)[20, 20] == separate(mask)[20, 21] > 0 and not separate(mask)[58].any()
    ring = discs((60, 60), (30, 30, 25)) & ~discs((60, 60), (30, 30, 15))
    assert not fill_holes(ring)[30, 30] and fill_holes(ring, 10_000)[30, 30]


@pytest.mark.parametrize("value", [False, True])
def test_nothing_and_everything(value: bool) -> None:
    mask = np.full((9, 12), value)
    assert separate(mask).max() == components(mask).max() == len(instances(mask)) == int(value)


def test_instances_are_numbered_in_reading_order_with_scores() -> None:
    mask = discs((40, 60), (20, 40, 8), (25, 15, 8))
    probs = np.where(np.arange(60) > 30, 0.9, 0.6).astype(np.float32)[None].repeat(40, 0)
    found = instances(mask, probs=probs, region=3)
    assert [round(one.score, 3) for one in found] == [0.9, 0.6] and {one.region for one in found} == {3}
    labels = to_map(found, (40, 60))
    assert np.array_equal(labels, separate(mask)) and np.array_equal(labels > 0, mask)
    assert [one.counts for one in to_instances(labels)] == [one.counts for one in found]
    assert [one.score for one in instances(mask)] == [1.0, 1.0]


def test_the_best_score_wins_an_overlap() -> None:
    left, right = np.zeros((4, 6), bool), np.zeros((4, 6), bool)
    left[:, :4], right[:, 2:] = True, True

    def pair(a: float, b: float) -> list[Instance]:
        return [Instance((4, 6), rle.encode(left), a), Instance((4, 6), rle.encode(right), b)]

    assert to_map(pair(0.5, 0.9), (4, 6))[0].tolist() == [1, 1, 2, 2, 2, 2]
    assert to_map(pair(0.5, 0.5), (4, 6))[0].tolist() == [1, 1, 1, 1, 2, 2]
    with pytest.raises(Fault, match="4x5"):
        to_map(pair(1, 1), (4, 5))


@pytest.mark.parametrize("mask", [np.zeros((3, 3)), np.zeros((1, 3, 3), bool)])
def test_what_is_no_mask_is_said(mask: np.ndarray) -> None:
    with pytest.raises(Fault, match="bool"):
        separate(mask)
    with pytest.raises(Fault, match="neck above 0"):
        separate(np.zeros((3, 3), bool), neck=0)


@pytest.mark.parametrize("index", range(7))
def test_built_in_images_are_counted_better_split_than_not(index: int) -> None:
    scene = render("cluster", 3, index, 160)
    mask, truth = scene.mask > 0, scene.instances.astype(np.int32)
    split, whole = overlap(separate(mask), truth), overlap(components(mask), truth)
    assert f1_of(split) > f1_of(whole) + 0.3 and count_error(split) < 0.6 * count_error(whole)
