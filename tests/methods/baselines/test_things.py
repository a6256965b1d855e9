"""`otsu-components` counts discs of either tone, and its region is the union of its things."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from decoupe.evaluate.instances import count_error, f1_of, overlap
from decoupe.instances import to_map
from decoupe.methods.baselines.config import Config
from decoupe.methods.baselines.room import Baselines
from decoupe.methods.baselines.things import otsu_components
from decoupe.methods.room import DataSpec

CENTRES = [(20, 20), (20, 37), (20, 70), (55, 25), (60, 60), (60, 77), (75, 87)]
"""Three things alone, two that touch, and a chain of three."""


def photo(bright: bool, bands: int) -> tuple[np.ndarray, np.ndarray]:
    """(H, W, bands) uint8 of noisy discs with specks, and its label map."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:96, :100]
    distance = np.stack([(y - cy) ** 2 + (x - cx) ** 2 for cy, cx in CENTRES])
    truth = np.where(distance.min(0) <= 100, distance.argmin(0) + 1, 0).astype(np.int32)
    seen = truth > 0
    seen[rng.integers(1, 95, 30), rng.integers(1, 99, 30)] ^= True
    grey = np.where(seen == bright, 190, 60) + rng.normal(0, 12, seen.shape)
    return np.clip(grey, 0, 255).astype(np.uint8)[..., None].repeat(bands, 2), truth


@pytest.mark.parametrize("bright", [True, False])
@pytest.mark.parametrize("bands", [1, 3, 5])
def test_discs_that_touch_are_counted(bright: bool, bands: int) -> None:
    image, truth = photo(bright, bands)
    found = overlap(otsu_components(image), truth)
    assert count_error(found) == 0 and f1_of(found) == 1 and found.iou.max(1).min() > 0.85
    assert len(otsu_components(image, smallest=10_000)) == 0


def test_its_region_is_the_union_of_its_things() -> None:
    image, _ = photo(True, 3)
    room = Baselines(Config(kind="otsu-components", size=96), DataSpec(3, 96))
    probs = room.segment(torch.from_numpy(image).movedim(2, 0)[None].float() / 127.5 - 1)
    assert room.regions == ("background", "object")
    assert np.array_equal(probs[0, 1].numpy() > 0.5, to_map(otsu_components(image), (96, 100)) > 0)
