"""The loop: restarts after collapse, kill -9 at random moments, several processes, budgets."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from decoupe.engine.checkpoint import Counters
from decoupe.engine.keeper import GaveUp
from decoupe.engine.runfolder import Run
from decoupe.engine.schedule import plan
from decoupe.engine.tensors import load_tensors
from decoupe.errors import Fault
from decoupe.methods.room import Stage
from tests.tiny import loop

ROOT = Path(__file__).resolve().parents[2]


def test_collapse_rolls_back_with_a_new_seed_and_gives_up_after_three(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("decoupe.engine.keeper.PATIENCE", 0)
    trainer = loop("independence", tmp_path / "run")
    trainer.room.segment = (
        lambda images: torch.cat(  # type: ignore[method-assign]
            [torch.ones_like(images[:, :1]), torch.zeros_like(images[:, :1])], 1
        )
    )
    with pytest.raises(GaveUp, match="region 0 covers 100.0% of all images"):
        trainer.train(False)
    events = [row for row in trainer.run.metrics() if row.get("event") == "restart"]
    assert [e["message"].split("restart ")[1][0] for e in events] == ["1", "2", "3"][-len(events) :]
    assert len(trainer.counters.restarts) == 3
    assert len({r["seed"] for r in trainer.counters.restarts}) == 3


@pytest.mark.slow
def test_one_bad_moment_costs_one_restart_and_the_run_ends_well(tmp_path: Path) -> None:
    trainer = loop("independence", tmp_path / "run")
    train, poisoned = trainer._train, []

    def poison(*arguments: Any) -> None:
        if trainer.counters.stage == 1 and not poisoned:
            poisoned.append(True)
            next(trainer.room.members[1].parameters()).data.fill_(float("nan"))  # type: ignore[union-attr]
        train(*arguments)

    trainer._train = poison  # type: ignore[method-assign]
    trainer.train(False)
    assert len(trainer.counters.restarts) == 1 and "finite" in trainer.counters.restarts[0]["trouble"]
    assert trainer.counters.finished
    assert all(t.isfinite().all() for t in trainer.room.state_dict().values())


SCRIPT = """
import sys
from pathlib import Path
from tests.tiny import loop
folder = Path(sys.argv[1])
resume = (folder / "run.json").exists()
trainer = loop("independence", folder, resume=resume, member_images=240, student_images=320)
trainer.train(resume and "checkpoint" in trainer.run.info)
"""


def _start(folder: Path) -> subprocess.Popen[bytes]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-c", SCRIPT, str(folder)], env=environment, stderr=subprocess.PIPE)


def _finish(folder: Path) -> dict[str, torch.Tensor]:
    process = _start(folder)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors.decode()[-2000:]
    run = Run.open(folder)
    tensors, _ = load_tensors(run.verify(run.info["checkpoint"]))
    return tensors


@pytest.mark.slow
def test_kill_9_at_random_moments_then_resume_is_bit_identical(tmp_path: Path) -> None:
    straight = _finish(tmp_path / "straight")
    rng, killed = random.Random(5), 0
    folder = tmp_path / "killed"
    while killed < 5:
        process = _start(folder)
        began = time.monotonic()
        while not (folder / "metrics.jsonl").exists() and time.monotonic() - began < 60 and process.poll() is None:
            time.sleep(0.02)
        time.sleep(rng.uniform(0, 1.2))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            killed += 1
        process.communicate()
        if process.returncode == 0:
            break
    assert killed >= 2
    resumed = _finish(folder)
    assert [k for k in straight if not torch.equal(straight[k], resumed[k])] == []


def test_budgets_share_what_they_have_and_fixed_stages_leave_the_rest() -> None:
    stages = [Stage("a", (), 100, fixed=True), Stage("b", (), 300)]
    assert plan(stages, Counters(), 10, None, None).images == 100
    assert plan(stages, Counters(), 10, 200, None).images == 50
    assert plan(stages, Counters(), 10, 4000, None).images == 100
    later = Counters(stage=1, images=100)
    assert plan(stages, later, 10, 4000, None).images == 3900
    assert plan(stages, later, 10, None, 60).seconds == pytest.approx(60)
    timed = plan(stages, Counters(seconds=20), 10, None, 100)
    assert timed.images == 100 and timed.seconds == pytest.approx(20)  # (100 - 20) / 4


@pytest.mark.slow
def test_a_strangers_checkpoint_is_refused(tmp_path: Path) -> None:
    trainer = loop("independence", tmp_path / "run")
    trainer.train(False)
    name = trainer.run.info["checkpoint"]
    torch.save({"a": 1}, tmp_path / "run" / name)
    with pytest.raises(Fault, match="recorded sha256"):
        loop("independence", tmp_path / "run", resume=True).train(True)
