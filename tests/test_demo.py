"""`decoupe demo`, with few images and a moment of training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from decoupe import demo as module
from decoupe.cli import main
from decoupe.engine.runfolder import Run


@pytest.mark.slow
def test_demo_goes_the_whole_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "TRAIN", 64)
    monkeypatch.setattr(module, "UNSEEN", 10)
    assert main(["demo", "--out", "here", "--minutes", "0.1"]) == 0
    seen = capsys.readouterr().out
    assert (
        "10 unseen images" in seen
        and "independence (selected)" in seen
        and "oracle" in seen
        and "(uses labels)" in seen
    )
    for kind in module.BASELINES:
        assert f"\n  {kind} " in seen
    assert "look   here/run/report.html" in seen and "next   decoupe fit independence --images YOUR_FOLDER" in seen
    assert len(list(Path("here/masks").glob("*.png"))) >= 10
    assert len(json.loads(Path("here/masks/coco.json").read_text())["images"]) == 10
    run = Run.open("here/run")
    assert run.info["status"] == "done" and len(list(Path("here/photos/images").iterdir())) == 64
    assert not Path("here/photos/masks").exists(), "the truth of the training images must not even be there"


def test_a_second_demo_finds_its_own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert module._new_folder(None) == Path("runs/demo-1")
    Path("runs/demo-1").mkdir(parents=True)
    assert module._new_folder(None) == Path("runs/demo-2")
