"""Masks of annotation tools beside photos: the same pixels as the masks they were made of, in every verb."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from decoupe.data.catalogue import open_dataset
from decoupe.data.sources import Item
from decoupe.errors import Fault
from decoupe.evaluate.run import evaluate
from decoupe.export.readers.base import Annotated, Masks
from decoupe.export.readers.pairs import pairs, stem_of
from decoupe.naming import labelled_spec, name
from decoupe.segment import segment
from tests.bright import Bright

FORMATS = {
    "coco": "coco.json", "coco-panoptic": "coco.panoptic.json", "cvat": "cvat.xml", "labelstudio": "labelstudio.json",
    "voc": "dataset.voc",
}  # fmt: skip


@pytest.fixture(scope="module")
def labelled(synth: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Masks of the built-in photos by a stand-in model, in the formats of several tools."""
    folder = tmp_path_factory.mktemp("annotated")
    segment(Bright(), synth / "images", folder / "out", ("png", *FORMATS))
    return folder / "out"


def beside(tmp_path: Path, synth: Path, labelled: Path, kind: str) -> Path:
    """A folder with images/ and one file of masks."""
    root = tmp_path / kind
    shutil.copytree(synth / "images", root / "images")
    source = labelled / FORMATS[kind]
    (shutil.copytree if source.is_dir() else shutil.copy)(source, root / source.name)
    if kind == "coco-panoptic":
        shutil.copytree(labelled / "coco.panoptic", root / "coco.panoptic")
    return root


@pytest.mark.parametrize("kind", FORMATS)
def test_the_layout_has_the_pixels_that_were_written(tmp_path: Path, synth: Path, labelled: Path, kind: str) -> None:
    dataset = open_dataset(f"annotated:{beside(tmp_path, synth, labelled, kind)}")
    assert dataset.classes[:2] == ("background", "object")
    _, samples = dataset.split(None)
    assert len(samples) == 8
    for sample in samples:
        written = np.asarray(Pillow.open(labelled / f"{sample.key}.png"))
        assert np.array_equal(sample.mask(), written), sample.key


def test_evaluate_and_name_read_them(tmp_path: Path, synth: Path, labelled: Path, tiny_run: Path) -> None:
    root = beside(tmp_path, synth, labelled, "coco")
    content = json.loads((root / "coco.json").read_text())
    content["categories"][0]["name"] = "beetle"
    (root / "coco.json").write_text(json.dumps(content))
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    assert labelled_spec(str(root)) == f"annotated:{root}"
    named = name(run, from_masks=root)
    assert set(named["names"]) <= {"background", "beetle", "background 2", "beetle 2", "object"} and named["sentences"]
    rows = evaluate(run, f"annotated:{root}")["results"]
    assert rows[0]["classes"] == ["background", "beetle"] and rows[0]["n_images"] == 8
    assert 0 <= rows[0]["metrics"]["iou"] <= 1


def masks_of(*names: str) -> Masks:
    return Masks((), tuple(Annotated(one, lambda: np.zeros((2, 2), np.int64)) for one in names))


def items(*names: str) -> list[Item]:
    return [Item(Path(one), stem_of(one)) for one in names]


def test_masks_belong_to_photos_of_their_name() -> None:
    found = pairs(masks_of("b/x.jpg", "C", "tools/y.PNG", "gone.jpg"), items("a/x.jpg", "b/x.jpg", "C.tif", "q/y.png"))
    assert [(str(item.path), one.name) for item, one in found] == [
        ("b/x.jpg", "b/x.jpg"), ("C.tif", "C"), ("q/y.png", "tools/y.PNG"),
    ]  # fmt: skip


def test_ambiguous_names_belong_to_nobody() -> None:
    with pytest.raises(Fault, match="named like their photos"):
        pairs(masks_of("x.jpg"), items("a/x.jpg", "b/x.jpg"))
    with pytest.raises(Fault, match="one mask for each photo"):
        pairs(masks_of("a.jpg", "a.png"), items("a.jpg"))


def test_what_is_missing_or_double_is_said(tmp_path: Path, synth: Path, labelled: Path) -> None:
    root = beside(tmp_path, synth, labelled, "coco")
    shutil.copy(labelled / "cvat.xml", root)
    with pytest.raises(Fault, match="several files of masks"):
        open_dataset(f"annotated:{root}")
    for file in ("coco.json", "cvat.xml"):
        (root / file).unlink()
    with pytest.raises(Fault, match="no file of masks"):
        open_dataset(f"annotated:{root}")


@pytest.mark.parametrize("file", ["../../secret.png", "/etc/passwd", "..", "x\0.png", "a/../../../b.png"])
def test_panoptic_names_cannot_lead_outside(tmp_path: Path, file: str) -> None:
    from decoupe.export.readers import read_masks

    content = {
        "categories": [{"id": 1, "name": "a"}], "images": [{"id": 1, "file_name": "a.jpg", "width": 2, "height": 2}],
        "annotations": [{"image_id": 1, "file_name": file, "segments_info": [{"id": 1, "category_id": 1}]}],
    }  # fmt: skip
    (tmp_path / "p.json").write_text(json.dumps(content))
    (tmp_path / "p").mkdir()
    with pytest.raises(Fault):
        read_masks(tmp_path / "p.json").images[0].labels()


@pytest.mark.parametrize("wrong", ["id", "size", "missing"])
def test_panoptic_pictures_that_do_not_fit_are_refused(tmp_path: Path, labelled: Path, wrong: str) -> None:
    from decoupe.export.readers import read_masks

    shutil.copy(labelled / "coco.panoptic.json", tmp_path)
    shutil.copytree(labelled / "coco.panoptic", tmp_path / "coco.panoptic")
    first = sorted((tmp_path / "coco.panoptic").rglob("*.png"))[0]
    pixels = np.asarray(Pillow.open(first)).copy()
    first.unlink()
    if wrong == "id":
        pixels[0, 0] = 9, 9, 9
    if wrong != "missing":
        Pillow.fromarray(pixels if wrong == "id" else pixels[:-1]).save(first)
    with pytest.raises(Fault) as caught:
        read_masks(tmp_path / "coco.panoptic.json").images[0].labels()
    assert "\n" not in str(caught.value)
