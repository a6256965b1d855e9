"""COCO to label maps: instances as run lengths, strings or lists, and polygons; panoptic files by their own reader."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from decoupe.export import rle
from decoupe.export.palette import is_background
from decoupe.export.parts import unique
from decoupe.export.readers.base import Crop, Masks, load_json, painted, polygon, refusing, size_of


def read_coco(path: Path) -> Masks:
    """Label maps of a COCO file; where objects overlap, the later one. Fault in one line on anything malformed.

    Objects without a mask (a box alone) are passed over.
    """
    content = load_json(path)
    from decoupe.export.readers.panoptic import is_panoptic, read_panoptic

    if is_panoptic(content):
        return read_panoptic(path, content)
    with refusing("COCO instances", path):
        names, label = classes({int(kind["id"]): str(kind["name"]) for kind in content["categories"]})
        sizes = {one["id"]: size_of(one["height"], one["width"], str(one["file_name"])) for one in content["images"]}
        shapes: dict[Any, list[tuple[int, Callable[[], Crop]]]] = {number: [] for number in sizes}
        for one in content["annotations"]:
            if one.get("segmentation"):
                shape = _shape(one["segmentation"], sizes[one["image_id"]])
                shapes[one["image_id"]].append((label[one["category_id"]], shape))
        images = [
            painted(path, str(one["file_name"]), sizes[one["id"]], shapes[one["id"]]) for one in content["images"]
        ]
        return Masks(names, tuple(images))


def classes(kinds: dict[int, str]) -> tuple[tuple[str, ...], dict[int, int]]:
    """Names by label, and label by category; a category named background is label 0, twins stay apart."""
    things = sorted(number for number, name in kinds.items() if not is_background(name))
    names = ("background", *unique([kinds[number] for number in things], ("background",)))
    return names, dict.fromkeys(kinds, 0) | {number: label for label, number in enumerate(things, start=1)}


def _shape(segmentation: Any, size: tuple[int, int]) -> Callable[[], Crop]:
    if isinstance(segmentation, list):
        flat = [np.asarray(ring, np.float64) for ring in segmentation]
        crops = [polygon([ring.reshape(-1, 2)], size) for ring in flat]
        return lambda: _union(crops, size)
    if tuple(segmentation["size"]) != size:
        raise rle.BadRle(f"a mask of {segmentation['size']!r:.40} for an image of {list(size)}")
    counts = segmentation["counts"]
    if isinstance(counts, str):
        return lambda: (rle.decode(rle.from_string(counts, size), size), 0, 0)
    rle.check(counts, size)
    return lambda: (rle.decode(counts, size), 0, 0)


def _union(crops: list[Callable[[], Crop]], size: tuple[int, int]) -> Crop:
    """The polygons of one object are its parts, as COCO has it."""
    whole = np.zeros(size, bool)
    for crop in crops:
        mask, top, left = crop()
        whole[top : top + mask.shape[0], left : left + mask.shape[1]] |= mask
    return whole, 0, 0
