"""Single things that a room found: the formats give those, not the parts of the region's mask."""

from __future__ import annotations

import numpy as np

from decoupe.export.coco import instances
from decoupe.export.csv import _things
from decoupe.export.overlay import number
from decoupe.export.parts import parts, thing
from decoupe.instances import to_instances, to_map
from decoupe.types import Regions


def _touching() -> tuple[Regions, np.ndarray]:
    """Two squares that share a side: one component, two things."""
    labels = np.zeros((40, 60), np.int32)
    labels[10:30, 10:30], labels[10:30, 30:50] = 1, 2
    chance = (labels > 0).astype(np.float32)
    found = to_instances(labels, np.where(labels == 1, 0.9, 0.4).astype(np.float32))
    return Regions(np.stack([1 - chance, chance]), ("background", "object"), instances=tuple(found)), labels


def test_parts_are_the_things_with_their_masks_and_scores() -> None:
    regions, labels = _touching()
    found = list(parts(regions))
    assert [(part.y, part.x, part.area, part.score) for part in found] == [(10, 10, 400, 0.9), (10, 30, 400, 0.4)]
    for index, part in enumerate(found, start=1):
        box = labels[part.y : part.y + part.mask.shape[0], part.x : part.x + part.mask.shape[1]]
        assert np.array_equal(part.mask, box == index)
    assert [one[3:7] for one in instances(regions)] == [[10, 10, 20, 20], [30, 10, 20, 20]]
    assert len(list(parts(Regions(regions.probs, regions.names)))) == 1


def test_a_thing_of_no_pixels_is_an_empty_part() -> None:
    empty = to_instances(np.array([[0, 1]], np.int32))[0]
    nothing = type(empty)((4, 5), (20,), 0.5, 1)
    assert thing(nothing).area == 0


def test_the_table_counts_the_things() -> None:
    regions, _ = _touching()
    assert _things(regions, 1) == 2 and _things(regions, 0) == 0


def test_the_overlay_outlines_and_numbers_every_thing() -> None:
    regions, labels = _touching()
    plain = np.full((40, 60, 3), 90, np.uint8)
    drawn = number(plain, np.zeros(labels.shape, np.uint8), regions.names, [(0, 0, 0), (9, 9, 9)], regions.instances)
    assert drawn.shape == (80, 120, 3) and plain.max() == 90  # twice as large: 20 px are too few for a number
    assert np.array_equal(to_map(regions.instances, (40, 60)), labels)
    assert (drawn[24:56, 59:61] == 255).all()  # the side that the two share
    for left in (12, 32):
        assert (drawn[28:52, 2 * left + 4 : 2 * left + 32] != 90).any()  # a number in each
    assert (drawn[:16] == 90).all()
