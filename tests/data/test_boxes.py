"""Boxes from every form of file end as items."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from decoupe.data.boxes import read_boxes
from decoupe.data.sources import Item
from decoupe.errors import Fault

ITEMS = [Item(Path("/photos/x/a.jpg"), "x/a"), Item(Path("/photos/y/a.jpg"), "y/a"), Item(Path("/photos/b.png"), "b")]
A, B = (1.0, 2.0, 11.0, 22.0), (3.0, 4.0, 33.0, 44.0)


@pytest.mark.parametrize(
    ("header", "rows"),
    [
        ("image,x0,y0,x1,y1", ["x/a.jpg,1,2,11,22", "b.png,3,4,33,44"]),
        ("Image,x,y,w,h,score", ["photos/x/a.jpg,1,2,10,20,.9", "b.png,3,4,30,40,.1"]),
        ("filename;xmin;ymin;xmax;ymax", ["x/a.jpg;1;2;11;22", "elsewhere/b.png;3;4;33;44"]),
        ("class,path,x1,y1,x2,y2", ["cat,/photos/x/a.jpg,1,2,11,22", "dog,b.png,3,4,33,44"]),
        ("image_id,left,top,width,height", ["x/a.jpg,1,2,10,20", "b.png,3,4,30,40"]),
    ],
)
def test_csv(tmp_path: Path, header: str, rows: list[str]) -> None:
    path = tmp_path / "boxes.csv"
    path.write_text("\n".join([header, *rows]))
    out = read_boxes(path, ITEMS)
    assert [(item.key, item.box, item.path) for item in out] == [
        ("x/a", A, ITEMS[0].path), ("b", B, ITEMS[2].path),
    ]  # fmt: skip


def test_coco(tmp_path: Path) -> None:
    path = tmp_path / "boxes.json"
    images = [{"id": 7, "file_name": "x/a.jpg"}, {"id": 9, "file_name": "b.png"}]
    boxes = [{"image_id": 7, "bbox": [1, 2, 10, 20]}, {"image_id": 9, "bbox": [3, 4, 30, 40]}, {"image_id": 9}]
    path.write_text(json.dumps({"images": images, "annotations": boxes}))
    assert [item.box for item in read_boxes(path, ITEMS)] == [A, B]


def test_cub_and_celeba(tmp_path: Path) -> None:
    (tmp_path / "images.txt").write_text("1 x/a.jpg\n2 b.png\n")
    (tmp_path / "bounding_boxes.txt").write_text("1 1.0 2.0 10.0 20.0\n2 3.0 4.0 30.0 40.0\n")
    assert [item.box for item in read_boxes(tmp_path, ITEMS)] == [A, B]
    assert [item.box for item in read_boxes(tmp_path / "bounding_boxes.txt", ITEMS)] == [A, B]
    faces = tmp_path / "list_bbox_celeba.txt"
    faces.write_text("2\nimage_id x_1 y_1 width height\nx/a.jpg  1 2 10 20\nb.png 3 4 30  40 \n")
    assert [item.box for item in read_boxes(faces, ITEMS)] == [A, B]


def test_several_boxes_get_keys_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    path.write_text("image,x,y,w,h\nb.png,0,0,9,9\nb.png,1,1,9,9\nx/a.jpg,1,1,9,9\n")
    items = [*ITEMS, Item(Path("/photos/b_1.png"), "b_1")]
    out = read_boxes(path, items)
    assert [item.key for item in out] == ["x/a", "b_1_", "b_2"]
    assert [item.path.name for item in out] == ["a.jpg", "b.png", "b.png"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("b.csv", "image,x0,y0\nb.png,1,2\n", "ValueError: columns image, x0, y0"),
        ("b.csv", "image,x,y,w,h\nb.png,1,2,three,4\n", "three"),
        ("b.csv", "", "columns missing"),
        ("b.csv", "image,x,y,w,h\nc.png,1,2,3,4\n", "names 'c.png'"),
        ("b.csv", "image,x,y,w,h\na.jpg,1,2,3,4\n", "fits 2"),
        ("b.json", "[" * 100_000, "RecursionError"),
        ("b.json", "{}", "KeyError"),
        (
            "b.json",
            '{"images": [{"id": 1, "file_name": "b.png"}], "annotations": [{"image_id": 1, "bbox": [1]}]}',
            "Val",
        ),
        ("bounding_boxes.txt", "1 2 3 4 5\n", "FileNotFoundError"),
        ("list_bbox_celeba.txt", "1\nimage_id x_1 y_1 width height\nb.png 1 2 3\n", "ValueError"),
    ],
)
def test_wrong_files_are_named(tmp_path: Path, name: str, content: str, words: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(Fault, match=words) as caught:
        read_boxes(tmp_path / name, ITEMS)
    assert "\n" not in str(caught.value)
    with pytest.raises(Fault, match="does not exist"):
        read_boxes(tmp_path / "none.csv", ITEMS)


def test_a_name_never_opens_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "boxes.csv"
    path.write_text("image,x,y,w,h\n../../etc/passwd,1,2,3,4\nb.png,3,4,30,40\n\0,1,1,1,1\n")
    assert [item.box for item in read_boxes(path, ITEMS)] == [B]
