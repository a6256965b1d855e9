"""`coco`: coco.json, instances as compressed run-length masks.

One annotation per 8-connected component of every region but the background, down to `MIN_SHARE` of the image.
Category ids are the label values of `png` where region 0 is the background, else those plus one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar, TextIO

from decoupe.export import rle
from decoupe.export.base import Record, Segmented, Writer
from decoupe.export.palette import is_background
from decoupe.export.parts import category, parts
from decoupe.types import Image


def instances(regions: Segmented) -> list[list[Any]]:
    """[region, compressed string, area in pixels, x, y, width, height, score] of every component, in reading order.

    The score is the region's mean probability over the component.
    """
    size, found = (regions.labels.shape[0], regions.labels.shape[1]), []
    for part in parts(regions):
        text = rle.to_string(rle.encode(part.mask, size, (part.y, part.x)))
        height, width = part.mask.shape
        found.append([part.region, text, part.area, part.x, part.y, width, height, part.score])
    return found


def fill(
    file: TextIO, kinds: Sequence[dict[str, Any]], records: Iterable[Record], annotations: Iterable[dict[str, Any]]
) -> None:
    """Write a file of COCO's layout: categories, the images of `records`, annotations; the last two one per line."""
    file.write('{"info": {"description": "regions found by decoupe"}, "licenses": [],\n')
    file.write(f'"categories": {json.dumps(kinds)},\n"images": [')
    _lines(
        file,
        (
            {"id": number, "file_name": record.name, "width": record.size[1], "height": record.size[0]}
            for number, record in enumerate(records, start=1)
        ),
    )
    file.write('],\n"annotations": [')
    _lines(file, annotations)
    file.write("]}\n")


def _lines(file: TextIO, rows: Iterable[dict[str, Any]]) -> None:
    for number, row in enumerate(rows):
        file.write(("," if number else "") + "\n" + json.dumps(row))


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
        names = self.place.names
        kinds = [
            {"id": category(region, names), "name": name, "supercategory": "region"}
            for region, name in enumerate(names)
            if not is_background(name)
        ]
        with self.place.stream("coco.json") as file:
            fill(file, kinds, self.place.records(self.NAME), self._annotations())

    def _annotations(self) -> Iterator[dict[str, Any]]:
        count = 0
        for number, record in enumerate(self.place.records(self.NAME), start=1):
            for region, text, area, x, y, width, height, score in record.content:
                count += 1
                yield {
                    "id": count,
                    "image_id": number,
                    "category_id": category(region, self.place.names),
                    "segmentation": {"size": list(record.size), "counts": text},
                    "area": area,
                    "bbox": [x, y, width, height],
                    "score": score,
                    "iscrowd": 0,
                }
