"""`coco-panoptic`: coco.panoptic.json and one PNG per image in coco.panoptic/, every pixel in exactly one segment.

A pixel's segment is red + 256 green + 65,536 blue. Regions are things, one segment per 8-connected component, but the
background is stuff, one segment. Category ids are those of `coco`; the background, which `coco` does not have, is last.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from decoupe.errors import Fault
from decoupe.export.base import AnyLabels, Segmented, Writer
from decoupe.export.coco import fill
from decoupe.export.measures import NEIGHBOURS
from decoupe.export.palette import is_background
from decoupe.export.parts import category
from decoupe.export.png import encode_pixels
from decoupe.types import Image

MOST = (1 << 24) - 1
"""Segments that the colours of one PNG tell apart."""


def kind_of(region: int, names: Sequence[str]) -> int:
    """Category id of a region, above 0."""
    return category(region, names) or len(names)


def segments(labels: AnyLabels, names: Sequence[str]) -> tuple[NDArray[np.int32], list[list[int]]]:
    """(H, W) segment ids from 1 on, and [id, region, area, x, y, width, height] of each.

    Fault beyond 16,777,215 segments.
    """
    ids = np.zeros(labels.shape, np.int32)
    found: list[list[int]] = []
    for region, name in enumerate(names):
        mask = labels == region
        parts, count = (mask.astype(np.int32), int(mask.any())) if is_background(name) else ndimage.label(
            mask, NEIGHBOURS
        )  # fmt: skip
        first = len(found)
        if first + count > MOST:
            raise Fault(f"at most {MOST:,} segments for coco-panoptic", "more", "use --format png")
        np.add(parts, first, out=ids, where=mask)
        areas = np.bincount(parts[mask], minlength=count + 1)
        for part, box in enumerate(ndimage.find_objects(parts, max_label=count), start=1):
            y, x = box
            sides = [int(x.start), int(y.start), int(x.stop - x.start), int(y.stop - y.start)]
            found.append([first + part, region, int(areas[part]), *sides])
    return ids, found


def encode_ids(ids: NDArray[np.int32]) -> bytes:
    """PNG of segment ids as colours."""
    return encode_pixels(np.stack([ids & 255, ids >> 8 & 255, ids >> 16], 2).astype(np.uint8))


class PanopticWriter(Writer):
    """`coco.panoptic.json` and `coco.panoptic/`."""

    NAME: ClassVar[str] = "coco-panoptic"
    SUFFIX: ClassVar[str | None] = ".png"
    FOLDER: ClassVar[str] = "coco.panoptic/"

    def write(self, key: str, image: Image | None, regions: Segmented) -> dict[str, Any]:
        """Write one image's segments; returns the file's size in bytes and what the common file needs."""
        ids, found = segments(regions.labels, regions.names)
        size = self.place.put(self.path(self.place, key), encode_ids(ids))
        return {"bytes": size, "segments": found}

    def close(self) -> None:
        """Write coco.panoptic.json, streaming over the records."""
        names = self.place.names
        kinds = [
            {
                "id": kind_of(region, names),
                "name": name,
                "supercategory": "region",
                "isthing": int(not is_background(name)),
                "color": list(colour),
            }
            for region, (name, colour) in enumerate(zip(names, self.place.colours, strict=True))
        ]
        with self.place.stream("coco.panoptic.json") as file:
            fill(file, kinds, self.place.records(self.NAME), self._annotations())

    def _annotations(self) -> Iterator[dict[str, Any]]:
        names = self.place.names
        for number, record in enumerate(self.place.records(self.NAME), start=1):
            infos = [
                {"id": id_, "category_id": kind_of(region, names), "area": area, "bbox": box, "iscrowd": 0}
                for id_, region, area, *box in record.content["segments"]
            ]
            yield {"image_id": number, "file_name": record.key + ".png", "segments_info": infos}
