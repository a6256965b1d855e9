"""Health sees collapse and only collapse; selection never looks at a label."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from decoupe.engine.health import look
from decoupe.engine.runfolder import Candidate
from decoupe.engine.seeding import image_indices, mix
from decoupe.engine.selection import choose, flip_agreement, soft_iou
from decoupe.methods.room import Draw


def _two(mask: torch.Tensor) -> torch.Tensor:
    return torch.stack([1 - mask, mask], 1)


def test_areas_and_entropy_of_known_masks() -> None:
    mask = torch.zeros(4, 10, 10)
    mask[:, :5, :5] = 0.9
    seen = look([_two(mask[:3]), _two(mask[3:])])
    assert seen.hard == pytest.approx((0.75, 0.25))
    assert seen.soft == pytest.approx((0.775, 0.225))
    assert seen.entropy == pytest.approx(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25)) / np.log(2))
    assert seen.trouble is None


@pytest.mark.parametrize("value", [0.0, 1.0, float("nan")])
def test_collapse_is_named(value: float) -> None:
    trouble = look([_two(torch.full((4, 8, 8), value))]).trouble
    assert trouble is not None and ("covers 100.0%" in trouble or "finite" in trouble)


def test_a_small_object_is_no_collapse() -> None:
    mask = torch.zeros(4, 20, 20)
    mask[:, :3, :4] = 1
    assert look([_two(mask)]).trouble is None


def test_soft_iou_against_loops() -> None:
    a, b = torch.rand(2, 3, 5, 4, generator=torch.Generator().manual_seed(1)), torch.rand(2, 3, 5, 4)
    for i in range(2):
        for k in range(3):
            pairs = list(zip(a[i, k].flatten().tolist(), b[i, k].flatten().tolist(), strict=True))
            expected = sum(min(p) for p in pairs) / sum(max(p) for p in pairs)
            assert float(soft_iou(a, b)[i, k]) == pytest.approx(expected, rel=1e-5)


def test_flip_agreement_is_one_for_a_map_of_pixels_and_less_for_a_lopsided_one() -> None:
    images = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert flip_agreement(lambda x: _two((x[:, 0] > 0).float()), images).tolist() == pytest.approx([1, 1, 1])
    left = torch.zeros(3, 16, 16)
    left[:, :, :8] = 1
    assert flip_agreement(lambda x: _two(left), images).tolist() == pytest.approx([0, 0, 0], abs=1e-6)


def test_choose_takes_the_latest_healthy_within_one_error_of_the_best() -> None:
    def make(images: int, score: float | None, healthy: bool = True, error: float = 0.02) -> Candidate:
        return Candidate(images, score, Path("x"), healthy, error=error)

    def picked(rows: list[Candidate]) -> int | None:
        chosen = choose(rows)
        return None if chosen is None else chosen.images

    rows = [make(1, 0.5), make(2, 0.9, healthy=False), make(3, 0.49), make(4, None), make(5, 0.47)]
    assert picked(rows) == 3
    assert picked([make(1, 0.5, error=0.0), make(2, 0.4999)]) == 1
    assert picked(rows[1:2]) is None


def test_indices_are_permutations_and_do_not_depend_on_how_they_are_asked_for() -> None:
    whole = image_indices(7, 0, 50, 13)
    assert sorted(whole[:13]) == list(range(13)) and sorted(whole[13:26]) == list(range(13))
    assert (np.concatenate([image_indices(7, p, 5, 13) for p in range(0, 50, 5)]) == whole).all()
    assert (image_indices(8, 0, 13, 13) != whole[:13]).any()


def test_draws_of_two_processes_are_the_halves_of_one() -> None:
    one = Draw(mix(3, 4), 8)
    two = [Draw(mix(3, 4), 4, rank, 2) for rank in range(2)]
    for name, arguments in (("uniform", (3, 2)), ("normal", (5,)), ("integers", (10,))):
        whole = getattr(one, name)(*arguments)
        assert torch.equal(whole, torch.cat([getattr(draw, name)(*arguments) for draw in two]))
