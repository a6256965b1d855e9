"""Numbers on things: where they stand, and that small things are enlarged until they can be read."""

from __future__ import annotations

import numpy as np
import pytest

from decoupe.export.overlay import LARGEST, number
from decoupe.instances import to_instances

NAMES, COLOURS = ("background", "object"), [(0, 0, 0), (80, 160, 240)]


def disks(side: int, diameter: int, shape: tuple[int, int] = (120, 160)) -> np.ndarray:
    """(H, W) int32: disks of `diameter` px on a grid of `side` px, numbered in reading order."""
    labels = np.zeros(shape, np.int32)
    y, x = np.mgrid[: shape[0], : shape[1]]
    inside = (y % side - side / 2 + 0.5) ** 2 + (x % side - side / 2 + 0.5) ** 2 <= (diameter / 2) ** 2
    cell = (y // side) * (shape[1] // side) + x // side + 1
    labels[inside] = cell[inside]
    return labels


@pytest.mark.parametrize(("side", "diameter", "factor"), [(40, 32, 1), (20, 14, 2), (8, 6, 5)])
def test_small_things_are_enlarged_until_a_number_fits(side: int, diameter: int, factor: int) -> None:
    labels = disks(side, diameter)
    photo = np.full((*labels.shape, 3), 90, np.uint8)
    painted = number(photo, np.zeros(labels.shape, np.uint8), NAMES, COLOURS, to_instances(labels))
    assert painted.shape == (labels.shape[0] * factor, labels.shape[1] * factor, 3)
    for row, column in ((0, 0), (1, 2)):  # ink of the number around the middle of its thing, none between things
        middle = [int((cell + 0.5) * side * factor) for cell in (row, column)]
        reach = max(4, factor * diameter // 5)
        near = painted[middle[0] - reach : middle[0] + reach, middle[1] - reach : middle[1] + reach]
        assert near.max() > 200 and near.min() < 60
        corner = painted[row * side * factor, column * side * factor]
        assert (corner == 90).all()


def test_large_pictures_stay_and_no_things_change_nothing() -> None:
    labels = np.zeros((20, LARGEST // 2 + 1), np.int32)
    labels[4:7, 10:13] = 1
    photo = np.full((*labels.shape, 3), 50, np.uint8)
    flat = np.zeros(labels.shape, np.uint8)
    assert number(photo, flat, NAMES, COLOURS, to_instances(labels)).shape == photo.shape
    assert (number(photo, flat, NAMES, COLOURS, []) == photo).all()
