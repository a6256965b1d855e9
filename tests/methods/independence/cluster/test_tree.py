"""Parts at many thresholds: their measures, and the best set of them by trying all."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import ndimage

from decoupe.methods.independence.cluster.planes import ground_distance, planes
from decoupe.methods.independence.cluster.proposals import propose
from decoupe.methods.independence.cluster.shape import weighted_median
from decoupe.methods.independence.cluster.tree import best_antichain, fill, grow


def _disks(places: list[tuple[int, int, int]], size: int = 96) -> np.ndarray:
    y, x = np.mgrid[:size, :size]
    plane = np.zeros((size, size), np.float32)
    for cy, cx, radius in places:
        plane[(y - cy) ** 2 + (x - cx) ** 2 <= radius**2] = 1
    return plane


def _ancestors(parent: np.ndarray, node: int) -> set[int]:
    found = set()
    while parent[node] >= 0:
        node = int(parent[node])
        found.add(node)
    return found


@pytest.mark.parametrize("seed", range(20))
def test_the_best_set_is_the_best_of_all_sets(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = 10
    parent = np.array([rng.integers(i + 1, n) if i < n - 1 and rng.uniform() < 0.8 else -1 for i in range(n)])
    gain = np.where(rng.uniform(size=n) < 0.2, 0, rng.uniform(size=n))
    chosen = best_antichain(parent, gain)
    best = 0.0
    for members in itertools.product([False, True], repeat=n):
        nodes = [i for i in range(n) if members[i]]
        if all(not _ancestors(parent, i) & set(nodes) for i in nodes):
            best = max(best, float(gain[nodes].sum()))
    assert all(not _ancestors(parent, int(i)) & set(chosen.tolist()) for i in chosen)
    assert float(gain[chosen].sum()) == pytest.approx(best)


@pytest.mark.parametrize("seed", range(5))
def test_holes_are_filled_as_scipy_fills_them(seed: int) -> None:
    mask = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(40, 50)), 1.5) > 0
    assert np.array_equal(fill(mask), ndimage.binary_fill_holes(mask))


def test_parts_know_their_area_their_shape_and_their_parent() -> None:
    plane = _disks([(30, 30, 10), (60, 66, 14)]) + _disks([(60, 66, 6)])
    tree = grow(plane, 12)
    for node in range(len(tree.area)):
        mask = tree.mask(node)
        assert mask.sum() == tree.area[node]
        y, x = np.nonzero(mask)
        spread = np.cov(np.stack([y, x]), bias=True) + np.eye(2) / 12
        assert tree.ellipse[node] == pytest.approx(len(y) / (4 * np.pi * np.sqrt(np.linalg.det(spread))), rel=1e-6)
        over = int(tree.parent[node])
        if over >= 0:
            assert over > node and (mask & ~tree.mask(over)).sum() == 0
    disk = tree.area[(tree.ellipse > 0.98)]
    assert np.any(np.abs(disk - np.pi * 100) < 40) and np.any(np.abs(disk - np.pi * 196) < 60)


def test_an_ellipse_counts_as_one_and_two_touching_disks_do_not() -> None:
    single = grow(_disks([(48, 48, 14)]), 6)
    pair = grow(_disks([(48, 34, 14), (48, 62, 14)]), 6)
    assert single.ellipse.max() > 0.98
    assert pair.ellipse[pair.area > 1000].max() < 0.93


def test_weighted_median_is_the_weighted_median() -> None:
    area, weight = np.array([5.0, 1.0, 9.0]), np.array([1.0, 1.0, 5.0])
    assert weighted_median(area, weight) == 9 and weighted_median(area, np.ones(3)) == 5


def test_the_ground_is_the_commonest_colour() -> None:
    rng = np.random.default_rng(0)
    found = np.stack([np.full((40, 40), 0.2), np.full((40, 40), 0.7)]) + rng.normal(0, 0.01, (2, 40, 40))
    found[:, 10:18, 10:18] = np.array([0.8, 0.1])[:, None, None]
    distance = ground_distance(found.astype(np.float32))
    assert np.median(distance) < 2 and distance[11:17, 11:17].min() > 10


def test_grey_images_have_no_colour_planes_and_colour_ones_do() -> None:
    grey = np.random.default_rng(0).integers(0, 255, (32, 32, 1)).astype(np.uint8)
    assert list(planes(grey)) == ["light", "away"]
    image = np.random.default_rng(1).integers(80, 100, (40, 40, 3)).astype(np.uint8)
    image[8:16, 8:16] = (190, 40, 40)
    image[22:30, 22:30] = (40, 40, 190)
    assert "colour 1" in planes(image)


@pytest.mark.parametrize("bright", [True, False])
def test_single_disks_are_proposed_at_their_size(bright: bool) -> None:
    places = [(20, 20, 9), (20, 60, 9), (60, 24, 10), (64, 70, 8), (40, 42, 9)]
    plane = 0.2 + 0.6 * _disks(places) + np.random.default_rng(0).normal(0, 0.02, (96, 96))
    image = (255 * np.clip(plane if bright else 1 - plane, 0, 1)).astype(np.uint8)[..., None]
    found = propose(image)
    assert len(found.quality) == 5 and found.diameter == pytest.approx(19, abs=2)
    truth = np.zeros((96, 96), int)
    y, x = np.mgrid[:96, :96]
    for number, (cy, cx, radius) in enumerate(places, start=1):
        truth[(y - cy) ** 2 + (x - cx) ** 2 <= radius**2] = number
    for number in range(1, 6):
        own = np.bincount(found.labels[truth == number]).argmax()
        union = ((found.labels == own) | (truth == number)).sum()
        assert own > 0 and ((found.labels == own) & (truth == number)).sum() / union > 0.75


def test_an_empty_image_has_no_proposals() -> None:
    found = propose(np.full((64, 64, 1), 40, np.uint8))
    assert len(found.quality) == 0 and found.labels.max() == 0
