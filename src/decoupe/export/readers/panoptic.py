"""COCO panoptic to label maps: a JSON file, and beside it the folder of PNGs that has its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from decoupe.data.decode import read_image
from decoupe.data.paths import inside
from decoupe.errors import Fault
from decoupe.export.readers.base import REMEDY, Annotated, Masks, refusing, size_of
from decoupe.export.readers.coco import classes
from decoupe.types import VOID, Labels


def is_panoptic(content: Any) -> bool:
    """Whether the content of a COCO file is panoptic."""
    try:
        return any("segments_info" in one for one in content["annotations"][:1])
    except (TypeError, KeyError, IndexError):
        return False


def read_panoptic(path: Path, content: Any) -> Masks:
    """Label maps of a COCO panoptic file; pixels of no segment are 255. Fault in one line on anything malformed."""
    with refusing("COCO panoptic", path):
        names, label = classes({int(kind["id"]): str(kind["name"]) for kind in content["categories"]})
        images = {one["id"]: one for one in content["images"]}
        folder = path.with_suffix("")
        if len(names) > VOID:
            raise Fault(f"at most {VOID} categories", str(len(names)), "leave some out")
        found = [_image(path, folder, images[one["image_id"]], one, label) for one in content["annotations"]]
        return Masks(names, tuple(found))


def _image(path: Path, folder: Path, about: Any, one: Any, label: dict[int, int]) -> Annotated:
    name = str(about["file_name"])
    size = size_of(about["height"], about["width"], name)
    kinds = {int(info["id"]): label[info["category_id"]] for info in one["segments_info"]}
    png = inside(folder, str(one["file_name"]))

    def labels() -> Labels:
        with refusing("COCO panoptic", path):
            pixels = read_image(png).astype(np.int64)
            if pixels.shape != (*size, 3):
                raise Fault("colours the size of the image", f"{pixels.shape} for {name:.80}", REMEDY)
            found, where = np.unique(pixels @ np.array([1, 256, 65536]), return_inverse=True)
            unknown = [value for value in found.tolist() if value and value not in kinds]
            if unknown:
                raise Fault("segments that segments_info lists", f"{unknown[0]} for {name:.80}", REMEDY)
            return np.asarray([kinds.get(v, VOID) for v in found.tolist()], np.int64)[where].reshape(size)

    return Annotated(name, labels)
