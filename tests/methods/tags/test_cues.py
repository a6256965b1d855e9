"""From maps to cues, on cases that can be worked out by hand."""

from __future__ import annotations

import pytest
import torch

from decoupe.methods.tags import cues as making
from decoupe.methods.tags.networks import best_thresholds


def test_background_is_what_the_present_maps_leave() -> None:
    maps = torch.tensor([[[[1.0, 0.3, 0.0]], [[0.5, 0.3, 0.0]]]])
    p = making.as_probabilities(maps, torch.tensor([[1.0, 1.0]]))
    assert torch.allclose(p[0, :, 0, 1], torch.tensor([0.4, 0.3, 0.3]))
    assert torch.allclose(p[0, :, 0, 0], torch.tensor([0.0, 2 / 3, 1 / 3]))
    assert p[0, :, 0, 2].tolist() == [1, 0, 0]
    alone = making.as_probabilities(maps, torch.tensor([[0.0, 0.0]]))
    assert alone[0, 0].eq(1).all() and alone[0, 1:].eq(0).all()


def test_a_cell_that_two_classes_claim_goes_to_the_smaller_one() -> None:
    ground = torch.tensor([[[[1, 0, 0, 0]]]], dtype=torch.bool)
    things = torch.tensor([[[[0, 1, 1, 0]], [[0, 0, 1, 0]]]], dtype=torch.bool)
    assert making.cues(ground, things).tolist() == [[[0, 1, 2, 255]]]


def test_cues_are_of_present_classes_only() -> None:
    maps = torch.tensor([[[[0.9, 0.25, 0.0]], [[0.9, 0.9, 0.0]]]])
    present = torch.tensor([[1.0, 0.0]])
    assert making.foreground(maps, present, 0.2).tolist() == [[[[True, True, False]], [[False] * 3]]]
    assert making.quiet(maps, present, 0.3).tolist() == [[[[False, True, True]]]]


def test_own_targets_hold_tagged_classes_only_and_say_nothing_where_unsure() -> None:
    generator = torch.Generator().manual_seed(0)
    f = torch.rand(2, 4, 33, 33, generator=generator).softmax(1)
    f[:, 3] += 3.0
    f = f / f.sum(1, keepdim=True)
    images = torch.rand(2, 3, 65, 65, generator=generator) * 2 - 1
    present = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    found = making.own_targets(f, present, images, (9, 9), 0.0)
    assert found.shape == (2, 9, 9) and set(found[0].unique().tolist()) <= {0, 1} and (found[1] == 3).all()
    assert (making.own_targets(f, present, images, (9, 9), 1.1) == 255).all()


def test_the_thresholds_are_those_of_the_best_f1() -> None:
    p = torch.tensor([[0.9, 0.1], [0.7, 0.2], [0.4, 0.3], [0.2, 0.4]])
    tags = torch.tensor([[1, 0], [1, 0], [0, 0], [0, 0]])
    assert best_thresholds(p, tags, 0.5).tolist() == pytest.approx([0.55, 0.5])


def test_the_thresholds_equal_a_search_over_all_of_them() -> None:
    generator = torch.Generator().manual_seed(1)
    p, tags = torch.rand(30, 3, generator=generator), torch.randint(0, 2, (30, 3), generator=generator)

    def f1(t: float, c: int) -> float:
        guess, truth = p[:, c] >= t, tags[:, c] == 1
        return 2 * float((guess & truth).sum()) / float(guess.sum() + truth.sum())

    for c, t in enumerate(best_thresholds(p, tags, 0.5).tolist()):
        assert f1(t, c) == pytest.approx(max(f1(float(x), c) for x in p[:, c]))
