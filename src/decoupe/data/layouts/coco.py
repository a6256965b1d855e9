"""COCO: photos with outlines of the things of 80 classes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from decoupe.data.layouts.base import Dataset, Layout, Missing, Sample, file, folder, images, with_keys
from decoupe.errors import Fault
from decoupe.export import rle
from decoupe.export.readers.base import polygon
from decoupe.types import VOID, InstanceMap, Labels

PARTS = {"train2017": "train", "val2017": "val"}


def one_mask(segmentation: Any, size: tuple[int, int]) -> rle.Mask:
    """(H, W) bool of one annotation: polygons [x, y, x, y, ...] in pixels, or run lengths, compressed or not."""
    if isinstance(segmentation, Mapping):
        counts = segmentation["counts"]
        return rle.decode(rle.from_string(counts, size) if isinstance(counts, str) else counts, size)
    drawn = np.zeros(size, bool)
    for ring in segmentation:
        if len(ring) >= 6:
            mask, top, left = polygon([np.asarray(ring, np.float64).reshape(-1, 2)], size)()
            drawn[top : top + mask.shape[0], left : left + mask.shape[1]] |= mask
    return drawn


def _drawn(path: Path, size: tuple[int, int], things: Sequence[Mapping[str, Any]]) -> list[rle.Mask]:
    try:
        return [one_mask(thing["segmentation"], size) for thing in things]
    except (KeyError, TypeError, ValueError) as error:
        raise Fault(f"outlines as COCO has them in {path}", str(error)[:80], "restore the file") from None


def labels(path: Path, size: tuple[int, int], things: Sequence[Mapping[str, Any]], ids: Mapping[int, int]) -> Labels:
    """(H, W) class ids of an image's annotations, small things on large ones, crowds void where nothing else is."""
    ordered = sorted(things, key=lambda thing: (not thing.get("iscrowd"), -float(thing.get("area", 0))))
    found = np.zeros(size, np.int64)
    for thing, mask in zip(ordered, _drawn(path, size, ordered), strict=True):
        found[mask] = VOID if thing.get("iscrowd") else ids[thing["category_id"]]
    return found


def instances(path: Path, size: tuple[int, int], things: Sequence[Mapping[str, Any]]) -> InstanceMap:
    """(H, W) instance ids: 1, 2, ... from the largest thing to the smallest, -1 in crowds."""
    ordered = sorted(things, key=lambda thing: (not thing.get("iscrowd"), -float(thing.get("area", 0))))
    found, number = np.zeros(size, np.int32), 0
    for thing, mask in zip(ordered, _drawn(path, size, ordered), strict=True):
        number += 0 if thing.get("iscrowd") else 1
        found[mask] = -1 if thing.get("iscrowd") else number
    return found


def _part(root: Path, part: str, photos: Mapping[str, Path]) -> tuple[list[Any], dict[int, str]]:
    """(rows (stem, split, path, size, things), names of the categories by id) of one instances_*.json."""
    path = file(root, f"annotations/instances_{part}.json", f"instances_{part}.json")
    try:
        content = json.loads(path.read_bytes())
        names = {int(one["id"]): str(one["name"]) for one in content["categories"]}
        things: dict[int, list[Any]] = {int(one["id"]): [] for one in content["images"]}
        for thing in content["annotations"]:
            things[int(thing["image_id"])].append(thing)
        rows = []
        for one in content["images"]:
            stem = Path(one["file_name"]).stem
            if stem in photos:
                size = (int(one["height"]), int(one["width"]))
                rows.append((f"{part}/{stem}", PARTS[part], path, photos[stem], size, things[int(one["id"])]))
    except (OSError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise Missing(f"{path.name} not as COCO has it ({type(error).__name__}: {str(error)[:60]})") from None
    return rows, names


def coco(root: Path) -> Dataset:
    """{train2017,val2017}/ (or under images/) and annotations/instances_*.json; classes in the order of their ids."""
    rows: list[Any] = []
    names: dict[int, str] = {}
    for part in PARTS:
        place = next((p for p in (root / part, root / "images" / part) if p.is_dir()), None)
        if place is not None:
            found, known = _part(root, part, images(place))
            rows += found
            names |= known
    if not rows:
        folder(root, "val2017", "train2017", "images")
        raise Missing("no image of val2017/ or train2017/ in annotations/instances_*.json")
    ids = {category: index for index, category in enumerate(sorted(names), start=1)}
    samples = [
        Sample(
            key, photo, split, path,
            reader=partial(labels, size=size, things=things, ids=ids),
            instance_reader=partial(instances, size=size, things=things),
            tags=frozenset(names[int(thing["category_id"])] for thing in things),
        )
        for (_, split, path, photo, size, things), key in zip(rows, with_keys([row[0] for row in rows]), strict=True)
    ]  # fmt: skip
    classes = ("background", *(names[category] for category in ids))
    rule = "80 classes of things and background, crowds void; outlines filled; val2017"
    return Dataset("coco", root, classes, samples, rule)


LAYOUTS = {"coco": Layout("{train2017,val2017}/NNNNNNNNNNNN.jpg, annotations/instances_{train,val}2017.json", coco)}
