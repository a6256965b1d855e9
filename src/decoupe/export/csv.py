"""`csv`: measures.csv, one line per image and region.

Pixels are counted in the image's own frame; `area` is in the square of `unit`, the file's own (GeoTIFF, OME, ImageJ);
positions are in pixels from the centre of the top-left pixel, x to the right and y down; the box is x0 <= x < x1,
y0 <= y < y1; components are 8-connected; instances are things that touch, counted apart (`decoupe.instances`; none for
the background). Means and standard deviations are per band over the region's pixels, in the image's 8-bit values. Cells
of an absent region, and of what the file does not tell, are empty.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from decoupe.data.windows import Windows
from decoupe.export.base import AnyLabels, Record, Segmented, Writer, things_of
from decoupe.export.measures import BAND, Measures, count_instances
from decoupe.export.palette import is_background
from decoupe.types import Image

COLUMNS = ("image", "region", "name", "pixels", "share", "area", "unit", "components", "instances", "centroid_x",
           "centroid_y")  # fmt: skip
BOX = ("x0", "y0", "x1", "y1")
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def cell(text: str) -> str:
    """Text that a spreadsheet will not run: a leading = + - @ tab or return gets an apostrophe before it."""
    return "'" + text if text.lstrip(" ").startswith(FORMULA) else text


def measure(labels: AnyLabels, regions: int, image: Image | Windows | None = None) -> list[list[Any]]:
    """Per region: pixels, components, centroid x, y, box x0, y0, x1, y1, means per band, deviations per band.

    labels: (H, W) in [0, regions). An absent region gives [0, 0]. Bands of rows are read one after the other.
    """
    height, width = labels.shape
    found = Measures(regions, width)
    step = max(1, BAND // max(1, width))
    for top in range(0, height, step):
        rows: NDArray[np.uint8] | None = None if image is None else image[top : top + step]
        found.add(np.asarray(labels[top : top + step]), rows)
    return found.rows()


class CsvWriter(Writer):
    """`measures.csv`."""

    NAME: ClassVar[str] = "csv"
    FILE: ClassVar[str | None] = "measures.csv"
    IMAGE: ClassVar[bool] = True
    BANDS: ClassVar[bool] = True

    def write(self, key: str, image: Image | None, regions: Segmented) -> dict[str, Any]:
        """Measure one image."""
        rows, geo = measure(regions.labels, len(regions.names), image), self.place.geo(key)
        counts = [
            None if is_background(name) or not rows[region][0] else _things(regions, region)
            for region, name in enumerate(regions.names)
        ]
        pixel = None if geo is None else [geo.area, geo.unit]
        return {"rows": rows, "instances": counts, "pixel": pixel}

    def close(self) -> None:
        """Write measures.csv, streaming over the records."""
        bands = 0
        for record in self.place.records(self.NAME):
            bands = max([bands, *(len(row[8]) for row in record.content["rows"] if len(row) > 8)])
        with self.place.stream("measures.csv") as file:
            file.write(header(bands))
            for record in self.place.records(self.NAME):
                file.write("".join(lines(record, self.place.names, bands)))


def _things(regions: Segmented, region: int) -> int | None:
    """The things that were found in a region, else its parts split at necks."""
    found = things_of(regions)
    return sum(one.region == region for one in found) if found else count_instances(regions.labels, region)


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
    size, unit = record.content["pixel"] or (None, "")
    for region, row in enumerate(record.content["rows"]):
        pixels, components, *place = row
        area = "" if size is None else float(f"{pixels * size:.8g}")
        things = record.content["instances"][region]
        cells: list[Any] = [record.name, region, names[region], pixels, round(pixels / total, 6), area, unit]
        cells += [components, "" if things is None else things, *(place[:6] or [""] * 6)]
        means, deviations = (place[6], place[7]) if len(place) > 6 else ([], [])
        for band in range(bands):
            cells += [means[band], deviations[band]] if band < len(means) else ["", ""]
        yield _line(cells)
