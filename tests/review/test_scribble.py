"""Scribbles find edges, hold as drawn, and leave the rest of the photo alone."""

from __future__ import annotations

import numpy as np
import pytest

from decoupe.review.scribble import COLOUR, NONE, PLACE, _reach, spread
from tests.review.conftest import disc


def scene(seed: int = 0, size: tuple[int, int] = (240, 320)) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A photo of two bright discs on dark ground with noise, and the discs."""
    rng = np.random.default_rng(seed)
    left, right = (
        disc(*size, 0.5 * size[0], 0.3 * size[1], 0.3 * size[0]),
        disc(*size, 0.5 * size[0], 0.75 * size[1], 0.2 * size[0]),
    )
    photo = rng.normal(70, 6, (*size, 3))
    photo[left | right] += 95
    return photo.clip(0, 255).astype(np.uint8), left, right


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


@pytest.mark.parametrize("size", [(240, 320), (720, 960)])
def test_one_stroke_finds_a_disc_and_not_the_other(size: tuple[int, int]) -> None:
    photo, left, right = scene(size=size)
    mask, strokes = np.zeros(size, np.uint8), np.full(size, NONE, np.uint8)
    y = size[0] // 2
    strokes[y - 2 : y + 3, int(0.2 * size[1]) : int(0.4 * size[1])] = 1
    found = spread(photo, mask, strokes) == 1
    assert iou(found, left) > 0.9 and not (found & right).any()


def test_a_stroke_of_background_takes_away_what_spilled_over() -> None:
    photo, left, right = scene()
    mask = (left | right).astype(np.uint8)
    strokes = np.full(mask.shape, NONE, np.uint8)
    strokes[116:125, 222:258] = 0
    found = spread(photo, mask, strokes)
    assert (found[right] == 0).mean() > 0.9 and (found[left] == 1).mean() > 0.98


def test_strokes_hold_as_drawn_and_nothing_changes_that_they_do_not_touch() -> None:
    photo, left, right = scene(3)
    mask = left.astype(np.uint8)
    mask[5:9, 300:310] = 2
    strokes = np.full(mask.shape, NONE, np.uint8)
    strokes[118:123, 230:250] = 1
    strokes[30:33, 30:60] = 2
    found = spread(photo, mask, strokes)
    assert (found[strokes != NONE] == strokes[strokes != NONE]).all()
    assert (found[5:9, 300:310] == 2).all() and (found[left] == 1).all()
    assert np.array_equal(spread(photo, mask, np.full(mask.shape, NONE, np.uint8)), mask)


def test_the_reach_of_a_stroke_is_its_formula() -> None:
    rng = np.random.default_rng(1)
    photo = rng.integers(0, 255, (11, 17, 3)).astype(np.uint8)
    line = np.zeros((11, 17), bool)
    line[3, 4:9] = line[8, 2] = True
    slow = np.zeros((11, 17))
    for y, x in np.ndindex(11, 17):
        for v, u in zip(*np.nonzero(line), strict=True):
            colour = ((photo[y, x] / 255.0 - photo[v, u] / 255.0) ** 2).mean() / (2 * COLOUR**2)
            place = (((y - v) / 17) ** 2 + ((x - u) / 17) ** 2) / (2 * PLACE**2)
            slow[y, x] = max(slow[y, x], np.exp(-colour - place))
    assert np.abs(_reach(photo, line).numpy() - slow).max() < 1e-3


@pytest.mark.parametrize(("bands", "size"), [(1, (40, 33)), (5, (64, 200)), (3, (1, 50))])
def test_any_bands_and_sizes(bands: int, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 255, (*size, bands)).astype(np.uint8)
    strokes = np.full(size, NONE, np.uint8)
    strokes[0, :5] = 1
    found = spread(photo, np.zeros(size, np.uint8), strokes)
    assert found.shape == size and (found[0, :5] == 1).all() and set(np.unique(found)) <= {0, 1}
