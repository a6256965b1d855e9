"""CVAT's XML "for images 1.1" to label maps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from decoupe.errors import Fault
from decoupe.export import markup, rle
from decoupe.export.readers.base import REMEDY, Annotated, Crop, Masks, Names, painted, polygon, refusing, size_of

AREAS = ("mask", "polygon", "box")
Shape = tuple[int, int, Callable[[], Crop]]
"""Height in the stack, label, mask."""


def read_cvat(path: Path) -> Masks:
    """Label maps of masks, polygons and boxes, the higher `z_order` on top. Fault in one line on anything malformed.

    Points, lines, tags, ellipses and cuboids are passed over.
    """
    with refusing("CVAT for images 1.1", path):
        reader = _Reader(path)
        markup.parse(path, reader.start, reader.end)
        return Masks(reader.names.all(), tuple(reader.images))


class _Reader:
    """Gathers labels and images while the file goes by."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.names, self.images = Names.start(), list[Annotated]()
        self._name, self._size, self._shapes = "", (1, 1), list[Shape]()

    def start(self, names: tuple[str, ...], given: dict[str, str]) -> None:
        """An element opens."""
        if names[0] != "annotations" or names[-1] == "track":
            what = "tracks of a video" if names[-1] == "track" else f"<{names[0]:.40}>"
            raise Fault("CVAT for images 1.1", what, "export the task as CVAT for images")
        if names[1:] == ("image",):
            self._name, self._shapes = given["name"], []
            self._size = size_of(given["height"], given["width"], self._name)
        elif names[1:-1] == ("image",) and names[-1] in AREAS:
            label = self.names.index(given["label"])
            self._shapes.append((int(given.get("z_order") or 0), label, self._shape(names[-1], given)))

    def end(self, names: tuple[str, ...], content: str) -> None:
        """An element closes."""
        if names[-3:] == ("labels", "label", "name"):
            self.names.index(content)
        elif names[1:] == ("image",):
            stacked = sorted(self._shapes, key=lambda shape: shape[0])
            shapes = [(label, mask) for _, label, mask in stacked]
            self.images.append(painted(self._path, self._name, self._size, shapes))

    def _shape(self, kind: str, given: dict[str, str]) -> Callable[[], Crop]:
        if kind == "mask":
            return self._mask(given)
        if kind == "box":
            x0, y0, x1, y1 = (float(given[side]) for side in ("xtl", "ytl", "xbr", "ybr"))
            return polygon([[(x0, y0), (x1, y0), (x1, y1), (x0, y1)]], self._size)
        return polygon([[pair.split(",") for pair in given["points"].split(";")]], self._size)

    def _mask(self, given: dict[str, str]) -> Callable[[], Crop]:
        left, top, width, height = (int(given[side]) for side in ("left", "top", "width", "height"))
        if min(left, top) < 0 or min(width, height) < 1:
            raise Fault("a mask inside its image", f"a box at {left},{top} of {width}x{height}", REMEDY)
        if top + height > self._size[0] or left + width > self._size[1]:
            raise Fault("a mask inside its image", f"a box at {left},{top} of {width}x{height}", REMEDY)
        counts = tuple(int(run) for run in given["rle"].split(","))
        rle.check(counts, (width, height))
        return lambda: (rle.decode(counts, (width, height)).T, top, left)
