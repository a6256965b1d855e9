"""The registry of tables: complete, consistent, and made of settings that the rooms have."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from decoupe.cli import main
from decoupe.data.catalogue import open_dataset
from decoupe.errors import Fault, UsageFault
from decoupe.evaluate.measure import open_task
from decoupe.methods import ROOMS
from decoupe.reproduce import SCALES, TABLES, Table, scores
from decoupe.reproduce.runs import folder_name, training_images
from decoupe.reproduce.sheet import NAMES
from decoupe.reproduce.table import Claim, Row, Variant
from tests import snapshots

EVERY = list(TABLES.values())
ROWS = [(table, row) for table in EVERY for row in table.rows]


def test_names_are_what_is_typed_and_unique() -> None:
    assert list(TABLES) == [table.name for table in EVERY]
    assert {f"redraw-{n}" for n in ("attention", "constraint", "regularisers", "robustness", "embeddings")} <= set(
        TABLES
    )
    for table in EVERY:
        for field in ("name", "short"):
            assert len({getattr(row, field) for row in table.rows}) == len(table.rows) >= 2, table.name
        assert table.line and table.source and set(table.columns) <= set(NAMES)


@pytest.mark.parametrize(("table", "row"), ROWS, ids=lambda one: one.name)
def test_every_row_has_figures_of_the_text_and_fits_its_figures(table: Table, row: Row) -> None:
    assert any(one.text for one in table.rows) or table.source == "not in the text"
    assert len(row.short) <= 14 and row.seeds >= 1
    assert set(row.text) <= set(table.columns)
    for value in row.text.values():
        assert value == "collapsed" or (isinstance(value, float) and 0 <= value <= 1)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(("table", "row"), ROWS, ids=lambda one: one.name)
def test_options_are_settings_of_the_room_at_both_scales(table: Table, row: Row, scale: str) -> None:
    for variant in row.variants:
        config = variant.config(scale)
        assert isinstance(config, ROOMS[variant.room].config())
        assert dataclasses.asdict(variant.config(scale, 4_000)).keys() == dataclasses.asdict(config).keys()
        assert not set(variant.all_options(scale, None)) & {"images", "size"}  # fit has arguments of these names


def test_an_option_that_the_room_does_not_have_is_refused() -> None:
    with pytest.raises(Fault, match="attention"):
        Variant("redraw", {"cpu": "study", "paper": None}, {"attention": False}).config("cpu")
    with pytest.raises(UsageFault, match="a room"):
        Variant("redrow", {"cpu": None, "paper": None}).config("cpu")


def row_of(table: str, name: str) -> Row:
    return next(row for row in TABLES[table].rows if row.name == name)


def test_the_settings_are_those_of_the_text() -> None:
    def config(table: str, name: str, scale: str = "paper", images: int | None = None) -> Any:
        return row_of(table, name).variants[0].config(scale, images)

    off = config("redraw-attention", "Off G and D Attention")
    assert not off.attention_generator and not off.attention_discriminator
    off = config("redraw-attention", "Off Generator Attention")
    assert not off.attention_generator and off.attention_discriminator
    assert config("redraw-constraint", "Full Image Generation").step == "all"
    bare = config("redraw-constraint", "No Conservation of Region Information")
    assert bare.information == "none" and bare.regulariser == "none"
    assert row_of("redraw-constraint", "No Conservation of Region Information").seeds == 3
    for name, kind in (("MSE", "mse"), ("Rectified MSE", "rectified"), ("Concrete PDF", "concrete")):
        alone = config("redraw-regularisers", name)
        assert (alone.regulariser, alone.regulariser_weight, alone.information) == (kind, 100.0, "none")
        assert alone.regulariser_images is None
    hybrid = config("redraw-regularisers", "Hybrid")
    assert (hybrid.regulariser, hybrid.regulariser_weight, hybrid.information) == ("concrete", 30.0, "regressor")
    assert hybrid.regulariser_images == 5_000 * hybrid.batch
    assert config("redraw-regularisers", "Hybrid", "cpu", 8_000).regulariser_images == 2_000
    assert config("redraw-robustness", "Hybrid", "paper", 40_000).regulariser_images == 10_000


def test_equal_settings_are_one_run_wherever_they_are_asked_for(synth: Path) -> None:
    images = training_images(open_dataset(f"synth:{synth}"))

    def name(table: str, row: str, seed: int = 0, seen: int | None = None) -> str:
        return folder_name(row_of(table, row).variants[0], "cpu", images, seen, seed)

    baselines = {name(table.name, row.name) for table, row in ROWS if row.name == "Original Model"}
    assert len(baselines) == 1
    assert name("redraw-regularisers", "Hybrid") == name("redraw-robustness", "Hybrid")
    everything = [name(table.name, row.name) for table, row in ROWS if row.variants and table.name.startswith("redraw")]
    assert len(set(everything)) == 15 and all(one.endswith("-s0") for one in everything)
    assert name("redraw-attention", "Original Model", 1) == baselines.pop()[:-1] + "1"
    assert name("redraw-attention", "Original Model", 0, 640) != name("redraw-attention", "Original Model")


def test_another_version_has_runs_and_scores_of_its_own(synth: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, one = training_images(open_dataset(f"synth:{synth}")), row_of("redraw-attention", "Original Model")
    task = open_task(f"synth:{synth}", None, None)
    run: Any = SimpleNamespace(info={"candidates": [], "files": {}})

    def names() -> tuple[str, str]:
        return folder_name(one.variants[0], "cpu", images, None, 0), scores._key(run, task)

    before = names()
    assert names() == before
    monkeypatch.setattr("decoupe.reproduce.runs.__version__", "0.0.0")
    monkeypatch.setattr("decoupe.reproduce.scores.__version__", "0.0.0")
    assert names()[0] != before[0] and names()[1] != before[1]


def test_what_goes_beyond_the_text_differs_from_it_in_one_setting_each() -> None:
    def changes(name: str) -> dict[str, Any]:
        base, config = (dataclasses.asdict(row_of("redraw-beyond", n).variants[0].config("cpu"))
                        for n in ("Original Model", name))  # fmt: skip
        return {key: value for key, value in config.items() if value != base[key]}

    assert changes("Moving average") == {"average": 0.999}
    assert changes("Three regions") == {"k": 3} and "two classes" in row_of("redraw-beyond", "Three regions").note
    assert [len(changes(row.name)) for row in TABLES["redraw-beyond"].rows] == [0, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("table", EVERY, ids=lambda table: table.name)
def test_no_claim_is_decided_without_runs(table: Table) -> None:
    claims: tuple[Claim, ...] = table.claims
    assert claims and all(claim.check({row.name: [] for row in table.rows}).holds is None for claim in claims)


def test_the_list_names_them_all(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["reproduce", "--list"])
    text = capsys.readouterr().out
    assert code == 0 and all(name in text for name in TABLES)
    snapshots.check("reproduce", "reproduce --list", text, code)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("reproduce", "expected a table, got none; see decoupe reproduce --list"),
        ("reproduce redraw-atention", "did you mean redraw-attention?"),
        ("reproduce redraw-attention", "expected --data NAME:PATH, got none; give --data flowers17:PATH"),
        ("reproduce redraw-attention --data photos", "expected --data NAME:PATH"),
        ("reproduce redraw-attention --list", "--list alone"),
        ("reproduce redraw-attention --data synth:x --scale large", "--scale cpu|paper"),
        ("reproduce redraw-attention --data synth:x --seeds 0", "--seeds between"),
        ("reproduce redraw-attention --data synth:x --labelled 9", "expected --labelled with redraw-embeddings"),
        ("reproduce redraw-embeddings --data synth:x --labelled 0", "--labelled between"),
    ],
)
def test_misuse_is_one_line(command: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command.split()) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and words in error
