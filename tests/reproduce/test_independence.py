"""The table of the task `cluster`: each image is fitted alone, and its things are compared with the true ones."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from decoupe.data.synthetic import write
from decoupe.errors import Fault
from decoupe.reproduce import TABLES, Variant, independence
from decoupe.reproduce.study import reproduce

TINY = {
    "task": "cluster", "batch": 8, "size": 48, "passes": 1, "pass_images": 24, "composites": 8, "segmenter_width": 4,
    "views": 1,
}  # fmt: skip


@pytest.mark.slow
def test_every_image_is_fitted_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(independence.IMAGES, "cpu", 1)
    write(tmp_path / "set", "cluster", 1, 192, 0)
    full = TABLES["independence-cluster"]
    cut, otsu = full.rows[0], full.rows[-1]
    variant = Variant("independence", {"cpu": None, "paper": None}, TINY)
    small = dataclasses.replace(full, rows=(dataclasses.replace(cut, variants=(variant,)), otsu), claims=())
    content = reproduce(small, f"synth:{tmp_path / 'set'}", out=tmp_path / "study", images_seen=24)
    rows = {row["row"]: row for row in content["results"]}
    assert set(rows) == {"Cut out", "Otsu, necks"}
    for row in rows.values():
        assert row["n_images"] == 1 and len(row["each"]["f1_median"]) == 1 and not row["uses_labels"]
        assert row["metrics"]["f1_median"] == row["each"]["f1_median"][0]
    assert len(list((tmp_path / "study" / "runs").glob("independence-*"))) == 1
    assert "alone" in content["trained_on"]


def test_images_without_many_things_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("decoupe.reproduce.independence_rows.LEAST", 10_000)
    write(tmp_path / "set", "cluster", 1, 64, 0)
    with pytest.raises(Fault, match="a mask of each"):
        reproduce("independence-cluster", f"synth:{tmp_path / 'set'}", out=tmp_path / "study")
