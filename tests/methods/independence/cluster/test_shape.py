"""Outlines: round parts, parts with pockets, and what is usual in one image."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from decoupe.methods.independence.cluster.shape import of_its_kind, pocket, roundness, usual, weighted_median


def disks(*places: tuple[float, float, float], side: int = 80) -> NDArray[np.bool_]:
    """(side, side) bool: the union of disks (row, column, radius)."""
    y, x = np.mgrid[:side, :side]
    return np.logical_or.reduce([(y - a) ** 2 + (x - b) ** 2 <= r * r for a, b, r in places])


def deepest(mask: NDArray[np.bool_]) -> float:
    """Slow reference: how far the hull's sides are from the free pixels within it, pixel by pixel, in pixels."""
    from scipy.spatial import ConvexHull

    corners = [(y + a, x + b) for y, x in np.argwhere(mask) for a in (-0.5, 0.5) for b in (-0.5, 0.5)]
    sides = ConvexHull(np.array(corners)).equations
    found = 0.0
    for y, x in np.argwhere(~mask):
        distances = [-(a * y + b * x + c) for a, b, c in sides]
        found = max(found, min(distances))
    return found


def test_convex_parts_have_no_pocket() -> None:
    assert pocket(disks((40, 40, 15))) == 0 and pocket(np.pad(np.ones((9, 21), bool), 4)) == 0
    tilted = np.abs(np.subtract.outer(np.arange(60), np.arange(60))) < 6
    assert pocket(tilted[10:50, 10:50]) < 0.1
    assert pocket(np.zeros((5, 5), bool)) == 0 and pocket(np.ones((1, 9), bool)) == 0


@pytest.mark.parametrize("apart", [14, 20, 26])
def test_the_pocket_of_two_disks_grows_with_their_distance(apart: int) -> None:
    pair = disks((40, 40 - apart / 2, 14), (40, 40 + apart / 2, 14))
    radius = np.sqrt(pair.sum() / np.pi)
    assert pocket(pair) == pytest.approx((deepest(pair) + 0.5) / radius)
    ideal = 14 - np.sqrt(14**2 - (apart / 2) ** 2)  # between the common tangent and the corner where the circles cross
    assert pocket(pair) * radius == pytest.approx(ideal, abs=1.0)


def test_holes_and_the_place_in_the_image_do_not_matter() -> None:
    ring = disks((40, 40, 15)) & ~disks((40, 40, 5))
    pair = disks((40, 30, 12), (40, 48, 12))
    assert pocket(np.roll(pair, (7, 9), (0, 1))) == pytest.approx(pocket(pair))
    assert roundness(ring) < roundness(disks((40, 40, 15))) == pytest.approx(1, abs=0.02)
    assert roundness(np.zeros((4, 4), bool)) == 0


def test_pairs_count_less_among_single_things_and_as_much_where_all_have_pockets() -> None:
    labels = np.zeros((80, 240), np.int32)
    for number, column in enumerate((0, 80, 160), start=1):
        piece = labels[:, column : column + 80]
        piece[disks((40, 40, 14)) if number < 3 else disks((40, 32, 14), (40, 50, 14))] = number
    single, other, pair = of_its_kind(labels, np.ones(3))
    assert single == other == 1 and pair < 0.2
    beans = usual(np.full(4, 300.0), np.full(4, 0.4), np.ones(4))
    assert (beans == 1).all() and len(usual(np.zeros(0), np.zeros(0), np.zeros(0))) == 0
    smaller = usual(np.array([300.0, 300.0, 40.0]), np.zeros(3), np.ones(3))
    assert (smaller == 1).all()  # what another thing hides in part is no worse


def test_weighted_median_without_weight_is_the_median() -> None:
    assert weighted_median(np.array([1.0, 5.0, 9.0]), np.zeros(3)) == 5
    assert weighted_median(np.array([9.0, 1.0, 5.0]), np.array([8.0, 1.0, 1.0])) == 9
