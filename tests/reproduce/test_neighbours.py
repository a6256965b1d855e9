"""Table III on a tiny tree of flowers: rows, chance, and embeddings that know the species."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from decoupe.cli import main
from decoupe.engine.runfolder import Run
from decoupe.model import Model
from decoupe.reproduce import TABLES
from decoupe.reproduce.table import Row
from tests.reproduce.test_study import SEEN, variant


@pytest.fixture(scope="module")
def flowers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """flowers17 with 48 images of three species (1-80, 81-160, 161-240), told apart by their colour."""
    root = tmp_path_factory.mktemp("flowers")
    for name in ("jpg", "trimaps"):
        (root / name).mkdir()
    rng = np.random.default_rng(0)
    numbers = [80 * species + index for species in range(3) for index in range(1, 17)]
    for number in numbers:
        pixels = rng.integers(0, 60, (40, 40, 3)).astype(np.uint8)
        pixels[10:30, 10:30, (number - 1) // 80] = rng.integers(200, 255)
        Image.fromarray(pixels).save(root / "jpg" / f"image_{number:04d}.jpg")
        trimap = np.full((40, 40), 3, np.uint8)
        trimap[10:30, 10:30] = 1
        Image.fromarray(trimap).save(root / "trimaps" / f"image_{number:04d}.png")
    parts = {"trn1": numbers[::2], "val1": numbers[1::4], "tst1": numbers[3::4]}
    savemat(root / "datasplits.mat", {name: np.array([ids]) for name, ids in parts.items()})
    return root


@pytest.mark.slow
def test_every_row_is_measured_and_colour_is_known(
    flowers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("decoupe.engine.health.FULL", 2.0)
    real = TABLES["redraw-embeddings"]
    rows = tuple(
        Row(row.name, row.short, row.text, variant() if row.variants else (), measure=row.measure) for row in real.rows
    )
    small = dataclasses.replace(real, rows=rows)
    monkeypatch.setitem(TABLES, real.name, small)
    command = f"reproduce {real.name} --data flowers17:{flowers} --images-seen {SEEN} --json out.json"
    used: list[Any] = []
    init = Model.__init__

    def noted(self: Model, run: Run, selection: Any = "selected", device: str | None = None) -> None:
        used.append(selection)
        init(self, run, selection, device)

    with monkeypatch.context() as patch:
        patch.setattr(Model, "__init__", noted)
        assert main([*command.split(), "--labelled", "24"]) == 0
    assert used[-1] == "last" and used.count("last") == 1  # both networks as they were at the end
    assert "--labelled 24" in json.loads(Path("out.json").read_text())["command"]
    content = json.loads(Path("out.json").read_text())
    found = {row["row"]: row for row in content["results"]}
    assert list(found) == [row.name for row in real.rows]
    for row in found.values():
        assert row["n_labelled"] == 24 and row["n_images"] == 24 and row["n_classes"] == 3 and row["uses_labels"]
        assert row["observed"] == ["image", "labels of 24 images"] and 0 <= row["metrics"]["deviation"] < 0.2
    figures = {name: row["metrics"]["accuracy"] for name, row in found.items()}
    assert figures["Random prediction"] == pytest.approx(1 / 3, abs=0.08)
    assert figures["Constant prediction"] == pytest.approx(1 / 3, abs=1e-6)
    assert figures["KNN on raw images"] > 0.9 and figures["KNN on raw downscaled images"] > 0.9
    assert 0 <= figures["KNN on embeddings from Segmentator"] <= 1
    assert figures["KNN on embeddings from Discriminator"] > 0.5
    assert len(list(Path("runs/reproduce/cpu/runs").glob("*-s0"))) == 1
    assert "24 images of flowers17 (24 train)" in content["trained_on"] and "24 images of val" in content["trained_on"]
    assert "24 of all 48 images" in content["about"] and "24 of all 48 images" in capsys.readouterr().out


def test_too_few_images_to_label_are_refused_before_anything_is_trained(
    flowers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for words, labelled in (("", 200), (" --labelled 48", 48)):
        assert main(f"reproduce redraw-embeddings --data flowers17:{flowers}{words}".split()) == 1
        said = capsys.readouterr().err
        assert f"expected more than {labelled} images" in said and "got 48 images in flowers17; give a lower" in said
    assert not list(tmp_path.rglob("run.json"))
