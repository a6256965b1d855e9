"""Boxes around objects, in the forms people have them: CSV, COCO JSON, CUB-200 text files, CelebA's list."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from decoupe.data.keys import shorten
from decoupe.data.sources import COLUMNS, Item, read_csv
from decoupe.errors import Fault

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels of the upright image; right and lower ends exclusive."""

_CORNERS = (
    ("x0", "y0", "x1", "y1"),
    ("xmin", "ymin", "xmax", "ymax"),
    ("left", "top", "right", "bottom"),
    ("x1", "y1", "x2", "y2"),
)
_SIZES = (("x", "y", "w", "h"), ("x", "y", "width", "height"), ("left", "top", "width", "height"))
_FORMS = "a CSV with columns image,x0,y0,x1,y1 or image,x,y,w,h, COCO JSON, CUB bounding_boxes.txt, CelebA's list"


def read_boxes(path: str | Path, items: Sequence[Item]) -> list[Item]:
    """The items with their boxes: one item per box (keys numbered where an image has several), boxless ones left out.

    A name in the file belongs to the image whose path ends with it; when none does, to the only image with that file
    name. Nothing is opened by such a name. Boxes are checked against their images later, by `survey`.

    Args:
        path: a CSV (image,x0,y0,x1,y1 or image,x,y,w,h and common variants), COCO JSON, a CUB-200 folder or its
            bounding_boxes.txt, or CelebA's list_bbox_celeba.txt.

    Raises:
        Fault: the file has none of these forms, a number is none, a name fits several images, or no image has a box.
    """
    named: dict[str, list[Box]] = defaultdict(list)
    for name, box in read_table(Path(path)):
        named[name].append(box)
    boxes = _match(named, items, Path(path))
    out, taken = [], {item.key.casefold() for item in items}
    for index, item in enumerate(items):
        mine = boxes.get(index, [])
        for number, box in enumerate(mine, 1):
            key = item.key if len(mine) == 1 else _numbered(item.key, number, taken)
            out.append(replace(item, key=key, box=box))
    if not out:
        first = next(iter(named), "nothing")
        raise Fault("boxes of these images", f"{path}, which names {first!r}...", "use the same file names in both")
    return out


def read_table(path: Path) -> list[tuple[str, Box]]:
    """(image name, box) rows of any of the known forms. Raises `Fault` as `read_boxes` does."""
    if path.is_dir():
        path = path / "bounding_boxes.txt"
    if not path.is_file():
        raise Fault(_FORMS, f"{path}, which does not exist", "check the path")
    try:
        if path.suffix.lower() == ".json":
            return _coco(path)
        if path.suffix.lower() in (".csv", ".tsv"):
            return _csv(path)
        lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        if len(lines) > 1 and lines[1][0] == "image_id":
            return [(line[0], _sized(line[1:5])) for line in lines[2:]]
        names = path.with_name("images.txt").read_text(encoding="utf-8").splitlines()
        table = dict(line.split(maxsplit=1) for line in names if line.strip())
        return [(table[line[0]].strip(), _sized(line[1:5])) for line in lines]
    except (
        OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError, OverflowError,
    ) as error:  # fmt: skip
        raise Fault(_FORMS, f"{path} ({type(error).__name__}: {str(error)[:80]})", "correct the file") from None


def _sized(numbers: Sequence[str | float]) -> Box:
    """x, y, width, height -> corners."""
    x, y, width, height = (float(number) for number in numbers)
    return x, y, x + width, y + height


def _coco(path: Path) -> list[tuple[str, Box]]:
    content = json.loads(path.read_text(encoding="utf-8"))
    names = {image["id"]: str(image["file_name"]) for image in content["images"]}
    return [(names[one["image_id"]], _sized(one["bbox"])) for one in content["annotations"] if one.get("bbox")]


def _csv(path: Path) -> list[tuple[str, Box]]:
    rows = [{name.lower(): cell for name, cell in row.items()} for row in read_csv(path)]
    header = set(rows[0]) if rows else set[str]()
    name = next((column for column in (*COLUMNS, "image_id") if column in header), None)
    corners = next((columns for columns in _CORNERS if header.issuperset(columns)), None)
    sizes = next((columns for columns in _SIZES if header.issuperset(columns)), None)
    if name is None or (corners or sizes) is None:
        raise ValueError(f"columns {', '.join(sorted(header)) or 'missing'}")
    if corners is not None:
        x0, y0, x1, y1 = corners
        return [(row[name], (float(row[x0]), float(row[y0]), float(row[x1]), float(row[y1]))) for row in rows]
    return [(row[name], _sized([row[column] for column in sizes or ()])) for row in rows]


def _match(named: Mapping[str, list[Box]], items: Sequence[Item], path: Path) -> dict[int, list[Box]]:
    """Item index -> its boxes."""
    by_name: dict[str, list[int]] = defaultdict(list)
    for index, item in enumerate(items):
        by_name[item.path.name].append(index)
    out: dict[int, list[Box]] = {}
    for name, boxes in named.items():
        parts = PurePosixPath(name.replace("\\", "/")).parts
        alike = by_name.get(parts[-1], []) if parts else []
        exact = [index for index in alike if items[index].path.parts[-len(parts) :] == parts]
        fits = exact or alike
        if len(fits) > 1:
            raise Fault(
                "image names that fit one image each", f"{name!r} in {path}, which fits {len(fits)}", "add its folder"
            )
        for index in fits:
            out.setdefault(index, []).extend(boxes)
    return out


def _numbered(key: str, number: int, taken: set[str]) -> str:
    """`key_1`, or with more underscores should another image be called so."""
    choice = shorten(f"{key}_{number}", f"{key}_{number}")
    while choice.casefold() in taken:
        choice = shorten(f"{choice}_", choice + "_")
    taken.add(choice.casefold())
    return choice
