"""The tables on layer disposal: every row is measured on built-in scenes, and halves are kept apart."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from decoupe.data.synthetic import write
from decoupe.errors import UsageFault
from decoupe.reproduce import TABLES, layers, layers_rows
from decoupe.reproduce.study import reproduce


@pytest.mark.slow
def test_every_row_of_table_4_1_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "scenes", "scenes", 16, 32, 0)
    monkeypatch.setattr(layers_rows, "PATCHES", 400)
    monkeypatch.setattr(layers_rows, "EPOCHS", {"cpu": 1})
    monkeypatch.setattr(layers_rows, "CLASSES", ("bed", "floor"))
    done = reproduce("layers-table-4.1", f"synth:{tmp_path / 'scenes'}", out=tmp_path / "out", seeds=1, images_seen=32)
    rows: dict[str, dict[str, Any]] = {row["row"]: row for row in done["results"]}
    assert list(rows) == [row.name for row in layers.TABLE_4_1.rows]
    for row in rows.values():
        assert set(row["metrics"]) == {"bed", "floor", "mean"} and all(0 <= v <= 1 for v in row["metrics"].values())
    labelled = {"Average Mask", "Random Init", "Disposal + Prior", "Disposal + Finetune"}
    assert {name for name, row in rows.items() if row["uses_labels"]} == labelled
    assert rows["Autoencoder"]["settings"][0]["changes"]["keep_prob"] == 1.0
    assert "8 labelled images to choose on, 8 to score" in done["about"]
    assert rows["Average Mask"]["metrics"]["floor"] > rows["Random"]["metrics"]["floor"]
    assert len(done["claims"]) == 6


def test_the_settings_are_those_of_the_text() -> None:
    def config(table: str, row: str) -> Any:
        return next(r for r in TABLES[table].rows if r.name == row).variants[0].config("paper")

    assert config("layers-table-4.1", "Disposal").keep_prob == 0.4
    assert config("layers-no-disposal", "Autoencoder").keep_prob == 1.0
    assert config("layers-identical-init", "Identical Init").initial == "identical"
    assert layers_rows.EPOCHS["paper"] == 150 and layers_rows.RATE["paper"] == 2e-5
    shares = [row.measure.keywords["share"] for row in TABLES["layers-label-fractions"].rows]  # type: ignore[attr-defined]
    assert shares == [share for share in layers.FRACTIONS for _ in range(3)]
    same = dataclasses.asdict(config("layers-table-4.1", "Disposal")) | {"keep_prob": 1.0}
    assert dataclasses.asdict(config("layers-no-disposal", "Autoencoder")) == same


def test_runs_of_the_projected_table_look_through_the_given_network(tmp_path: Path, mobilenet_file: Path) -> None:
    write(tmp_path / "scenes", "scenes", 16, 32, 0)
    whole = TABLES["layers-projected"]
    table = dataclasses.replace(whole, rows=(whole.rows[0], whole.rows[2]), claims=())
    network = f"mobilenet_v2:{mobilenet_file}"
    done = reproduce(
        table, f"synth:{tmp_path / 'scenes'}", out=tmp_path / "out", seeds=1, images_seen=32, size=32,
        given={"weights": network},
    )  # fmt: skip
    assert done["config"]["settings"]["features"] == network and done["config"]["settings"]["photo_weight"] == 10
    assert [row["row"] for row in done["results"]] == ["Disposal", "Autoencoder"]
    assert f"--weights {network}" in done["command"]
    names = {path.name for path in (tmp_path / "out/runs").iterdir()}
    moved = mobilenet_file.rename(mobilenet_file.with_name("mobilenet_v2_moved.safetensors"))
    reproduce(
        table, f"synth:{tmp_path / 'scenes'}", out=tmp_path / "out", seeds=1, images_seen=32, size=32,
        given={"weights": f"mobilenet_v2:{moved}"},
    )  # fmt: skip
    moved.rename(mobilenet_file)
    assert {path.name for path in (tmp_path / "out/runs").iterdir()} == names, "where the file lies does not matter"
    assert done["results"][1]["settings"][0]["changes"] == {"keep_prob": 1.0}
    assert all(0 < row["metrics"]["mean"] < 1 for row in done["results"])


@pytest.mark.parametrize("given", [{}, {"weights": "mobilenet_v2:x", "tags": "t.csv"}])
def test_the_projected_table_wants_a_network_and_nothing_else(given: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(UsageFault, match="--weights NAME:FILE alone with layers-projected"):
        reproduce("layers-projected", "synth:x", given=given, out=tmp_path)
    assert not list(tmp_path.iterdir())
