"""Several seeds: what is skipped, resumed and counted; one process after another, or one per place."""

from __future__ import annotations

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from decoupe import seeds
from decoupe.cli import main
from decoupe.engine.loop import Loop
from decoupe.engine.runfolder import Run
from decoupe.engine.tensors import load_tensors
from decoupe.errors import Fault, Interrupted, UsageFault
from decoupe.evaluate.metrics import wilson
from decoupe.fit import fit
from decoupe.seeds import fit_seeds, lines, summary
from tests.tiny import TINY

TINIEST = TINY["independence"] | {"members": 1, "rounds": 1}


@pytest.fixture
def unjudged(monkeypatch: pytest.MonkeyPatch) -> None:
    """So short a run learns nothing: its areas are not judged."""
    monkeypatch.setattr("decoupe.engine.health.FULL", 2.0)


def _poison(monkeypatch: pytest.MonkeyPatch, seed: int, times: int) -> None:
    """Runs of `seed` collapse that many times, at the first step of their last stage."""
    train, done = Loop._train, [0]

    def poisoned(self: Loop, *arguments: Any) -> None:
        if self.run.info["seed"] == seed and self.counters.stage == 1 and done[0] < times:
            done[0] += 1
            next(self.room.student.parameters()).data.fill_(float("nan"))  # type: ignore[union-attr]
        train(self, *arguments)

    monkeypatch.setattr(Loop, "_train", poisoned)


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_tensors(Run.open(folder).verify("weights.safetensors"))[0]


def test_runs_collapses_and_recoveries_are_counted_apart(
    unjudged: None, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _poison(monkeypatch, 4, 1)
    name = tmp_path / "study"
    found = fit_seeds("independence", photos, seeds=2, run=name, seed=4, precision="fp32", restarts=1, **TINIEST)
    assert json.loads((tmp_path / "study-seeds.json").read_bytes()) == found
    first, second = found["runs"]
    assert (first["seed"], first["status"], first["restarts"], first["collapsed_at"]) == (4, "done", 1, 56)
    assert (second["seed"], second["status"], second["restarts"], second["collapsed_at"]) == (5, "done", 0, None)
    told = found["summary"]
    assert told["method"] == {"collapsed": 1, "rate": 0.5, "interval": list(wilson(1, 2))}
    assert told["lost"] == {"collapsed": 0, "rate": 0.0, "interval": list(wilson(0, 2))}
    assert told["images_to_collapse"] == {"mean": 56, "min": 56, "max": 56}
    scores = [Run.open(tmp_path / f"study-s{s}").info["selection"]["score"] for s in (4, 5)]
    assert told["score"] == pytest.approx({"n": 2, "mean": sum(scores) / 2, "deviation": statistics.stdev(scores)})
    fit("independence", photos, run=tmp_path / "alone", seed=5, precision="fp32", **TINIEST)
    alone, same = _weights(tmp_path / "alone"), _weights(tmp_path / "study-s5")
    assert all(torch.equal(alone[k], same[k]) for k in alone)


def test_a_run_that_is_lost_does_not_end_the_others(
    unjudged: None, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _poison(monkeypatch, 0, 1)
    found = fit_seeds("independence", photos, seeds=2, run=tmp_path / "s", precision="fp32", restarts=0, **TINIEST)
    assert [row["status"] for row in found["runs"]] == ["collapsed", "done"]
    assert found["summary"]["method"]["collapsed"] == found["summary"]["lost"]["collapsed"] == 1
    assert found["summary"]["score"]["n"] == 1 and found["summary"]["score"]["deviation"] is None


@pytest.mark.slow
def test_the_same_command_again_skips_what_is_over_and_goes_on_with_the_rest(
    unjudged: None, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, settings = tmp_path / "study", {"precision": "fp32", **TINIEST}
    straight = fit_seeds("independence", photos, seeds=2, run=tmp_path / "straight", **settings)
    tick = Loop._tick

    def stop_in_the_second(self: Loop) -> None:
        tick(self)
        self._signal = int(self.run.info["seed"] == 1 and self.counters.images >= 40)

    monkeypatch.setattr(Loop, "_tick", stop_in_the_second)
    with pytest.raises(Interrupted, match="Resume: decoupe fit again"):
        fit_seeds("independence", photos, seeds=2, run=name, command="decoupe fit again", **settings)
    monkeypatch.setattr(Loop, "_tick", tick)
    kept = json.loads(Path(f"{name}-seeds.json").read_bytes())
    assert [row["status"] for row in kept["runs"]] == ["done", "training"] and kept["summary"]["runs"] == 1
    (tmp_path / "study-s0" / "weights.safetensors").touch()
    before = (tmp_path / "study-s0" / "run.json").stat().st_mtime_ns
    again = fit_seeds("independence", photos, seeds=2, run=name, **settings)
    assert (tmp_path / "study-s0" / "run.json").stat().st_mtime_ns == before
    assert [row["score"] for row in again["runs"]] == [row["score"] for row in straight["runs"]]
    one, other = _weights(tmp_path / "straight-s1"), _weights(tmp_path / "study-s1")
    assert all(torch.equal(one[k], other[k]) for k in one)
    more = fit_seeds("independence", photos, seeds=3, run=name, **settings)
    assert [row["seed"] for row in more["runs"]] == [0, 1, 2]
    with pytest.raises(Fault, match=r"width 8 there, 12 now|options .* there"):
        fit_seeds("independence", photos, seeds=2, run=name, **(settings | {"width": 12}))
    with pytest.raises(Fault, match="restarts 3 there, 0 now"):
        fit_seeds("independence", photos, seeds=2, run=name, restarts=0, **settings)


def test_a_run_that_had_not_begun_is_begun(unjudged: None, photos: Path, tmp_path: Path) -> None:
    Run.create(tmp_path / "s-s0", "baselines")
    found = fit_seeds("baselines", photos, seeds=1, run=tmp_path / "s", kind="otsu", size=32)
    assert found["runs"][0]["status"] == "done" and found["summary"]["score"] is None


@pytest.mark.slow
def test_places_work_side_by_side_and_give_the_same(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes on this machine stand for two devices; a closed-form room, so that nothing has to be judged."""
    settings = {"kind": "kmeans-1x1", "size": 32, "k": 2}
    one = fit_seeds("baselines", photos, seeds=3, run=tmp_path / "one", **settings)
    monkeypatch.setattr(seeds, "_places", lambda devices: [{"DECOUPE_TEST_PLACE": str(n)} for n in range(2)])
    two = fit_seeds("baselines", photos, seeds=3, run=tmp_path / "two", **settings)
    assert [row["status"] for row in two["runs"]] == ["done"] * 3 == [row["status"] for row in one["runs"]]
    for n in range(3):
        left, right = _weights(tmp_path / f"one-s{n}"), _weights(tmp_path / f"two-s{n}")
        assert all(torch.equal(left[k], right[k]) for k in left)
    shutil.rmtree(tmp_path / "two-s1")
    (tmp_path / "two-s1").mkdir()
    (tmp_path / "two-s1" / "letter.txt").write_text("keep me")
    shutil.rmtree(tmp_path / "two-s2")
    with pytest.raises(Fault, match="a run to finish"):
        fit_seeds("baselines", photos, seeds=3, run=tmp_path / "two", **settings)


def test_a_place_is_a_device_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [place["CUDA_VISIBLE_DEVICES"] for place in seeds._places(1)] == ["0", "1"]
    for visible, names in (("3,5", ["3", "5"]), ("GPU-ab, GPU-cd", ["GPU-ab", "GPU-cd"]), ("2,1,-1,0", ["2", "1"])):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert [place["CUDA_VISIBLE_DEVICES"] for place in seeds._places(1)] == names
    assert seeds._places(2) == [{}]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert seeds._places(1) == [{}]


@pytest.mark.slow
def test_a_run_that_fails_lets_the_others_save_and_all_share_one_precision(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seed 0 trains for long; seed 1 begins when the precision is measured, and fails; seed 2 never begins."""
    monkeypatch.setattr(seeds, "_places", lambda devices: [{}, {}])
    (tmp_path / "s-s1").mkdir()
    (tmp_path / "s-s1" / "letter.txt").write_text("keep me")
    settings: dict[str, Any] = TINIEST | {"student_images": 400_000, "restarts": 0}
    with pytest.raises(Fault, match="a run to finish, got one that ended with code 1"):
        fit_seeds("independence", photos, seeds=3, run=tmp_path / "s", **settings)
    info = Run.open(tmp_path / "s-s0", verify=False).info
    assert info["status"] == "training" and "checkpoint" in info  # it saved
    assert not (tmp_path / "s-s2").exists()
    kept = json.loads((tmp_path / "s-seeds.json").read_bytes())
    assert [(row["seed"], row["status"]) for row in kept["runs"]] == [(0, "training")]
    shutil.rmtree(tmp_path / "s-s1")
    jobs: list[Any] = []

    def asked(count: int, job: Any, places: Any, ended: Any) -> bool:
        jobs.extend(job(index) for index in range(count))
        return False

    monkeypatch.setattr(seeds.launch, "spread", asked)
    fit_seeds("independence", photos, seeds=3, run=tmp_path / "s", **settings)
    assert [one["precision"] for one in jobs] == [info["precision"]] * 3
    shutil.rmtree(tmp_path / "s-s0")
    jobs.clear()
    fit_seeds("independence", photos, seeds=3, run=tmp_path / "s", **settings)
    assert jobs[0]["precision"] is None and jobs[1:] == [None, None]  # not before the first has measured it


PLACES = """
import sys
from decoupe import seeds
from decoupe.cli import main
seeds._places = lambda devices: [{}, {}]
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_a_signal_stops_all_places_and_the_same_command_goes_on(photos: Path, tmp_path: Path) -> None:
    options = TINIEST | {"student_images": 4000}
    words = ["fit", "independence", "--images", str(photos), "--run", str(tmp_path / "s"), "--seeds", "3"]
    words += ["--precision", "fp32", "--restarts", "0"]
    words += [word for k, v in options.items() for word in (f"--{k.replace('_', '-')}", str(v))]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", PLACES, *words]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    began = time.monotonic()
    while time.monotonic() - began < 90 and not all((tmp_path / f"s-s{n}" / "samples").exists() for n in (0, 1)):
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1 and "Resume: decoupe" in said
    assert not (tmp_path / "s-s2").exists()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-2000:]
    content = json.loads((tmp_path / "s-seeds.json").read_bytes())
    assert [row["status"] in ("done", "collapsed") for row in content["runs"]] == [True] * 3


def test_the_summary_of_given_rows() -> None:
    def row(seed: int, **changes: Any) -> dict[str, Any]:
        plain = {"status": "done", "healthy": True, "restarts": 0, "collapsed_at": None, "score": 0.5 + seed / 10}
        return {"seed": seed} | plain | changes

    rows = [
        row(0),
        row(1, restarts=1, collapsed_at=3000),
        row(2, status="collapsed", healthy=False, restarts=3, collapsed_at=1000, score=None),
        row(3, healthy=False),
        row(4, status="training", healthy=None, score=None),
    ]
    told = summary(rows)
    assert told["runs"] == 4 and told["unhealthy"] == 1
    assert told["method"] == {"collapsed": 2, "rate": 0.5, "interval": list(wilson(2, 4))}
    assert told["lost"]["collapsed"] == 1 and told["images_to_collapse"] == {"mean": 2000, "min": 1000, "max": 3000}
    assert told["score"] == pytest.approx({"n": 2, "mean": 0.55, "deviation": 0.1 / 2**0.5})
    table, sentences = lines({"runs": rows, "summary": told})
    assert table[2] == ("1", "done", "1", "3,000", "0.600") and table[4][1] == "not healthy"
    assert sentences == [
        "the method collapsed in 2 of 4 runs (95 % interval 15% to 85%)",
        "restarts did not help in 1 of 4 runs (95 % interval 5% to 70%)",
        "1 ended without one healthy snapshot: train longer",
        "first collapse at image 2,000 on average (1,000 to 3,000)",
        "label-free score 0.550 ± 0.071 over 2 runs",
    ]
    empty = summary([])
    assert empty["method"] == {"collapsed": 0, "rate": None, "interval": [0.0, 1.0]} and empty["score"] is None


def test_on_the_command_line(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [
        "fit",
        "baselines",
        "--images",
        str(photos),
        "--run",
        "s",
        "--seeds",
        "2",
        "--kind",
        "otsu",
        "--size",
        "32",
    ]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "collapse at image" in said and "the method collapsed in 0 of 2 runs" in said and "s-seeds.json" in said
    assert main(words) == 0
    assert "2 of 2 runs are over already" in capsys.readouterr().err


def test_one_process_only(monkeypatch: pytest.MonkeyPatch, photos: Path, tmp_path: Path) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageFault, match="one process with --seeds"):
        fit_seeds("baselines", photos, seeds=2, run=tmp_path / "s")
