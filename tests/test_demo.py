"""`decoupe demo`, with few images and the smallest networks (five minutes of training are measured by hand)."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from decoupe import demo as module
from decoupe.cli import main
from decoupe.engine.runfolder import Run
from tests.tiny import TINY


def _shrink(monkeypatch: pytest.MonkeyPatch) -> None:
    """`fit` gets the smallest settings of its room, and no time limit: a slow machine must not change the outcome."""
    home = importlib.import_module("decoupe.fit")
    real = home.fit

    def tiny_fit(room: str, images: Path, **given: Any) -> Any:
        if room == "independence":
            assert given["minutes"] == 0.1 and given["preset"] == "cpu"
        return real(room, images, **(given | {"minutes": None, "precision": "fp32"} | TINY[room]))

    monkeypatch.setattr(home, "fit", tiny_fit)


@pytest.mark.slow
def test_demo_goes_the_whole_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "TRAIN", 64)
    monkeypatch.setattr(module, "UNSEEN", 10)
    monkeypatch.setattr(module, "GROUNDS", 16)
    _shrink(monkeypatch)
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
