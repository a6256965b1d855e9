"""`cvat` and `cvat-polygons`: one file in CVAT's form "for images 1.1", an object for each component of a region.

`cvat` holds masks (run lengths in rows of the object's box, first of zeros), `cvat-polygons` polygons along the edges
of the pixels; both give the masks back exactly. A hole is joined to the outline by a cut without width. The background
is no object; nor is a component under `parts.MIN_SHARE` of the image.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from decoupe.export import markup, rle
from decoupe.export.base import Record, Segmented, Writer
from decoupe.export.outlines import keyhole, outlines
from decoupe.export.palette import is_background
from decoupe.export.parts import Part, parts, unique
from decoupe.types import Image


def row_runs(part: Part) -> tuple[int, ...]:
    """Run lengths of a component within its box, row by row, first of zeros."""
    return rle.encode(part.mask.T)


def outline(part: Part) -> list[tuple[int, int]]:
    """Corners (x, y) of a component's outline in the frame of the image, holes joined by cuts."""
    return [(int(x) + part.x, int(y) + part.y) for x, y in keyhole(outlines(part.mask))]


def file_name(record: Record) -> str:
    """The image's name, or its key where XML cannot hold the name."""
    return record.name if markup.legal(record.name) else record.key


class CvatWriter(Writer):
    """`cvat.xml`."""

    NAME: ClassVar[str] = "cvat"
    FILE: ClassVar[str | None] = "cvat.xml"
    PROBS: ClassVar[bool] = True
    SHAPE: ClassVar[str] = "mask"

    def write(self, key: str, image: Image | None, regions: Segmented) -> list[list[Any]]:
        """[region, attributes of the shape] of one image's objects."""
        return [[part.region, self._shape(part)] for part in parts(regions)]

    def _shape(self, part: Part) -> dict[str, str | int]:
        height, width = part.mask.shape
        runs = ", ".join(map(str, row_runs(part)))
        return {"rle": runs, "left": part.x, "top": part.y, "width": width, "height": height}

    def close(self) -> None:
        """Write the file, streaming over the records."""
        labels = unique([markup.clean(name) for name in self.place.names])
        with self.place.stream(self.FILE or "") as file:
            file.write('<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n')
            file.write("".join(self._meta(labels)))
            for number, record in enumerate(self.place.records(self.NAME)):
                file.write("".join(self._image(number, record, labels)))
            file.write("</annotations>\n")

    def _meta(self, labels: list[str]) -> Iterator[str]:
        count = sum(1 for _ in self.place.records(self.NAME))
        yield f"  <meta><task><name>decoupe</name><size>{count}</size><mode>annotation</mode><overlap>0</overlap>\n"
        yield "  <labels>\n"
        for label, name, (r, g, b) in zip(labels, self.place.names, self.place.colours, strict=True):
            if not is_background(name):
                colour = f"<color>#{r:02x}{g:02x}{b:02x}</color><type>{self.SHAPE}</type><attributes></attributes>"
                yield f"    <label><name>{markup.text(label)}</name>{colour}</label>\n"
        yield "  </labels></task></meta>\n"

    def _image(self, number: int, record: Record, labels: list[str]) -> Iterator[str]:
        height, width = record.size
        head: dict[str, str | int] = {"id": number, "name": file_name(record), "width": width, "height": height}
        yield "  " + markup.tag("image", head, closed=False) + "\n"
        for region, shape in record.content:
            common = {"label": labels[region], "source": "auto", "occluded": 0}
            yield "    " + markup.tag(self.SHAPE, {**common, **shape, "z_order": 0}) + "\n"
        yield "  </image>\n"


class CvatPolygonsWriter(CvatWriter):
    """`cvat-polygons.xml`."""

    NAME: ClassVar[str] = "cvat-polygons"
    FILE: ClassVar[str | None] = "cvat-polygons.xml"
    SHAPE: ClassVar[str] = "polygon"

    def _shape(self, part: Part) -> dict[str, str | int]:
        return {"points": ";".join(f"{x},{y}" for x, y in outline(part))}
