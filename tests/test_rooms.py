"""The contract: what every room keeps, whatever its method."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from decoupe.engine.seeding import mix
from decoupe.errors import Fault
from decoupe.methods import ROOMS
from decoupe.methods.config import read_config
from decoupe.methods.room import Batch, Draw, Room, TrainingData, to_unit
from tests.tiny import build, loop, photos, steps, stopping

ALL = list(ROOMS)
TRAINED = [name for name in ALL if build(name)[0].stages()]


def _batch(room: Room, data: TrainingData, seed: int = 0) -> Batch:
    device = torch.device("cpu")
    images, backgrounds = to_unit(data.images[:8], device), to_unit(data.backgrounds[:8], device)
    return Batch(torch.arange(8), images, backgrounds, Draw(seed, 8), 0.5)


def _ready(name: str, **options: Any) -> tuple[Room, TrainingData]:
    room, data = build(name, **options)
    room.prepare(data)
    return room, data


@pytest.mark.parametrize("name", ALL)
def test_default_config_and_every_preset_are_valid(name: str) -> None:
    kind = ROOMS[name].config()
    for config in (kind(), *ROOMS[name].presets().values()):
        assert read_config(kind, dataclasses.asdict(config), "the test") == config


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("size", [(32, 32), (33, 47), (50, 32)])
def test_segment_keeps_size_and_sums_to_one(name: str, channels: int, size: tuple[int, int]) -> None:
    room, _ = _ready(name, channels=channels)
    room.eval()
    images = torch.rand(2, channels, *size, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        probs = room.segment(images)
    assert probs.shape == (2, len(room.regions), *size) and probs.dtype == torch.float32
    assert float(probs.min()) >= 0
    assert torch.allclose(probs.sum(1), torch.ones(2, *size), atol=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_segment_keeps_the_frame(name: str) -> None:
    """An image and its segmentation do not depend on what else is in the batch."""
    room, data = _ready(name)
    room.eval()
    images = to_unit(photos(3, seed=4), torch.device("cpu"))
    with torch.no_grad():
        together, alone = room.segment(images), torch.cat([room.segment(one[None]) for one in images])
    if getattr(room.config, "kind", "") != "random":
        assert torch.allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_embeddings_are_one_row_per_image_whatever_is_beside_it(name: str) -> None:
    """And what only they need is stored under prefixes that exist. A room without embeddings gives none."""
    room, _ = _ready(name)
    room.eval()
    images = to_unit(photos(3, seed=4), torch.device("cpu"))
    with torch.no_grad():
        together, alone = room.embed(images), [room.embed(one[None]) for one in images]
    for kind, rows in together.items():
        assert rows.ndim == 2 and len(rows) == 3 and rows.shape[1] > 0 and bool(rows.isfinite().all()), kind
        assert torch.allclose(rows, torch.cat([one[kind] for one in alone]), rtol=1e-3, atol=1e-4), kind
        assert not torch.allclose(rows[0], rows[1]), kind
    assert all(any(key.startswith(prefix) for key in room.state_dict()) for prefix in room.kept)
    assert together or not room.kept


@pytest.mark.parametrize("name", ALL)
def test_same_seed_same_weights(name: str) -> None:
    first, second, other = (_ready(name, seed=s)[0].state_dict() for s in (3, 3, 4))
    assert all(torch.equal(first[k], second[k]) for k in first)
    if name in TRAINED:
        assert any(not torch.equal(first[k], other[k]) for k in first)


@pytest.mark.parametrize("name", TRAINED)
def test_each_phase_changes_its_own_parameters_and_no_others(name: str) -> None:
    room, data = _ready(name)
    for step in steps(room, data, lambda stage: _batch(room, data, mix(stage))):
        assert step.loss.isfinite()
        assert step.changed, step.phase
        assert all(step.changed.values()), f"{step.phase} changed {step.changed}"


@pytest.mark.parametrize("name", TRAINED)
def test_bf16_losses_are_finite_and_near_fp32(name: str) -> None:
    room, data = _ready(name)
    for index in range(len(room.stages())):
        room.enter(index, data, True)
        for phase in room.stages()[index].phases:
            room.eval()
            full, _ = phase(_batch(room, data))
            with torch.autocast("cpu", torch.bfloat16):
                half, _ = phase(_batch(room, data))
            assert half.isfinite() and float(half.detach()) == pytest.approx(float(full.detach()), rel=0.1, abs=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINED)
def test_stop_and_resume_equals_a_straight_run(name: str, tmp_path: Path) -> None:
    straight = loop(name, tmp_path / "straight")
    straight.train(False)
    for stop in (8, 104, 136):
        folder = tmp_path / f"stopped-{stop}"
        with pytest.raises(Exception, match="Resume"):
            stopping(loop(name, folder), stop).train(False)
        resumed = loop(name, folder, resume=True)
        resumed.train(True)
        assert resumed.counters.images == straight.counters.images
        left, right = straight.room.state_dict(), resumed.room.state_dict()
        assert [k for k in left if not torch.equal(left[k], right[k])] == []
        assert [c.score for c in resumed.run.candidates()] == [c.score for c in straight.run.candidates()]


@pytest.mark.parametrize("name", ALL)
def test_unknown_and_wrong_settings_name_the_remedy(name: str) -> None:
    kind = ROOMS[name].config()
    for wrong in ({"no_such_setting": 1}, {"size": "large"}, {"size": 7}, {"size": float("nan")}, {"size": 10**9}):
        with pytest.raises(Fault) as caught:
            read_config(kind, wrong, "run.json")
        assert "; " in str(caught.value) and "\n" not in str(caught.value)
