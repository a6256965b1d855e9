"""`csv`: measures.csv, one line per image and region.

Pixels are counted in the image's own frame; positions are in pixels from the centre of the top-left pixel, x to the
right and y down; the box is x0 <= x < x1, y0 <= y < y1; components are 8-connected; means and standard deviations
are per band over the region's pixels, in the image's 8-bit values. Cells of an absent region are empty.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from scipy import ndimage

from decoupe.export.base import AnyLabels, Record, Segmented, Writer
from decoupe.types import Image

COLUMNS = ("image", "region", "name", "pixels", "share", "components", "centroid_x", "centroid_y")
BOX = ("x0", "y0", "x1", "y1")
NEIGHBOURS = np.ones((3, 3), int)
"""8-connectivity."""
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def cell(text: str) -> str:
    """Text that a spreadsheet will not run: a leading = + - @ tab or return gets an apostrophe before it."""
    return "'" + text if text.lstrip(" ").startswith(FORMULA) else text


def measure(labels: AnyLabels, regions: int, image: Image | None = None) -> list[list[Any]]:
    """Per region: pixels, components, centroid x, y, box x0, y0, x1, y1, means per band, deviations per band.

    labels: (H, W) in [0, regions). An absent region gives [0, 0].
    """
    rows: list[list[Any]] = []
    boxes = ndimage.find_objects(labels.astype(np.int32) + 1, max_label=regions)
    for region, box in enumerate(boxes):
        if box is None:
            rows.append([0, 0])
            continue
        mask = labels[box] == region
        pixels = int(mask.sum())
        _, components = ndimage.label(mask, NEIGHBOURS)
        y0, x0 = int(box[0].start), int(box[1].start)
        y1, x1 = int(box[0].stop), int(box[1].stop)
        x = float(mask.sum(0) @ np.arange(x0, x1)) / pixels
        y = float(mask.sum(1) @ np.arange(y0, y1)) / pixels
        row: list[Any] = [pixels, int(components), round(x, 2), round(y, 2), x0, y0, x1, y1]
        if image is not None:
            values = image[box][mask].astype(np.float64)
            row += [[round(float(v), 3) for v in values.mean(0)], [round(float(v), 3) for v in values.std(0)]]
        rows.append(row)
    return rows


class CsvWriter(Writer):
    """`measures.csv`."""

    NAME: ClassVar[str] = "csv"
    FILE: ClassVar[str | None] = "measures.csv"
    IMAGE: ClassVar[bool] = True

    def write(self, key: str, image: Image | None, regions: Segmented) -> list[list[Any]]:
        """Measure one image."""
        return measure(regions.labels, len(regions.names), image)

    def close(self) -> None:
        """Write measures.csv, streaming over the records."""
        bands = 0
        for record in self.place.records(self.NAME):
            bands = max([bands, *(len(row[8]) for row in record.content if len(row) > 8)])
        with self.place.stream("measures.csv") as file:
            file.write(header(bands))
            for record in self.place.records(self.NAME):
                file.write("".join(lines(record, self.place.names, bands)))


def _line(cells: list[Any]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow([cell(c) if isinstance(c, str) else c for c in cells])
    return buffer.getvalue()


def header(bands: int) -> str:
    """The first line of measures.csv."""
    return _line([*COLUMNS, *BOX, *(f"{what}_{band}" for band in range(1, bands + 1) for what in ("mean", "std"))])


def lines(record: Record, names: tuple[str, ...], bands: int) -> Iterator[str]:
    """The lines of one image."""
    total = record.size[0] * record.size[1]
    for region, row in enumerate(record.content):
        pixels, components, *place = row
        share = round(pixels / total, 6)
        cells: list[Any] = [record.name, region, names[region], pixels, share, components, *(place[:6] or [""] * 6)]
        means, deviations = (place[6], place[7]) if len(place) > 6 else ([], [])
        for band in range(bands):
            cells += [means[band], deviations[band]] if band < len(means) else ["", ""]
        yield _line(cells)
