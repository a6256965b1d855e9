"""The examples run as they are, with the smallest networks."""

from __future__ import annotations

import runpy
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.tiny import TINY

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def play(name: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run one example with `arguments`; `fit` gets the smallest settings."""
    import decoupe

    real = decoupe.fit

    def tiny_fit(room: str, **given: Any) -> decoupe.Model:
        return real(room, **(given | {"minutes": None, "precision": "fp32"} | TINY[room]))

    monkeypatch.setattr(decoupe, "fit", tiny_fit)
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")


def test_the_examples_are_numbered() -> None:
    assert [path.name[:3] for path in sorted(EXAMPLES.glob("*.py"))] == ["01_", "02_", "03_", "04_"]


@pytest.mark.slow
def test_fit_and_segment(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    play("01_fit_and_segment.py", [str(photos), str(photos), "--run", str(run)], monkeypatch)
    assert "12 masks in" in capsys.readouterr().out and len(list((run / "masks").glob("*.png"))) >= 12


def test_numpy_in_regions_out(
    tiny_run: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    photo = next(iter(sorted(photos.iterdir())))
    play("02_numpy_in_regions_out.py", [str(tiny_run), str(photo), "--out", str(tmp_path / "cut.png")], monkeypatch)
    assert "object: " in capsys.readouterr().out
    with Image.open(photo) as before, Image.open(tmp_path / "cut.png") as after:
        assert after.mode == "RGBA" and after.size == before.size


def test_compare_with_baselines(
    tiny_run: Path, synth: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(tiny_run, tmp_path / "run")
    words = [
        str(run),
        str(synth / "images"),
        f"synth:{synth}",
        "--out",
        str(tmp_path / "references"),
        "--kinds",
        "otsu",
    ]
    play("03_compare_with_baselines.py", words, monkeypatch)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["run", "otsu"] and all("IoU 0." in line for line in lines)


def test_a_new_task_from_its_parts(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = (EXAMPLES / "04_new_task.py").read_text(encoding="utf-8").splitlines()
    assert len(lines) < 60
    masks = tmp_path / "masks.npy"
    play("04_new_task.py", [str(photos), "--steps", "2", "--out", str(masks)], monkeypatch)
    found = np.load(masks)
    assert found.shape == (len(list(photos.iterdir())), 32, 32) and 0 <= found.min() < found.max() <= 1
    assert "step 0" in capsys.readouterr().out
