"""`decoupe distill` from a run to masks: every verb works on what it makes, without the teacher."""

from __future__ import annotations

import dataclasses
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import decoupe
from decoupe.cli import main
from decoupe.data.synthetic import write
from decoupe.distill import distill
from decoupe.engine.runfolder import Run
from decoupe.engine.tensors import load_tensors
from decoupe.errors import Fault, Interrupted

QUICK = "--width 4 --depth 3 --batch 8 --round-images 96 --rounds 2 --precision fp32".split()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scenes, and a teacher of three regions with names."""
    folder = tmp_path_factory.mktemp("distill")
    write(folder / "scenes", "scenes", 24, 32, seed=1)
    decoupe.fit("baselines", folder / "scenes/images", run=folder / "teacher", kind="kmeans-1x1", k=3, size=32)
    Run.open(folder / "teacher").set_names(["dark", "middle", "light"], [])
    return folder


@pytest.fixture
def desk(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(made / "teacher", tmp_path / "teacher")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_from_teacher_to_masks_scores_names_and_report(
    made: Path, desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["distill", "teacher", "--run", "student", *QUICK]) == 0
    seen = capsys.readouterr()
    assert "distil 2" in seen.err and "look   student/report.html" in seen.out and "teacher is not needed" in seen.out
    shutil.rmtree("teacher")
    run = Run.open("student")
    assert run.names == ("dark", "middle", "light") and run.info["room"] == "student"
    assert run.info["config"]["teacher"] == "teacher" and len(run.info["config"]["digest"]) == 64
    assert run.info["settings"]["images"] == str(made / "scenes/images") and run.info["command"].startswith("decoupe")
    assert main(["segment", "student", str(made / "scenes/images"), "--out", "masks", "--format", "png,csv"]) == 0
    assert len(list(Path("masks").glob("*.png"))) == 24
    assert main(["evaluate", "student", "--data", f"synth:{made / 'scenes'}"]) == 0
    assert main(["name", "student", "--merge", "1,2=bright"]) == 0
    assert decoupe.load("student").names == ("dark", "bright")
    assert main(["report", "student"]) == 0
    shutil.copytree("student", "other")
    assert main(["compare", "student", "other"]) == 0
    # a student may teach in its turn, merged as it was named
    assert main(["distill", "student", "--run", "small", *QUICK]) == 0
    assert decoupe.load("small").names == ("dark", "bright") and len(Run.open("small").names) == 2


def test_help_lists_the_students_options(capsys: pytest.CaptureFixture[str]) -> None:
    from decoupe.methods import ROOMS

    assert main(["distill", "--help"]) == 0
    said = capsys.readouterr().out
    config = ROOMS["student"].config()()
    for field in dataclasses.fields(config):
        flag = f"--{field.name.replace('_', '-')}"
        found = len(re.findall(rf"^ *{flag}\b", said, re.MULTILINE))
        assert found == (0 if field.name in ("teacher", "digest", "names") else 1), flag
    assert f"(default: {config.round_images})" in said and "9,600" not in said
    assert "filled in" not in said and "regions are learned" not in said and f"(default: {config.rounds})" in said
    assert "Channels of the student's first level. (default: 16)" in " ".join(said.split())


@pytest.mark.slow
def test_what_a_resumed_run_does_not_read_again_is_said(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["distill", "teacher", "--run", "student", *QUICK]) == 0
    capsys.readouterr()
    main(["distill", "teacher", "--run", "student", "--resume", "--width", "8", "--round-images", "64", "--seed", "1"])
    said = capsys.readouterr().err
    assert "settings recorded in student; not read again: --seed, --width, --round-images" in said
    assert Run.open("student").info["config"]["width"] == 4


@pytest.mark.parametrize("channels", [1, 5])
def test_photos_of_any_bands_and_another_size(channels: int, desk: Path) -> None:
    rng = np.random.default_rng(channels)
    Path("bands").mkdir()
    for n in range(10):
        np.save(f"bands/{n}.npy", rng.integers(0, 255, (36, 36, channels), dtype=np.uint8))
    decoupe.fit("baselines", "bands", run="t", kind="kmeans-1x1", k=3, size=32)
    options = {"width": 4, "depth": 3, "batch": 8, "round_images": 32, "rounds": 1, "precision": "fp32"}
    model = distill("t", run="s", size=48, **options)
    assert model.spec.channels == channels and model.spec.size == 48
    regions = model.segment(rng.integers(0, 255, (40, 33, channels), dtype=np.uint8))
    assert regions.probs.shape == (3, 40, 33)


@pytest.mark.slow
def test_resuming_is_exact_and_keeps_its_teacher(made: Path, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from decoupe.engine.loop import Loop

    options = {"width": 4, "depth": 3, "batch": 8, "round_images": 96, "rounds": 2, "precision": "fp32"}
    distill("teacher", run="straight", **options)
    tick = Loop._tick

    def stop(self: Loop) -> None:
        tick(self)
        self._signal = int(self.counters.images == 40)

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "_tick", stop)
        with pytest.raises(Interrupted, match="decoupe fit student --run stopped --resume"):
            distill("teacher", run="stopped", **options)
    shutil.copytree("teacher", "changed")
    Run.open("changed").set_names(["a", "b", "c"], [[0, 1]])
    with pytest.raises(Fault, match=r"changed to be the teacher of stopped .*it was teacher"):
        distill("changed", run="stopped", resume=True)
    Path("teacher").rename("moved")
    with pytest.raises(Fault, match="a run folder with run.json at teacher"):
        distill("moved", run="stopped", resume=True)
    Path("moved").rename("teacher")
    distill("teacher", run="stopped", resume=True)
    left, right = (load_tensors(Path(name) / "weights.safetensors")[0] for name in ("straight", "stopped"))
    assert left.keys() == right.keys() and all(bool((left[k] == right[k]).all()) for k in left)


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("fit student --images photos", 2, "expected a teacher, got decoupe fit student alone; write decoupe distill"),
        ("distill", 2, "expected RUN, got none; see decoupe distill --help"),
        ("distill none --run new", 1, "expected a run folder with run.json at none"),
        ("distill teacher --run new --rounds 0", 2, "expected --rounds between 1 and 16"),
        ("distill teacher --run new --widht 4", 2, "did you mean --width?"),
        ("distill teacher --run new --width 1", 2, "expected width between 4 and 256"),
        ("distill teacher --run new --digest a", 2, "expected the teacher as RUN, got --digest"),
        ("distill teacher --resume", 2, "expected --run DIR with --resume, got none"),
        ("distill teacher --run teacher --resume", 2, "expected a student at teacher, got a run of baselines"),
        ("distill teacher --run new --images gone", 1, "got 'gone', which does not exist"),
    ],
)
def test_misuse_is_one_line(
    command: str, code: int, words: str, desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command.split()) == code
    seen = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(seen) == 1 and words in seen[0]


def test_photos_that_are_gone_are_named(desk: Path, made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("few").mkdir()
    for photo in sorted((made / "scenes/images").iterdir())[:8]:
        shutil.copy(photo, "few")
    decoupe.fit("baselines", "few", run="t", kind="kmeans-1x1", size=32)
    shutil.rmtree("few")
    assert main("distill t --run new".split()) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: expected the images that t was trained on, got none at few; ") and "--images" in told
    assert not Path("new").exists()
