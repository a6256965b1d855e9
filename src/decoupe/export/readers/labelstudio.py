"""Label Studio's JSON export (full form) to label maps."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from decoupe.errors import Fault
from decoupe.export import brush
from decoupe.export.labelstudio import LOCAL
from decoupe.export.readers.base import REMEDY, Annotated, Crop, Masks, Names, load_json, painted, polygon, refusing
from decoupe.export.readers.base import size_of as checked

KINDS = ("brushlabels", "polygonlabels", "rectanglelabels")


def read_labelstudio(path: Path) -> Masks:
    """Label maps of brushes, polygons and upright rectangles, later ones on top. Fault in one line on bad content.

    Of a task its last annotation counts that was not cancelled, else its last prediction. A task without any area is
    passed over, for its size is not known.
    """
    content = load_json(path)
    with refusing("tasks of Label Studio", path):
        names = Names.start()
        found = (_task(path, task, names) for task in content)
        images = tuple(image for image in found if image is not None)
        return Masks(names.all(), images)


def file_name(image: str) -> str:
    """The photo's name: below the document root for local files, else the last part of its address."""
    if image.startswith(LOCAL):
        return os.fsdecode(unquote_to_bytes(image[len(LOCAL) :]))
    return image.rpartition("/")[2] if image.startswith(("/data/", "http:", "https:", "s3:", "gs:")) else image


def _task(path: Path, task: dict[str, Any], names: Names) -> Annotated | None:
    kept = [one for one in task.get("annotations", []) if not one.get("was_cancelled")] or task.get("predictions", [])
    results = kept[-1]["result"] if kept else []
    shapes: list[tuple[int, Callable[[], Crop]]] = []
    texts = [str(value) for key, value in sorted(task["data"].items()) if isinstance(value, str)]
    if not texts:
        raise Fault("a photo in the data of each task", f"{task['data']!r:.80}", REMEDY)
    name, size = file_name(str(task["data"].get("image", texts[0]))), None
    for one in results:
        value = one["value"]
        kind = next((kind for kind in KINDS if value.get(kind)), None)
        if kind is None:
            continue
        now = checked(one["original_height"], one["original_width"], name)
        if size is not None and now != size:
            raise Fault("one size of an image", f"{size} and {now} for {name:.80}", REMEDY)
        if one.get("image_rotation"):
            raise Fault("photos that were not turned", f"{one['image_rotation']} degrees", "turn them back")
        size = now
        shapes.append((names.index(str(value[kind][0])), _shape(kind, value, size)))
    return painted(path, name, size, shapes) if size is not None else None


def _shape(kind: str, value: dict[str, Any], size: tuple[int, int]) -> Callable[[], Crop]:
    if kind == "brushlabels":
        data = bytes(value["rle"]) if isinstance(value["rle"], list) else b""
        return lambda: (brush.decode(data, size), 0, 0)
    if kind == "polygonlabels":
        return polygon([_pixels(value["points"], size)], size)
    if value.get("rotation"):
        raise Fault("upright rectangles", f"one turned by {value['rotation']} degrees", "draw it as a polygon")
    x, y, width, height = (float(value[side]) for side in ("x", "y", "width", "height"))
    return polygon([_pixels([(x, y), (x + width, y), (x + width, y + height), (x, y + height)], size)], size)


def _pixels(points: Sequence[Sequence[float]], size: tuple[int, int]) -> list[tuple[float, float]]:
    """Percent of the sides to pixels."""
    return [(round(float(x) * size[1] / 100, 4), round(float(y) * size[0] / 100, 4)) for x, y in points]
