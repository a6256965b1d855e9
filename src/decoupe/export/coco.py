"""`coco`: coco.json, instances as compressed run-length masks.

One annotation per 8-connected component of every region but the background, down to `MIN_SHARE` of the image.
Category ids are the label values of `png` where region 0 is the background, else those plus one.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from typing import Any, ClassVar, TextIO

import numpy as np
from scipy import ndimage

from decoupe.export import rle
from decoupe.export.base import STATE, Segmented, Writer
from decoupe.export.csv import NEIGHBOURS
from decoupe.export.palette import is_background
from decoupe.types import Image

MIN_SHARE = 1e-4
"""Components smaller than this share of the image's pixels are left out."""


def category(region: int, names: Sequence[str]) -> int:
    """COCO category id of a region; never 0 for an object."""
    return region if names and is_background(names[0]) else region + 1


def instances(regions: Segmented) -> list[list[Any]]:
    """[region, compressed string, area in pixels, x, y, width, height, score] of every component, in reading order.

    The score is the region's mean probability over the component.
    """
    labels, found = regions.labels, []
    smallest = math.ceil(MIN_SHARE * labels.size)
    for region, name in enumerate(regions.names):
        if is_background(name):
            continue
        parts, count = ndimage.label(labels == region, NEIGHBOURS)
        sizes = np.bincount(parts.ravel(), minlength=count + 1)
        for part, box in enumerate(ndimage.find_objects(parts), start=1):
            if box is None or sizes[part] < smallest:
                continue
            mask = parts[box] == part
            y, x = int(box[0].start), int(box[1].start)
            text = rle.to_string(rle.encode(mask, (labels.shape[0], labels.shape[1]), (y, x)))
            score = round(float(regions.probs[region][box][mask].mean()), 4)
            found.append([region, text, int(sizes[part]), x, y, mask.shape[1], mask.shape[0], score])
    return found


class CocoWriter(Writer):
    """`coco.json`."""

    NAME: ClassVar[str] = "coco"
    FILE: ClassVar[str | None] = "coco.json"
    PROBS: ClassVar[bool] = True

    def write(self, key: str, image: Image | None, regions: Segmented) -> list[list[Any]]:
        """Find one image's instances."""
        return instances(regions)

    def close(self) -> None:
        """Write coco.json, streaming over the records."""
        temporary = self.place.out / STATE / f"coco-{os.getpid()}.tmp"
        with temporary.open("w", encoding="utf-8") as file:
            self._fill(file)
        temporary.replace(self.place.out / "coco.json")

    def _fill(self, file: TextIO) -> None:
        names = self.place.names
        kinds = [
            {"id": category(region, names), "name": name, "supercategory": "region"}
            for region, name in enumerate(names)
            if not is_background(name)
        ]
        file.write('{"info": {"description": "regions found by decoupe"}, "licenses": [],\n')
        file.write(f'"categories": {json.dumps(kinds)},\n"images": [')
        for number, record in enumerate(self.place.records(self.NAME), start=1):
            image = {"id": number, "file_name": record.name, "width": record.size[1], "height": record.size[0]}
            file.write(("," if number > 1 else "") + "\n" + json.dumps(image))
        file.write('],\n"annotations": [')
        count = 0
        for number, record in enumerate(self.place.records(self.NAME), start=1):
            for region, text, area, x, y, width, height, score in record.content:
                count += 1
                annotation = {
                    "id": count,
                    "image_id": number,
                    "category_id": category(region, names),
                    "segmentation": {"size": list(record.size), "counts": text},
                    "area": area,
                    "bbox": [x, y, width, height],
                    "score": score,
                    "iscrowd": 0,
                }
                file.write(("," if count > 1 else "") + "\n" + json.dumps(annotation))
        file.write("]}\n")
