"""The tables on image tags, on a tiny VOC tree: one run looked at after each stage, scores counted again by hand."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from decoupe.crf import dense_crf
from decoupe.crf.picture import CELL, colour, heat_map
from decoupe.crf.settings import PRESETS
from decoupe.data.catalogue import open_dataset
from decoupe.data.decode import read_image
from decoupe.engine.runfolder import Run
from decoupe.errors import UsageFault
from decoupe.evaluate.protocols import protocol_of
from decoupe.evaluate.run import evaluate
from decoupe.model import Model
from decoupe.reproduce import TABLES, weak
from decoupe.reproduce.study import reproduce
from decoupe.reproduce.table import Row, Table, Variant
from decoupe.reproduce.weak_rows import _asked, _labels
from tests.methods.tags.test_room import coloured
from tests.tiny import TINY


@pytest.fixture(scope="module")
def voc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve photos to train on and four to score, of cats (red squares) and dogs (blue ones)."""
    root = tmp_path_factory.mktemp("voc")
    images, tags, masks = coloured(16, 40)
    for folder in ("JPEGImages", "SegmentationClass", "Annotations", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    names = [f"2007_{i:06d}" for i in range(16)]
    for name, image, tag, mask in zip(names, images, tags, masks, strict=True):
        Image.fromarray(image.transpose(1, 2, 0)).save(root / f"JPEGImages/{name}.png")
        Image.fromarray(np.array([0, 8, 12], np.uint8)[mask]).save(root / f"SegmentationClass/{name}.png")
        there = [f"<object><name>{c}</name></object>" for c, one in zip(("cat", "dog"), tag, strict=True) if one]
        (root / f"Annotations/{name}.xml").write_text(f"<annotation>{''.join(there)}</annotation>")
    (root / "ImageSets/Segmentation/train.txt").write_text("\n".join(names[:12]) + "\n")
    (root / "ImageSets/Segmentation/val.txt").write_text("\n".join(names[12:]) + "\n")
    return root


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where tables lie that look at one run."""
    return tmp_path_factory.mktemp("study")


def tiny(table: Table) -> Table:
    """The same table from the smallest networks."""

    def small(row: Row) -> Row:
        variants = tuple(dataclasses.replace(v, options={**TINY["tags"], **v.options}) for v in row.variants)
        return dataclasses.replace(row, variants=tuple(_sized(v) for v in variants))

    return dataclasses.replace(table, rows=tuple(small(row) for row in table.rows))


def _sized(variant: Variant) -> Variant:
    """`size` is an argument of `fit`, not one of its options."""
    options = {k: v for k, v in variant.options.items() if k != "size"}
    return dataclasses.replace(variant, options=options, settings={**variant.settings, "size": 32})


@pytest.mark.slow
def test_the_stages_are_rows_of_one_run_and_scored_at_full_size(voc: Path, study: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("decoupe.engine.health.FULL", 2.0)
        found = reproduce(tiny(weak.STAGES), f"voc2012:{voc}", out=study)
    rows = {row["row"]: row for row in found["results"]}
    assert list(rows) == ["Grad-CAM", weak.CRF, weak.SEC, weak.BOTH, weak.TAUGHT, weak.SELF]
    assert rows["Grad-CAM"]["text"] == {"miou": 0.269} and rows[weak.BOTH]["text"] == {"miou": 0.506}
    assert len({row["seeds"][0]["run"] for row in found["results"]}) == 1, "every row looks at the same run"
    labelled = {name for name, row in rows.items() if row["uses_labels"]}
    assert labelled == {weak.SELF}, "the milder CRF was chosen on masks"
    run = Run.open(study / rows[weak.SEC]["seeds"][0]["run"])
    assert run.info["data"]["tags"].startswith("tags: cat") and run.info["data"]["n"] == 12
    assert [c.stage for c in run.candidates()] == ["classifier", "sec", "self-training 1", "self-training 2"]
    model = Model(run, run.candidates()[1].images)
    model.crf = None
    assert rows[weak.SEC]["metrics"]["miou"] == pytest.approx(_by_hand(model, voc), abs=2e-3)
    scored = evaluate(run, f"voc2012:{voc}")["results"]
    assert {row["matching"] for row in scored} == {"named"}, "regions are scored under their own names"
    assert (study / "weak-table-2/report.html").is_file() and rows[weak.SEC]["n_images"] == 4
    again = Path(shutil.copytree(study, tmp_path / "again"))
    lost = Run.open(again / rows[weak.SEC]["seeds"][0]["run"])
    lost.commit(status="collapsed", health={"healthy": False, "collapsed_at": 9})
    for row in reproduce(tiny(weak.STAGES), f"voc2012:{voc}", out=again)["results"]:
        assert row["status"] == "collapsed" and row["metrics"] == {} and row["n_runs"] == 0
        assert row["collapsed"]["n"] == row["collapsed"]["of"] == 1 and row["collapsed"]["at"] == [9]


def _by_hand(model: Model, voc: Path) -> float:
    dataset = open_dataset(f"voc2012:{voc}")
    protocol = protocol_of("voc2012", dataset.classes)
    hit, either = np.zeros(21), np.zeros(21)
    index = np.array([protocol.classes.index(name) for name in model.names])
    for sample in dataset.split("val")[1]:
        guess = index[model.segment_arrays([read_image(sample.image)])[0].argmax(0)]
        truth = sample.mask()
        for c in range(21):
            hit[c] += ((guess == c) & (truth == c)).sum()
            either[c] += ((guess == c) | (truth == c)).sum()
    return float((hit[either > 0] / either[either > 0]).mean())


def test_the_kernels_and_the_grid_are_settings_of_the_crf() -> None:
    assert _asked("maps") == ("maps", None) and _asked("self crf") == ("self", PRESETS["stego"])
    assert _asked("sec crf") == ("sec", PRESETS["sec-test"])
    smooth, appear = _asked("maps smooth")[1], _asked("maps appear")[1]
    assert smooth is not None and smooth.appearance == 0 and smooth.smoothness == 3
    assert appear is not None and appear.smoothness == 0 and appear.appearance == 10
    part, settings = _asked(TABLES["weak-crf-grid"].rows[0].short)
    assert part == "grid" and settings is not None and (settings.appearance_sxy, settings.srgb) == (20, 3.25)


def test_the_crf_of_a_row_is_that_of_the_photo() -> None:
    """Without a limit on the side, labels are those of `dense_crf` on the photo itself."""
    import torch

    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (24, 30, 3), dtype=np.uint8)
    probs = torch.rand(3, 24, 30, generator=torch.Generator().manual_seed(0)).softmax(0)
    wanted = dense_crf(probs, torch.from_numpy(image), PRESETS["sec-test"], None).argmax(0).numpy()
    found = _labels(probs.numpy().astype(np.float16), image, ("a", "b", "c"), PRESETS["sec-test"], None)
    assert (found == wanted).mean() > 0.98
    assert _labels(probs.numpy().astype(np.float16), image, ("a", "b", "c"), PRESETS["sec-test"], 12).shape == (24, 30)


@pytest.mark.slow
def test_the_grid_becomes_a_picture(voc: Path, study: Path) -> None:
    """Red where the mean IoU is highest, blue where it is lowest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("decoupe.engine.health.FULL", 2.0)
        found = reproduce(tiny(weak.GRID), f"voc2012:{voc}", out=study)
    assert len(found["results"]) == 25 and len({row["seeds"][0]["run"] for row in found["results"]}) == 1
    with Image.open(study / "weak-crf-grid/grid.png") as picture:
        assert picture.size == (6 * CELL, 6 * CELL)
    values = {(float(i), float(j)): float(i + j) for i in range(2) for j in range(2)}
    drawn = heat_map(values, [0, 1], [0, 1])
    assert drawn.getpixel((CELL + 2, CELL + 2)) == colour(0) and drawn.getpixel((3 * CELL - 3, 3 * CELL - 3)) == colour(
        1
    )


def test_photos_tags_and_weights_are_for_tables_of_tags(tmp_path: Path) -> None:
    with pytest.raises(UsageFault, match="a table of tags"):
        reproduce("redraw-attention", "flowers17:x", given={"weights": "w.pth"}, out=tmp_path)
    with pytest.raises(UsageFault, match="--tags FILE with --photos"):
        reproduce("weak-table-2", "voc2012:x", given={"photos": "p/"}, out=tmp_path)


@pytest.mark.slow
def test_other_photos_and_weights_reach_the_run(voc: Path, tmp_path: Path) -> None:
    """`--photos` and `--tags` in place of the layout's own, three of its classes by --protocol."""
    (tmp_path / "tags.csv").write_text(
        "image,tags\n" + "".join(f"2007_{i:06d}.png,cat cow dog horse person sheep\n" for i in range(8))
    )
    given = {"photos": str(voc / "JPEGImages"), "tags": str(tmp_path / "tags.csv")}
    table = dataclasses.replace(tiny(weak.KERNELS), rows=tiny(weak.KERNELS).rows[:1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("decoupe.engine.health.FULL", 2.0)
        found = reproduce(table, f"voc2012:{voc}", out=tmp_path / "study", protocol="voc2012-animals", given=given)
    run = Run.open(tmp_path / "study" / found["results"][0]["seeds"][0]["run"])
    assert run.info["data"]["n"] == 8 and run.info["spec"]["tags"] == ["cat", "cow", "dog", "horse", "person", "sheep"]
    assert found["protocol"] == "voc2012-animals" and "16 photos with tags" in found["trained_on"]
