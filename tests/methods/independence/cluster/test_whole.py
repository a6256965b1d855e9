"""From maps to things: what the views do not agree on is left out, and how unsure the count is."""

from __future__ import annotations

import numpy as np
import pytest

from decoupe.methods.independence.cluster.segmenter import segmenter
from decoupe.methods.independence.cluster.whole import SAME, Found, best_iou, find, trusted, uncertainty


def disks(*places: tuple[int, int, int], side: int = 100) -> np.ndarray:
    """(side, side) int32: disks (row, column, radius), numbered."""
    labels, (y, x) = np.zeros((side, side), np.int32), np.mgrid[:side, :side]
    for number, (row, column, radius) in enumerate(places, start=1):
        labels[(y - row) ** 2 + (x - column) ** 2 <= radius**2] = number
    return labels


def test_best_iou_against_a_loop() -> None:
    one, other = disks((30, 30, 12), (30, 70, 10), (80, 80, 6)), disks((32, 31, 12), (70, 30, 10))
    slow = [max([0.0, *(((a == i) & (b == j)).sum() / ((a == i) | (b == j)).sum() for j in (1, 2))])
            for a, b, i in ((one, other, 1), (one, other, 2), (one, other, 3))]  # fmt: skip
    assert best_iou(one, other) == pytest.approx(slow) and slow[1] == slow[2] == 0


def test_things_on_which_the_views_disagree_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four views: all see two disks, a band at the border is cut elsewhere by each."""
    views = []
    for shift in (0, 9, 18, 27):
        labels = disks((40, 30, 11), (60, 70, 11))
        labels[:8, shift : shift + 24] = 3
        views.append(labels)
    answers = iter([views[0], *views])  # the mean's first
    monkeypatch.setattr("decoupe.methods.independence.cluster.votes.count", lambda maps: (next(answers), np.zeros(0)))
    image = np.zeros((100, 100, 3), np.uint8)
    found = find(segmenter(3, 4).eval(), image, 4)
    assert len(found.agreement) == 2 == found.labels.max() and (found.agreement > 0.99).all()
    assert not found.labels[:8].any() and found.counts == (3, 3, 3, 3)
    band = float(np.mean([((views[0] == 3) & (v == 3)).sum() / ((views[0] == 3) | (v == 3)).sum() for v in views]))
    assert band < SAME


def test_uncertainty_adds_views_agreement_and_outlines() -> None:
    labels = disks((20, 20, 10), (20, 60, 10), (70, 20, 10), (70, 70, 10))
    chance = np.zeros(labels.shape, np.float32)
    sure = Found(labels, chance, np.ones(4), (4, 4, 4))
    assert uncertainty(sure) == 0
    assert uncertainty(Found(labels, chance, np.ones(4), (3, 4, 5))) == pytest.approx(np.std([3, 4, 5]))
    agreement = np.array([0.9, 0.8, 1.0, 1.0])
    assert uncertainty(Found(labels, chance, agreement, (4,))) == pytest.approx(np.sqrt(0.09 + 0.16))
    pair = np.maximum(labels, 4 * (disks((70, 84, 10)) > 0))
    assert uncertainty(Found(pair.astype(np.int32), chance, np.ones(4), (4,))) > 0.1
    assert uncertainty(Found(np.zeros_like(labels), chance, np.zeros(0), (0, 0))) == 0


def test_pairs_are_trusted_less_than_single_things() -> None:
    labels = disks((20, 20, 10), (20, 60, 10), (70, 20, 10))
    labels[disks((70, 66, 10), (70, 80, 10)) > 0] = 4
    quality = trusted(Found(labels, np.zeros(labels.shape, np.float32), np.ones(4), (4,)))
    assert (quality[:3] > 0.9).all() and quality[3] < 0.1
