"""`scene-vae-table`: who is trained on what, that every row says what it saw, and the checks of its claims."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from decoupe.reproduce.scene_vae import TABLE, WHOLE, measure, observing_helps
from decoupe.reproduce.scene_vae_rows import divided
from decoupe.reproduce.sheet import sheet
from decoupe.reproduce.study import reproduce
from decoupe.reproduce.table import Row, Table, Variant
from tests.tiny import TINY, masked

SMALL = {k: v for k, v in TINY["scene_vae"].items() if k != "size"} | {"train_images": 16, "diagnose": 0, "checks": 1}


def _small(model: str, **options: Any) -> tuple[Variant, ...]:
    # `size` is set by the preset of a room; 64 px here
    presets = {"cpu": None, "paper": "text"}
    return (Variant("scene_vae", presets, SMALL | {"model": model} | options),)


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Forty photos, twenty of them with masks, without splits."""
    monkeypatch.setenv("DECOUPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return Path(masked())


@pytest.mark.slow
def test_rows_say_what_was_observed_and_runs_never_see_the_scored_images(photos: Path, tmp_path: Path) -> None:
    rows = (
        Row("cVAE", "cVAE", {"miou": 0.3775}, _small("cvae", prior="standard"), measure=measure),
        Row("TELBO", "TELBO", {"miou": 0.4723}, _small("telbo"), measure=measure),
    )
    table = dataclasses.replace(TABLE, rows=rows, claims=(), labelled=10)
    content = reproduce(table, f"masks:{photos}", out=tmp_path / "study", seeds=1)
    seen = [(row["row"], tuple(row["observed"])) for row in content["results"]]
    assert seen == [
        ("cVAE", ("image",)), ("cVAE", ("image", "mask")),
        ("TELBO", ("image",)), ("TELBO", ("image", "tags")), ("TELBO", ("tags",)), ("TELBO", ("mask",)),
        ("TELBO", WHOLE),
    ]  # fmt: skip
    assert all(row["uses_labels"] and row["n_images"] == 5 for row in content["results"])
    assert all(0 <= row["metrics"]["miou"] <= 1 for row in content["results"])
    assert "15 images of masks, 10 of them with masks" in content["trained_on"]
    shown = sheet(content)
    assert shown.head[:3] == ["row", "observed", "chosen"] and shown.rows[1][1] == "image + mask"
    assert shown.rows[0][-2:] == [".378", ""] and shown.rows[1][-2:] == ["", ""]
    assert (tmp_path / "study/scene-vae-table/report.html").is_file()


def test_a_layout_with_splits_is_scored_on_its_own(tmp_path: Path) -> None:
    for split, count in (("train", 3), ("test", 2)):
        for kind in ("images", "masks"):
            (tmp_path / kind / split).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(tmp_path / f"images/{split}/{number}.png")
            Image.fromarray(np.eye(32, dtype=np.uint8)).save(tmp_path / f"masks/{split}/{number}.png")
    from types import SimpleNamespace

    from decoupe.data.catalogue import open_dataset
    from decoupe.evaluate.measure import open_task

    data = f"masks:{tmp_path}"
    train, test = divided(SimpleNamespace(dataset=open_dataset(data), task=open_task(data, None, None)))  # type: ignore[arg-type]
    assert [s.split for s in train] == ["train"] * 3 and [s.split for s in test] == ["test"] * 2


def test_the_gap_between_mask_observed_and_not_is_a_claim() -> None:
    def row(observed: tuple[str, ...], value: float) -> dict[str, Any]:
        return {
            "row": "j-VAE",
            "selection": "selected",
            "observed": list(observed),
            "metrics": {"miou": value},
            "matching": "named",
        }

    check = observing_helps("j-VAE")
    assert check({"j-VAE": [row(("image",), 0.3), row(WHOLE, 0.6)]}).holds is True
    assert check({"j-VAE": [row(("image",), 0.6), row(WHOLE, 0.6)]}).holds is False
    assert check({"j-VAE": [row(("image",), 0.6)]}).holds is None


def test_the_table_has_the_models_of_the_text_and_the_remedies() -> None:
    assert isinstance(TABLE, Table)
    texts = {row.name: row.text.get("miou") for row in TABLE.rows if row.text}
    assert texts == {"cVAE": 0.3775, "j-VAE": 0.6225, "TELBO, shared decoders": 0.4723}
    assert {"TELBO, stopped", "JMVAE", "cVAE, learned prior"} <= {row.name for row in TABLE.rows}
