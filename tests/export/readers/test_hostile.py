"""Masks that others wrote: every malformed or hostile file is refused in one line, before anything is allocated."""

from __future__ import annotations

import copy
import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from decoupe.errors import Fault
from decoupe.export import brush
from decoupe.export.readers import Masks, read_masks

COCO: dict[str, Any] = {
    "images": [{"id": 1, "file_name": "a.jpg", "height": 4, "width": 6}],
    "categories": [{"id": 7, "name": "leaf"}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 7, "segmentation": [[1, 1, 4, 1, 4, 3, 1, 3]]}],
}


def everything(masks: Masks) -> list[np.ndarray]:
    return [image.labels() for image in masks.images]


def refused(path: Path) -> str:
    tracemalloc.start()
    with pytest.raises(Fault) as caught:
        everything(read_masks(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400 and peak < 50_000_000
    return str(caught.value)


def coco_with(tmp_path: Path, **changes: Any) -> Path:
    content = copy.deepcopy(COCO)
    content["annotations"][0].update(changes.get("annotation", {}))
    content["images"][0].update(changes.get("image", {}))
    content.update(changes.get("top", {}))
    (tmp_path / "m.json").write_text(json.dumps(content))
    return tmp_path / "m.json"


def test_coco_polygons_and_lists(tmp_path: Path) -> None:
    expected = np.zeros((4, 6), int)
    expected[1:3, 1:4] = 1
    for shape in ([[1, 1, 4, 1, 4, 3, 1, 3]], {"size": [4, 6], "counts": [5, 2, 2, 2, 2, 2, 9]}):
        masks = read_masks(coco_with(tmp_path, annotation={"segmentation": shape}))
        assert masks.names == ("background", "leaf") and masks.images[0].name == "a.jpg"
        assert masks.images[0].labels().tolist() == expected.tolist()


SEGMENTATIONS: list[Any] = [
    {"size": [4, 6], "counts": [10, 20]}, {"size": [4, 6], "counts": [30, -6]}, {"size": [4, 6], "counts": [1e9]},
    {"size": [4, 6], "counts": "~~~"}, {"size": [4, 6], "counts": "oooooooooooooo"}, {"size": [4, 6], "counts": None},
    {"size": [4000, 6000], "counts": [24_000_000]}, {"size": None, "counts": []}, {"counts": []}, "text", 3,
    [[1, 1, 2]], [[1, 1, 2, 2]], [[float("nan"), 1, 2, 2, 3, 3]], [[1e999, 1, 2, 2, 3, 3]], [["x", 1, 2, 2, 3, 3]],
    [None], [[[1, 2]]], [[True, {}, 1, 2, 3, 4]],
]  # fmt: skip


@pytest.mark.parametrize("segmentation", SEGMENTATIONS, ids=str)
def test_coco_masks_that_are_none(tmp_path: Path, segmentation: Any) -> None:
    assert "m.json" in refused(coco_with(tmp_path, annotation={"segmentation": segmentation}))


@pytest.mark.parametrize(
    "changes",
    [
        {"image": {"height": 10**9}}, {"image": {"width": -1}}, {"image": {"width": 2.5}}, {"image": {"id": []}},
        {"annotation": {"image_id": 9}}, {"annotation": {"category_id": 9}}, {"top": {"images": None}},
        {"top": {"annotations": {"a": 1}}}, {"top": {"categories": [{"id": "x"}]}},
    ],
    ids=str,
)  # fmt: skip
def test_coco_that_contradicts_itself(tmp_path: Path, changes: dict[str, Any]) -> None:
    refused(coco_with(tmp_path, **changes))


@pytest.mark.parametrize(
    "text", ["", "{", "[" * 100_000, '{"a":' * 100_000, "[NaN]", "3", '"x"', "[3]", "[{}]", "\xff"]
)
def test_json_of_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "m.json").write_text(text, encoding="latin-1")
    refused(tmp_path / "m.json")


def cvat(shape: str, head: str = "", image: str = 'name="a.jpg" width="6" height="4"') -> str:
    return f'<?xml version="1.0"?>{head}<annotations><image id="0" {image}>{shape}</image></annotations>'


MASK = '<mask label="leaf" rle="{}" left="{}" top="1" width="{}" height="2"/>'
LAUGHS = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10 if i else "ha" * 10}">' for i in range(10))
XML = [
    cvat("", f"<!DOCTYPE x [{LAUGHS}]>"),
    cvat("", '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>'),
    cvat("", '<!DOCTYPE x SYSTEM "http://169.254.169.254/x.dtd">'),
    "<a>" * 100_000,
    "<annotations>" + "<a>" * 50 + "</a>" * 50 + "</annotations>",
    "", "text", "<annotations>", "<html/>",
    "<annotations><track id='0'/></annotations>",
    cvat(MASK.format("1, 99", 1, 3)), cvat(MASK.format("9, -3", 1, 3)), cvat(MASK.format("6", 5, 3)),
    cvat(MASK.format("6", -1, 3)), cvat(MASK.format("x", 1, 3)), cvat(MASK.format("9" * 9000, 1, 3)),
    cvat(MASK.format("2000000000", 1, 1000000000)), cvat(MASK.format("", 1, 3)),
    cvat('<polygon label="leaf" points="nan,1;2,2;3,3"/>'), cvat('<polygon label="leaf" points="1,1;2,2"/>'),
    cvat('<polygon label="leaf" points="1,1;2;3,3"/>'), cvat('<polygon label="leaf" points=""/>'),
    cvat('<polygon label="leaf" points="inf,1;2,2;3,3"/>'), cvat('<polygon points="0,1;2,2;3,3"/>'),
    cvat('<box label="leaf" xtl="nan" ytl="1" xbr="2" ybr="3"/>'),
    cvat("", image='name="a" width="99999999" height="99999999"'), cvat("", image='name="a" width="6"'),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(XML)))
def test_xml_that_is_hostile_or_malformed(tmp_path: Path, number: int) -> None:
    (tmp_path / "m.xml").write_text(XML[number])
    said = refused(tmp_path / "m.xml")
    assert "m.xml" in said and (number > 2 or "document type" in said)


def test_cvat_shapes_by_height(tmp_path: Path) -> None:
    shapes = '<box label="b" xtl="0" ytl="0" xbr="3" ybr="4" z_order="2"/><polygon label="a" points="0,0;6,0;6,2;0,2"/>'
    (tmp_path / "m.xml").write_text(cvat(shapes + '<points label="c" points="1,1"/>'))
    masks = read_masks(tmp_path / "m.xml")
    labels = masks.images[0].labels()
    assert masks.names[labels[0, 0]] == "b" and masks.names[labels[0, 5]] == "a" and masks.names[labels[3, 5]] != "a"


def task(value: dict[str, Any], **more: Any) -> dict[str, Any]:
    one = {"original_width": 6, "original_height": 4, "image_rotation": 0, "value": value, **more}
    return {"data": {"image": "a.jpg"}, "annotations": [{"result": [one]}]}


GOOD = list(brush.encode((4, 16, 4)))
TASKS = [
    task({"brushlabels": ["x"], "rle": GOOD[:-2]}), task({"brushlabels": ["x"], "rle": [300, 1]}),
    task({"brushlabels": ["x"], "rle": [-1]}), task({"brushlabels": ["x"], "rle": 10**12}),
    task({"brushlabels": ["x"], "rle": [255] * 60}), task({"brushlabels": ["x"]}),
    task({"brushlabels": 3, "rle": GOOD}),
    task({"brushlabels": ["x"], "rle": GOOD}, original_width=10**6, original_height=10**6),
    task({"brushlabels": ["x"], "rle": GOOD}, original_width="x"),
    task({"brushlabels": ["x"], "rle": GOOD}, image_rotation=90),
    task({"polygonlabels": ["x"], "points": [[0, 0], [1, 1]]}), task({"polygonlabels": ["x"], "points": None}),
    task({"polygonlabels": ["x"], "points": [[0, 0], [1e999, 1], [2, 2]]}),
    task({"polygonlabels": ["x"], "points": [[0, 0], ["x", 1], [2, 2]]}),
    task({"rectanglelabels": ["x"], "x": 0, "y": 0, "width": 10, "height": 10, "rotation": 45}),
    {"data": {}, "annotations": []}, {"annotations": []}, {"data": {"image": 3}}, 5, None,
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(TASKS)))
def test_tasks_that_are_hostile_or_malformed(tmp_path: Path, number: int) -> None:
    (tmp_path / "m.json").write_text(json.dumps([TASKS[number]]))
    refused(tmp_path / "m.json")


def test_tasks_take_the_last_annotation_that_counts(tmp_path: Path) -> None:
    box = {"x": 0, "y": 0, "width": 50, "height": 100}
    one = task({"rectanglelabels": ["x"], **box})
    one["annotations"].append({"was_cancelled": True, "result": []})
    one["data"] = {"image": "/data/upload/3/ab12-a.jpg"}
    (tmp_path / "m.json").write_text(json.dumps([one]))
    (image,) = read_masks(tmp_path / "m.json").images
    assert image.name == "ab12-a.jpg" and image.labels().tolist() == [[1, 1, 1, 0, 0, 0]] * 4


def voc(folder: Path, listed: str = "a", table: str | None = "background:0,0,0::\nleaf:128,0,0::") -> Path:
    (folder / "SegmentationClass").mkdir(parents=True)
    (folder / "ImageSets" / "Segmentation").mkdir(parents=True)
    pixels = np.zeros((4, 6, 3), np.uint8)
    pixels[1:3, 1:3], pixels[0, 0] = (128, 0, 0), (224, 224, 192)
    Pillow.fromarray(pixels).save(folder / "SegmentationClass" / "a.png")
    (folder / "ImageSets" / "Segmentation" / "train.txt").write_text(listed)
    if table is not None:
        (folder / "labelmap.txt").write_text(table)
    return folder


def test_voc_by_colours(tmp_path: Path) -> None:
    masks = read_masks(voc(tmp_path / "voc"))
    labels = masks.images[0].labels()
    assert masks.names == ("background", "leaf") and labels[1, 1] == 1 and labels[0, 0] == 255 and labels[3, 3] == 0


@pytest.mark.parametrize(
    ("listed", "table"),
    [
        ("../../secret", ""), ("/etc/passwd", ""), ('"cut', ""), ("b", ""), ("a", "background:0,0,0::"),
        ("a", "leaf"), ("a", "leaf:1,2::"), ("a", "leaf:1,2,999::"), ("a", "leaf:x,y,z::"), ("a\0", ""), ("a", None),
    ],
)  # fmt: skip
def test_voc_that_leads_outside_or_is_malformed(tmp_path: Path, listed: str, table: str | None) -> None:
    (tmp_path / "secret.png").write_bytes(b"secret")
    refused(voc(tmp_path / "voc", listed, table))


def test_png_folders(tmp_path: Path) -> None:
    for bad in (tmp_path, tmp_path / "none.png", tmp_path / "x.bmp", tmp_path / "none"):
        refused(bad)
    (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\xff" * 50)
    refused(tmp_path / "x.png")
