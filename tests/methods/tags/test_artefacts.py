"""What the stages hand on lies in the run folder; and what stands in when self-training spoils it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from decoupe import load
from decoupe.cli import main
from decoupe.engine import health, keeper
from decoupe.engine.runfolder import Run
from decoupe.export.hub import export_hub
from decoupe.methods.tags import cues as making
from tests.methods.tags.test_room import folder, weights, words

__all__ = ["folder", "weights"]


def pictures(path: Path) -> dict[str, list[list[int]]]:
    """File name -> labels, of all PNGs of a folder."""
    return {p.name: np.array(Image.open(p)).tolist() for p in sorted(path.glob("*.png"))}


def said(capsys: pytest.CaptureFixture[str]) -> str:
    """All that was printed."""
    found = capsys.readouterr()
    return found.out + found.err


@pytest.mark.slow
def test_cues_and_targets_lie_in_the_run_and_can_be_used_again(
    folder: Path, weights: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("decoupe.engine.health.FULL", 2.0)
        tags = ["--tags", f"{folder}/tags.csv", "--weights", weights, "--classifier-images", "8", "--sec-images", "8"]
        assert main(words(folder, *tags, "--rounds", "1", "--round-images", "8", "--pictures", "15")) == 0
        run = Run.open(folder / "run")
        assert run.info["taught"] == ["cues", "targets-1"] and "first 15 of 16 photos" in said(capsys)
        first, targets = pictures(run.path / "cues"), pictures(run.path / "targets-1")
        assert list(first) == list(targets) == [f"p{i:02d}.png" for i in range(15)]
        for name, labels in first.items():  # the tags of photo i are its bits: blue (1 here) the second, red (2)
            i = int(name[1:3])
            there = {0, 255} | ({2} if i & 1 else set()) | ({1} if i & 2 else set())
            assert np.array(labels).shape == (4, 4) and set(np.unique(labels)) <= there
        assert all((np.array(first[f"p{i:02d}.png"]) == 0).all() for i in (0, 4, 8, 12)), "no tag: all background"
        page = (run.path / "report.html").read_text()
        assert "<span>cues<" in page and "<span>targets 1<" in page and "given cues" not in page
        assert not list(run.path.glob(".*.part"))

        again = [*tags, "--rounds", "0", "--cues", f"{run.path}/cues", "--run", f"{folder}/again"]
        assert main(words(folder, *again)) == 0
    assert "cues: given for 15 of 16 photos" in said(capsys)
    second = pictures(folder / "again/cues")
    assert {name: second[name] for name in first} == first, "what was written is what is read"
    assert np.unique(second["p15.png"]).tolist() == [255]
    page = (folder / "again/report.html").read_text()
    assert "<span>given cues<" in page and "<span>cues<" not in page
    assert load(folder / "again").crf == "sec-test"
    public = export_hub(load(folder / "again"), folder / "hub")
    assert str(folder) not in (public / "run.json").read_text() and load(public).names == load(folder / "again").names


@pytest.mark.slow
@pytest.mark.parametrize(("full", "why"), [(2.0, "lost region 2"), (0.98, "region 0 covers 100.0%")])
def test_masks_of_sec_stand_in_when_self_training_spoils_them(
    full: float, why: str, folder: Path, weights: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Targets of nothing but background teach the network to give up; the run says so and keeps what was before."""

    def nothing(f: torch.Tensor, present: Any, images: Any, cells: tuple[int, int], sure: float) -> torch.Tensor:
        monkeypatch.setattr(health, "FULL", full)  # from here on collapse is seen, or only what is lost
        return torch.zeros(len(f), *cells, dtype=torch.uint8)

    (folder / "given").mkdir()
    for i in range(16):  # red everywhere: quickly learned
        Image.fromarray(np.full((9, 9), 2, np.uint8)).save(folder / f"given/p{i:02d}.png")
    monkeypatch.setattr(making, "own_targets", nothing)
    monkeypatch.setattr(health, "FULL", 2.0)
    monkeypatch.setattr(keeper, "PATIENCE", 0)
    options = ["--cues", f"{folder}/given", "--size", "65", "--lr", "2e-2", "--constrain-weight", "0"]
    lengths = ["--classifier-images", "8", "--sec-images", "40", "--rounds", "1", "--round-images", "80"]
    options += ["--expand-weight", "0", "--tags", f"{folder}/tags.csv", "--weights", weights, "--restarts", "0"]
    assert main(words(folder, *options, *lengths)) == 0
    run = Run.open(folder / "run")
    sentence = run.info["health"]["sentence"]
    assert sentence.startswith("fell back to sec (image 48), whose masks are healthy: ") and why in sentence
    assert sentence in said(capsys) and sentence[1:] in (run.path / "report.html").read_text()
    assert run.info["health"]["healthy"] and run.info["status"] == "done"
    model = load(run)
    assert model.crf == "sec-test" and int(model.room.done) == 1
    assert (model.segment(folder / "photos/p03.png").labels == 2).all(), "the masks of SEC, not those of the round"
