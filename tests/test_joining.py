"""Regions that have the same neighbours become one, without labels; merges can be taken back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import decoupe
from decoupe.engine.runfolder import Run
from decoupe.errors import Fault, UsageFault
from decoupe.joining import joined, neighbours
from decoupe.model import Model
from decoupe.naming import name


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """k-means of photos whose left half mixes two reds at random, and whose right half mixes two blues."""
    monkeypatch.setenv("DECOUPE_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    tones = np.array([[250, 20, 20], [150, 10, 10], [20, 20, 250], [10, 10, 150]], np.uint8)
    (tmp_path / "photos").mkdir()
    for index in range(6):
        which = rng.integers(0, 2, (64, 64))
        which[:, 32:] += 2
        Image.fromarray(tones[which]).save(tmp_path / f"photos/{index}.png")
    decoupe.fit("baselines", tmp_path / "photos", run=tmp_path / "run", kind="kmeans-1x1", k=4, size=64)
    return tmp_path / "run"


def test_what_is_mixed_is_joined(run: Path) -> None:
    model = Model(Run.open(run))
    tones = model.room.state_dict()["centres"].flatten(1)
    reds = {int(i) for i in (tones[:, 0] > tones[:, 2]).nonzero()}
    done = name(run, join=2)
    assert sorted(map(set, done["merge"]), key=min) == sorted([reds, {0, 1, 2, 3} - reds], key=min)
    assert len(decoupe.load(run).names) == 2
    assert name(run, join=4)["merge"] == [] and len(decoupe.load(run).names) == 4


def test_neighbours_are_counted_alike_in_both_directions(run: Path) -> None:
    joint = neighbours(Model(Run.open(run)), Run.open(run).info["settings"]["images"])
    assert joint.shape == (4, 4) and float(joint.sum()) == pytest.approx(1)
    assert bool((joint - joint.T).abs().max() < 1e-9) and float(joint.min()) >= 0


def test_what_cannot_be_joined_changes_nothing(run: Path) -> None:
    before = (run / "names.json").read_bytes()
    for count in (1, 5):
        with pytest.raises(UsageFault, match="--join from 2 to 4"):
            name(run, join=count)
    opened = Run.open(run)
    opened.info["settings"] = {}
    with pytest.raises(Fault, match="--images PATH"):
        joined(opened, 2)
    assert (run / "names.json").read_bytes() == before
