"""The room `student`: what it takes from its teacher, that it learns it, and that no other teacher slips in."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from decoupe.distillation import mirrored_mean
from decoupe.engine.runfolder import Run
from decoupe.errors import Fault, Interrupted, UsageFault
from decoupe.methods.room import to_unit
from decoupe.methods.student.config import Config, complete
from decoupe.methods.student.teacher import Teacher
from decoupe.snapping import snap
from tests.tiny import build, loop, photos, stopping, teacher


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A teacher of three regions that a test may change."""
    return Path(shutil.copytree(teacher(), tmp_path / "teacher"))


def test_names_and_merges_come_from_the_teacher(own: Path) -> None:
    before = complete(Config(teacher=str(own)))
    assert before.names == ("region 0", "region 1", "region 2")
    Run.open(own).set_names(["sky", "ground", "region 2"])
    renamed = complete(Config(teacher=str(own)))
    assert renamed.names == ("sky", "ground", "region 2") and renamed.digest == before.digest
    Run.open(own).set_names(["sky", "land", "region 2"], [[1, 2]])
    merged = complete(Config(teacher=str(own)))
    assert merged.names == ("sky", "land") and merged.digest != before.digest
    images = to_unit(photos(3))
    assert torch.allclose(Teacher.open(str(own)).regions(images).sum(1), torch.ones(3, 32, 32))


def test_a_run_without_masks_is_no_teacher(own: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageFault, match="decoupe distill RUN"):
        complete(Config())
    with pytest.raises(Fault, match="a run folder"):
        complete(Config(teacher=str(tmp_path / "none")))
    Run.open(own).set_names(["a", "b", "c"], [[0, 1, 2]])
    with pytest.raises(Fault, match="two regions or more"):
        complete(Config(teacher=str(own)))
    Run.open(own).commit(status="collapsed")
    with pytest.raises(Fault, match="one that collapsed"):
        complete(Config(teacher=str(own)))
    with pytest.raises(Fault, match="2 to 256 regions"):
        Config(names=("all",))


@pytest.mark.parametrize("size", [32, 48, 80])
def test_a_teacher_of_another_size_sees_its_own(size: int) -> None:
    """Regions come back in the frame of the student's images, near those at the teacher's own size."""
    taught = Teacher.open(teacher())
    small = to_unit(photos(4, size=size))
    probs = taught.regions(small)
    assert probs.shape == (4, 3, size, size) and torch.allclose(probs.sum(1), torch.ones(4, size, size), atol=1e-5)
    inner = probs.argmax(1)[:, size // 2, size // 2]
    outer = probs.argmax(1)[:, 1, 1]
    assert bool((inner != outer).all())


def test_bands_without_a_meaning_are_one_line(own: Path) -> None:
    room, data = build("student", channels=5, teacher=str(own))
    with pytest.raises(Fault, match="3 bands, got 5"):
        room.prepare(data)


@pytest.mark.slow
@pytest.mark.parametrize(("k", "channels"), [(3, 3), (3, 1), (2, 5)])
def test_it_learns_the_regions_of_its_teacher(k: int, channels: int, tmp_path: Path) -> None:
    options = {"channels": channels, "teacher": teacher(channels, k), "width": 8, "round_images": 800}
    trained = loop("student", tmp_path / "run", **options)
    images = to_unit(photos(12, channels, seed=7))
    wanted = snap(images, mirrored_mean(Teacher.open(teacher(channels, k)).regions, images))

    def error() -> float:
        """Mean distance from the teacher's regions, snapped, of photos that were not trained on."""
        trained.room.eval()
        with torch.no_grad():
            return float((trained.room.segment(images) - wanted).abs().mean())

    raw = error()
    trained.train(False)
    assert len(trained.room.regions) == k and error() < 0.6 * raw
    assert trained.room.embed(images)["student"].shape == (12, 16 * 32)


def _stopped(folder: Path, own: Path, images: int) -> None:
    """Train in `folder` until `images` have been seen."""
    with pytest.raises(Interrupted, match="decoupe fit student --run"):
        stopping(loop("student", folder, teacher=str(own)), images).train(False)


@pytest.mark.slow
def test_a_changed_teacher_is_refused_and_a_missing_one_when_it_is_needed(own: Path, tmp_path: Path) -> None:
    _stopped(tmp_path / "first", own, 40)
    _stopped(tmp_path / "second", own, 136)
    config = {"teacher": str(own)}
    resumed = {name: loop("student", tmp_path / name, resume=True, **config) for name in ("first", "second")}
    Run.open(own).set_names(["a", "b", "c"], [[0, 1]])
    with pytest.raises(Fault, match="as it was when this run began"):
        resumed["first"].train(True)
    shutil.rmtree(own)
    with pytest.raises(Fault, match="a run folder"):
        resumed["first"].train(True)
    resumed["second"].train(True)  # the second round is taught by the student
    assert resumed["second"].counters.finished


@pytest.mark.slow
def test_only_the_student_is_stored(tmp_path: Path) -> None:
    trained = loop("student", tmp_path / "run")
    trained.train(False)
    assert {key.split(".")[0] for key in trained.weights()} == {"student"}
