"""`evaluate` where every nucleus has its mask: the run's own scores are those of its masks, thing by thing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import decoupe
from decoupe.cli import main
from decoupe.data.catalogue import open_dataset
from decoupe.evaluate.instances import overlap, score
from decoupe.evaluate.run import THINGS, evaluate
from decoupe.instances import instances

CENTRES = ((14, 14), (14, 29), (44, 16), (46, 46))


@pytest.fixture(scope="module")
def nuclei(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three images of bright discs, two of which touch; one image has a dim disc that no threshold finds."""
    folder = tmp_path_factory.mktemp("nuclei")
    y, x = np.mgrid[:64, :64]
    for index in range(3):
        place = folder / f"stage1_train/cell{index}"
        (place / "images").mkdir(parents=True)
        (place / "masks").mkdir()
        grey = np.random.default_rng(index).normal(40, 5, (64, 64))
        for number, (cy, cx) in enumerate(CENTRES):
            mask = (y - cy) ** 2 + (x - cx) ** 2 <= 64
            mask &= ~((y - 14) ** 2 + (x - 14) ** 2 <= 64) if number == 1 else True
            grey[mask] += 15 if index == 2 and number == 3 else 150
            Image.fromarray((mask * 255).astype(np.uint8)).save(place / f"masks/{number}.png")
        photo = grey.clip(0, 255).astype(np.uint8)[..., None].repeat(3, 2)
        Image.fromarray(photo).save(place / f"images/cell{index}.png")
    return folder


def test_instances_are_scored_and_shown(nuclei: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = f"dsb2018:{nuclei}"
    run = decoupe.fit("baselines", images=data, run=tmp_path / "run", kind="otsu-components", size=64).run.path
    assert main(["evaluate", str(run), "--data", data, "--json", str(tmp_path / "rows.json")]) == 0
    shown = capsys.readouterr().out
    assert "selected: instances F1 1.000, count 0 % off (medians over images)" in shown
    row = json.loads((tmp_path / "rows.json").read_text())["results"][1]
    model = decoupe.load(run)
    found = []
    for sample in open_dataset(data).samples:
        regions = model.segment(sample.image)
        parts = instances(regions.labels == 1, probs=regions.probs[1])
        found.append(overlap(parts, sample.instances()))
    slow = score(found)
    assert {name: row["metrics"][name] for name in THINGS} == pytest.approx(
        {n: slow[k] for n, k in THINGS.items()}, abs=1e-6
    )
    assert row["metrics"]["count_error_mean"] == pytest.approx(0.25 / 3, abs=1e-6) and row["metrics"]["instance_f1"] < 1


def test_there_are_none_where_no_one_region_is_the_object(nuclei: Path, tmp_path: Path) -> None:
    data = f"dsb2018:{nuclei}"
    run = decoupe.fit("baselines", images=data, run=tmp_path / "run", kind="kmeans-1x1", k=3, size=64, samples=2000).run
    row = evaluate(run.path, data, matching="majority")["results"][1]
    objects = [name for _, name in row["assignment"]].count("object")
    assert (row["metrics"]["instance_ap"] is None) == (objects != 1)
    flip = evaluate(run.path, data, matching="per-image-flip")["results"][1]
    assert all(flip["metrics"][name] is None for name in THINGS)
