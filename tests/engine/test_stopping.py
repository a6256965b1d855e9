"""A collapse may end a run, and a stage may end before its budget: both by what the masks tell, never by labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from decoupe import cli
from decoupe.engine.loop import Loop
from decoupe.engine.runfolder import Run
from decoupe.engine.tensors import load_tensors
from decoupe.errors import Collapsed, Interrupted
from decoupe.fit import fit
from decoupe.report import story
from tests.tiny import TINY, loop

Score = Callable[[int], float]


def _one_region(images: Tensor) -> Tensor:
    return torch.cat([torch.ones_like(images[:, :1]), torch.zeros_like(images[:, :1])], 1)


@pytest.fixture
def hopeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A room whose every mask is full, judged from the first image on."""
    monkeypatch.setattr("decoupe.engine.keeper.PATIENCE", 0)
    monkeypatch.setattr(
        "decoupe.methods.independence.room.Independence.segment", lambda self, images: _one_region(images)
    )


@pytest.mark.parametrize(("restarts", "attempts"), [(0, 1), (1, 2)])
def test_a_run_that_collapses_for_good_ends_so_and_can_be_studied(
    hopeless: None, photos: Path, tmp_path: Path, restarts: int, attempts: int
) -> None:
    with pytest.raises(Collapsed, match="region 0 covers 100.0%"):
        fit("independence", photos, run=tmp_path / "run", restarts=restarts, precision="fp32", **TINY["independence"])
    run = Run.open(tmp_path / "run")
    health = run.info["health"]
    assert run.info["status"] == "collapsed" and not health["healthy"] and len(health["restarts"]) == attempts - 1
    found = [row for row in run.metrics() if row.get("healthy") is False]
    assert found and len(found) <= attempts
    assert health["collapsed_at"] == (health["restarts"][0]["images"] if restarts else found[0]["images"])
    last = run.candidates()[-1]
    assert not last.healthy and load_tensors(run.verify(f"candidates/{last.path.name}"))[0]
    assert "weights.safetensors" not in run.info["files"] and (run.path / "report.html").is_file()


def test_restarts_are_recorded_and_kept_on_resume(hopeless: None, photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    words = ["fit", "independence", "--images", str(photos), "--run", str(folder), "--restarts", "0"]
    words += [word for k, v in TINY["independence"].items() for word in (f"--{k.replace('_', '-')}", str(v))]
    assert cli.main(words) == 1
    assert Run.open(folder).info["settings"]["restarts"] == 0
    assert cli.main(["fit", "independence", "--run", str(folder), "--resume", "--restarts", "2"]) == 1
    assert Run.open(folder).info["health"]["restarts"] == []


@pytest.mark.slow
def test_a_run_that_recovered_says_when_it_first_collapsed(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, poisoned = Loop._train, []

    def poison(self: Loop, *arguments: Any) -> None:
        if self.counters.stage == 1 and not poisoned:
            poisoned.append(self.counters.images)
            next(self.room.members[1].parameters()).data.fill_(float("nan"))  # type: ignore[union-attr]
        train(self, *arguments)

    monkeypatch.setattr(Loop, "_train", poison)
    monkeypatch.setattr("decoupe.engine.health.FULL", 2.0)
    fit("independence", photos, run=tmp_path / "run", precision="fp32", **TINY["independence"])
    info = Run.open(tmp_path / "run").info
    assert info["status"] == "done" and len(info["health"]["restarts"]) == 1
    assert info["health"]["collapsed_at"] == poisoned[0] + 8


def test_a_run_without_collapse_has_no_moment_of_it(tiny_run: Path) -> None:
    run = Run.open(tiny_run)
    assert run.info["health"]["collapsed_at"] is None
    checks = [row for row in run.metrics() if "areas" in row]
    assert checks and all(0 <= row["dependence"] <= 1 and 0 <= row["confidence"] <= 1 for row in checks)
    assert "0 is one mask for all" in (tiny_run / "report.html").read_text()


# ------------------------------------------------------------------ patience


def _patient(folder: Path, patience: int | None, score: Score, resume: bool = False) -> Loop:
    """A tiny loop whose last stage waits `patience` checks; its score is a function of the images of the stage."""
    trainer = loop("independence", folder, resume=resume, members=1, rounds=1, student_images=160)
    make = trainer.room.stages

    def stages() -> list[Any]:
        first, *_, last = make()
        return [first, dataclasses.replace(last, patience=patience, watched_from=0.0, checks=10)]

    def scores(images: Tensor) -> Tensor:
        return score(trainer.counters.stage_images) + 0.1 * (torch.arange(len(images)) % 2)

    trainer.room.stages, trainer.room.score = stages, scores  # type: ignore[method-assign]
    return trainer


def _rising_to(top: int) -> Score:
    return lambda images: 0.2 + 0.05 * min(images, top) / 16


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judged from the first image on, and never found collapsed."""
    monkeypatch.setattr("decoupe.engine.keeper.PATIENCE", 0)
    monkeypatch.setattr("decoupe.engine.health.FULL", 2.0)


@pytest.mark.parametrize(("patience", "top", "end"), [(2, 64, 96), (3, 32, 80), (2, 160, 160), (None, 16, 160)])
@pytest.mark.slow
def test_a_stage_ends_when_its_score_has_stopped_rising(
    watched: None, tmp_path: Path, patience: int | None, top: int, end: int
) -> None:
    trainer = _patient(tmp_path / "run", patience, _rising_to(top))
    trainer.train(False)
    assert trainer.counters.finished and trainer.run.candidates()[-1].images == trainer.counters.images == 48 + end
    events = [row for row in trainer.run.metrics() if row.get("event") == "stopped"]
    assert len(events) == (end < 160)
    if events:
        assert events[0]["images"] == 48 + end and f"for {patience} checks" in events[0]["message"]
        assert story.health(trainer.run, trainer.run.metrics())[1] == [
            events[0]["message"][0].upper() + events[0]["message"][1:] + "."
        ]


@pytest.mark.slow
def test_a_rise_within_the_standard_error_is_none(watched: None, tmp_path: Path) -> None:
    """Error of these scores: .05 / sqrt(40) = .0079; a rise of .003 per check counts at every third one."""
    steps = _patient(tmp_path / "a", 3, lambda images: 0.2 + 0.003 * images / 16)
    steps.train(False)
    assert steps.counters.stage == 2 and steps.counters.images == 48 + 160
    short = _patient(tmp_path / "b", 2, lambda images: 0.2 + 0.003 * images / 16)
    short.train(False)
    assert short.counters.images == 48 + 48


@pytest.mark.slow
def test_stopping_early_is_the_same_after_an_interruption(watched: None, tmp_path: Path) -> None:
    straight = _patient(tmp_path / "straight", 2, _rising_to(64))
    straight.train(False)
    for stop in (48 + 64, 48 + 80, 48 + 88, 48 + 96):
        folder = tmp_path / f"stopped-{stop}"
        part = _patient(folder, 2, _rising_to(64))
        tick = part._tick

        def signal_at(part: Loop = part, tick: Any = tick, stop: int = stop) -> None:
            tick()
            part._signal = int(part.counters.images >= stop)

        part._tick = signal_at  # type: ignore[method-assign]
        with pytest.raises(Interrupted):
            part.train(False)
        resumed = _patient(folder, 2, _rising_to(64), resume=True)
        resumed.train(True)
        left, right = straight.room.state_dict(), resumed.room.state_dict()
        assert resumed.counters.images == straight.counters.images == 48 + 96
        assert [k for k in left if not torch.equal(left[k], right[k])] == []
        events = [row for row in resumed.run.metrics() if row.get("event") == "stopped"]
        assert len(events) == 1


def test_snapshots_at_the_end_of_a_stage_that_settles_are_marked(watched: None, tmp_path: Path) -> None:
    trainer = _patient(tmp_path / "run", None, _rising_to(160))
    make = trainer.room.stages
    trainer.room.stages = (
        lambda: [  # type: ignore[method-assign]
            *make()[:-1],
            dataclasses.replace(make()[-1], settles=0.85),
        ]
    )
    trainer.train(False)
    stage = [c for c in trainer.run.candidates() if c.score is not None]
    assert [c.images - 48 for c in stage if c.settled] == [144, 160] and len(stage) == 10
