"""`compare` reads what `evaluate` stored and says how sure a difference is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import decoupe
from decoupe.errors import Fault
from decoupe.evaluate import run as module
from decoupe.evaluate.compare import compare
from decoupe.evaluate.run import evaluate
from tests.evaluate.test_run import write_set


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("set") / "discs"
    write_set(folder, 8, 2)
    return folder


@pytest.fixture
def runs(labelled: Path, tmp_path: Path) -> list[Path]:
    for kind in ("kmeans-lab", "ellipse"):
        decoupe.fit("baselines", images=labelled / "images", run=tmp_path / kind, kind=kind, size=32)
    return [tmp_path / "kmeans-lab", tmp_path / "ellipse"]


def test_rows_of_both_and_the_paired_difference(runs: list[Path], labelled: Path) -> None:
    own = [evaluate(run, f"masks:{labelled}")["results"][1]["metrics"]["iou"] for run in runs]
    content = compare(runs)
    assert set(content) == {"results", "protocol", "split", "data", "command", "date"}
    rows = {row["row"]: row for row in content["results"]}
    assert len(rows) == 6 and rows["ellipse (selected)"]["run"] == str(runs[1])
    difference = rows["ellipse (selected)"]["difference"]
    assert difference["to"] == "kmeans-lab" and difference["metric"] == "iou"
    assert difference["value"] == pytest.approx(own[1] - own[0], abs=2e-6)
    low, high = difference["interval"]
    assert low <= difference["value"] <= high < 0
    assert "difference" not in rows["kmeans-lab (selected)"] and "confusions" not in rows["ellipse (last)"]
    json.dumps(content, allow_nan=False)
    for run in runs:
        evaluate(run, f"masks:{labelled}", split="all", matching="majority")
    both = [row["row"] for row in compare(runs)["results"]]
    assert len(both) == 12 and "ellipse (selected, masks all)" in both


def test_no_difference_without_counts_of_each_image(
    runs: list[Path], labelled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate(runs[0], f"masks:{labelled}")
    monkeypatch.setattr(module, "STORED", 0)
    evaluate(runs[1], f"masks:{labelled}")
    assert {row["row"]: row for row in compare(runs)["results"]}["ellipse (selected)"]["difference"] is None


def test_runs_without_results_or_without_a_common_set_are_told_what_to_do(
    runs: list[Path], labelled: Path, tmp_path: Path
) -> None:
    evaluate(runs[0], f"masks:{labelled}")
    with pytest.raises(Fault, match="decoupe evaluate"):
        compare(runs)
    write_set(tmp_path / "other", 3, 4)
    evaluate(runs[1], f"masks:{tmp_path / 'other'}")
    with pytest.raises(Fault, match="one and the same set"):
        compare(runs)
