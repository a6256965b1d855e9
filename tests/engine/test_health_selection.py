"""Health sees collapse and only collapse; selection never looks at a label."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from decoupe.engine.health import Health, look
from decoupe.engine.runfolder import Candidate
from decoupe.engine.seeding import image_indices, mix
from decoupe.engine.selection import choose, flip_agreement, sentence, soft_iou, stand_in
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


def _discs(move: float, sharp: float, n: int = 60, size: int = 48, radius: float = 0.27) -> torch.Tensor:
    """(n, size, size): discs moved by up to `move` of the side, blurred by a sigmoid over 1 / `sharp` of it."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:size, :size] / size
    masks = []
    for _ in range(n):
        cy, cx = 0.5 + rng.uniform(-move, move, 2)
        masks.append(sharp * (radius * rng.uniform(0.95, 1.05) - np.hypot(y - cy, x - cx)))
    return torch.tensor(np.stack(masks)).sigmoid()


def test_dependence_and_confidence_against_loops() -> None:
    probs = torch.rand(7, 3, 4, 5, generator=torch.Generator().manual_seed(2)).softmax(1)
    between = total = most = 0.0
    for k in range(3):
        values = probs[:, k].double()
        m = float(values.mean())
        most += m * (1 - m)
        total += float(((values - m) ** 2).mean())
        between += float(np.mean([np.var(values[:, i, j].numpy()) for i in range(4) for j in range(5)]))
    seen = look([probs[:4], probs[4:]])
    assert seen.dependence == pytest.approx(between / total, rel=1e-6)
    assert seen.confidence == pytest.approx(total / most, rel=1e-6) and seen.images == 7


@pytest.mark.parametrize("weight", [0.0, 0.05])
@pytest.mark.parametrize("sharp", [1e4, 60.0])
def test_one_mask_for_all_images_is_a_collapse(sharp: float, weight: float) -> None:
    """Also when a little of each image still shines through."""
    mask = (1 - weight) * _discs(0, sharp)[:1] + weight * _discs(0.15, sharp)
    trouble = look([_two(mask)]).trouble
    assert trouble is not None and "all images get the same mask" in trouble


@pytest.mark.parametrize("sharp", [1e4, 100.0, 60.0])
@pytest.mark.parametrize("move", [0.03, 0.1, 0.2])
def test_centred_objects_that_move_a_little_are_no_collapse(move: float, sharp: float) -> None:
    assert look([_two(_discs(move, sharp))]).trouble is None


def test_the_same_soft_mask_is_not_judged_and_nor_are_few_images() -> None:
    """A raw network gives nearly the same soft map to every image; it may still learn."""
    noise = 0.02 * torch.rand(60, 48, 48, generator=torch.Generator().manual_seed(0))
    soft = look([_two(0.4 + 0.2 * _discs(0, 8.0) + noise)])
    assert soft.dependence < 0.02 and soft.confidence < 0.2 and soft.trouble is None
    assert look([_two(_discs(0, 1e4, n=8))]).trouble is None
    assert look([_two(torch.full((40, 8, 8), 0.6))]).confidence == 0


def test_true_masks_of_photos_are_far_from_a_collapse(shared_data: Path) -> None:
    from decoupe.data.catalogue import open_dataset

    masks = []
    for sample in [s for s in open_dataset(f"flowers17:{shared_data}/data/flowers17").samples if s.truth][:80]:
        masks.append(torch.from_numpy((sample.mask() == 1)[::4, ::4].astype(np.float32))[:40, :40])
    seen: Health = look([_two(torch.stack(masks))])
    assert seen.trouble is None and seen.dependence > 0.4


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
    assert choose(rows, 2.0) is rows[4], "two errors of the best reach further"


def test_an_earlier_stage_stands_in_for_what_ends_badly() -> None:
    def made(images: int, stage: str, healthy: bool = True, areas: tuple[float, ...] = (0.9, 0.06, 0.04)) -> Candidate:
        return Candidate(images, 0.5, Path("x"), healthy, stage, areas=areas)

    sec, good, bad = made(1, "sec"), made(2, "self"), made(2, "self", healthy=False)
    lost = made(2, "self", areas=(0.94, 0.06, 0.0007))
    assert stand_in([sec, good], {"sec"}, good, None) is None
    assert stand_in([sec, lost], {"sec"}, lost, None) == (sec, "self lost region 2")
    assert stand_in([sec, bad], {"sec"}, None, None) == (sec, "self ended with masks that are not healthy")
    assert stand_in([sec, bad], {"sec"}, None, "all gone") == (sec, "all gone")
    assert stand_in([sec], {"sec"}, None, "all gone") == (sec, "all gone")
    assert stand_in([sec, bad], set(), None, "all gone") is None
    assert stand_in([made(1, "sec", healthy=False), bad], {"sec"}, None, "all gone") is None
    assert stand_in([sec], {"sec"}, sec, None) is None
    rare = made(1, "sec", areas=(0.96, 0.04, 0.001)), made(2, "self", areas=(0.96, 0.04, 0.0))
    assert stand_in(rare, {"sec"}, rare[1], None) is None, "what was hardly there cannot be lost"
    words = sentence(None, 1, sec, True, "self lost region 2")
    assert words == "fell back to sec (image 1), whose masks are healthy: self lost region 2"


def test_choose_prefers_settled_snapshots_while_one_of_them_is_healthy() -> None:
    def made(images: int, score: float, settled: bool, healthy: bool = True) -> Candidate:
        return Candidate(images, score, Path("x"), healthy, settled=settled)

    early = [made(1, 0.9, False), made(2, 0.8, False)]
    for rows, expected in [
        ([*early, made(3, 0.5, True), made(4, 0.4, True)], 3),
        ([*early, made(3, 0.5, True, healthy=False)], 1),
        (early, 1),
    ]:
        chosen = choose(rows)
        assert chosen is not None and chosen.images == expected


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
