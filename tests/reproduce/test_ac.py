"""Rows of the autoregressive tables: runs fitted in closed form, probes, and the number of classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from decoupe.errors import UsageFault
from decoupe.evaluate.run import evaluate
from decoupe.reproduce import TABLES
from decoupe.reproduce.ac import TABLES as AC
from decoupe.reproduce.ac import measured, probed
from decoupe.reproduce.study import reproduce
from decoupe.reproduce.table import Row, Table, Variant
from tests.data import trees
from tests.data.files import save


@pytest.fixture
def chips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Drone chips whose colour is their class: a building, a wood, and the ground."""
    monkeypatch.setenv("DECOUPE_CACHE", str(tmp_path / "cache"))
    trees.dronedeploy(tmp_path / "chips")
    rng = np.random.default_rng(0)
    for index in range(5):
        label = np.full((40, 40, 3), 4, np.uint8)
        label[:, :10], label[:, 10:24] = 0, 2
        tones = np.select([label == 0, label == 2], [np.array([200, 40, 40]), np.array([30, 120, 30])], 220)
        save(
            tmp_path / f"chips/image-chips/site-{index:06d}.png",
            (tones + rng.integers(0, 30, tones.shape)).astype(np.uint8),
        )
        save(tmp_path / f"chips/label-chips/site-{index:06d}.png", label)
    return f"dronedeploy:{tmp_path / 'chips'}"


TINY = {"k": 3, "width": 4, "blocks": 1, "batch": 2, "train_images": 4, "checks": 1, "whiten": True}
SMALL = (Variant("autoregressive", {"cpu": "study", "paper": "f2"}, TINY | {"start": "kmeans", "shortcut": True}),)
COLOUR = (Variant("baselines", {"cpu": "study", "paper": "study-200"}, {"kind": "kmeans-1x1", "k": 3}),)
ROWS = Table(
    "small", "", "the test",
    (
        Row("k-means", "k-means", {"accuracy": 0.457}, COLOUR, measure=measured),
        Row("AC", "AC", {}, SMALL, measure=measured),
        Row("linear", "linear", {}, SMALL, measure=probed("linear")),
    ),
    columns=("accuracy", "miou"),
)  # fmt: skip


def test_closed_form_runs_and_probes_stand_beside_trained_ones(chips: str, tmp_path: Path) -> None:
    content = reproduce(ROWS, chips, protocol="dronedeploy-3", out=tmp_path / "study")
    rows = {(row["row"], row["selection"]): row for row in content["results"] if row["matching"] != "per-image-flip"}
    assert rows["k-means", "selected"]["metrics"]["accuracy"] > 0.95
    assert rows["k-means", "last"]["metrics"] == rows["k-means", "selected"]["metrics"]
    run = tmp_path / "study" / rows["AC", "selected"]["seeds"][0]["run"]
    alone = next(r for r in evaluate(run, chips, "dronedeploy-3")["results"] if r["row"] == "selected")
    assert rows["AC", "selected"]["metrics"]["miou"] == pytest.approx(alone["metrics"]["miou"], abs=1e-5)
    probe = rows["linear", "selected"]
    assert probe["uses_labels"] and probe["matching"] == "linear probe" and probe["metrics"]["accuracy"] > 0.9
    assert (
        sum(path.name != "latest" for path in (tmp_path / "study/runs").iterdir()) == 2
    )  # the probe's run is the one above it
    with pytest.raises(UsageFault, match="a protocol of 3 classes.*dronedeploy with 6"):
        reproduce(ROWS, chips, out=tmp_path / "other")


def test_the_tables_of_the_text_are_all_there() -> None:
    names = [
        "variants",
        "attention",
        "dropout",
        "orderings",
        "sampling",
        "transforms",
        "overclustering",
        "vs-arl",
        "sota",
    ]
    assert [table.name for table in AC] == [f"ac-{name}" for name in names] and all(t.name in TABLES for t in AC)
    figures = {row.name: row.text["accuracy"] for row in TABLES["ac-sota"].rows}
    assert figures["AC"] == 0.665 and figures["IIC 2019"] == 0.651 and figures["K-means"] == 0.457
    plain = [table.rows[0].variants for table in AC if table.name not in ("ac-variants",)]
    assert all(variants == plain[0] for variants in plain)  # one run serves them all
