"""ADE20K (the scene parsing release): photos of scenes by kind, with the classes of the text on layer disposal.

The text has no labels behind what hides an object, and therefore joins what lies on it: a bed is bed, pillow and
comforter; appliances are microwave, oven, dishwasher, stove and sink. `ade20k-bedroom` and `ade20k-kitchen` are the
photos of one kind of scene, divided at random into two halves as in the text.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from decoupe.data.decode import read_mask
from decoupe.data.layouts.base import Dataset, Layout, Missing, Sample, file, folder, images, lines, thirds, with_keys
from decoupe.types import VOID, Labels

CLASSES: Mapping[str, tuple[str, ...]] = {
    "bed": ("bed", "pillow", "comforter", "quilt"),
    "window": ("windowpane", "window"),
    "appliance": ("microwave", "oven", "dishwasher", "stove", "sink"),
    "counter": ("countertop",),
}
"""Class -> the first names of the objects it is made of (a comforter is called so in the full release only)."""
SCENES = {"bedroom": ("bed", "window"), "kitchen": ("appliance", "counter")}
OFFICIAL = {"training": "train", "validation": "val"}


def _numbers(root: Path) -> dict[str, int]:
    """First name of each object -> its number in the masks, from objectInfo150.txt."""
    path = file(root, "objectInfo150.txt")
    try:
        rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()[1:] if line.strip()]
        return {row[-1].split(",")[0].strip(): int(row[0]) for row in rows}
    except (OSError, UnicodeDecodeError, ValueError, IndexError) as error:
        raise Missing(f"{path.name} unreadable ({type(error).__name__})") from None


def merged(path: Path, table: tuple[int, ...]) -> Labels:
    """(H, W) class ids: 0 is the rest, what was not labelled included."""
    values = read_mask(path)
    known = (values >= 0) & (values < len(table))
    return np.where(known, np.asarray(table, np.int64)[np.where(known, values, 0)], VOID)


def _table(root: Path, classes: tuple[str, ...]) -> tuple[int, ...]:
    """151 entries: number of an object -> class id."""
    numbers = _numbers(root)
    table = np.zeros(max([150, *numbers.values()]) + 1, np.int64)
    for index, name in enumerate(classes, start=1):
        found = [numbers[part] for part in CLASSES[name] if part in numbers]
        if not found:
            raise Missing(f"no {name} in objectInfo150.txt")
        table[found] = index
    return tuple(int(value) for value in table)


def ade20k(root: Path, scene: str | None = None) -> Dataset:
    """images/ and annotations/, both with training/ and validation/, sceneCategories.txt, objectInfo150.txt."""
    photos, truths = images(folder(root, "images")), images(folder(root, "annotations"))
    kinds = {row[0]: row[1] for row in lines(file(root, "sceneCategories.txt")) if len(row) > 1}
    classes = SCENES[scene] if scene else tuple(CLASSES)
    kept = {s: p for s, p in photos.items() if s.split("/")[0] in OFFICIAL and scene in (None, kinds.get(p.stem))}
    if not kept:
        raise Missing(f"no {scene or 'photo'} in images/training/ or images/validation/")
    halves = thirds([path.stem for path in kept.values()], (1, 1), ("train", "val"))
    reader = partial(merged, table=_table(root, classes))
    samples = [
        Sample(key, path, halves[path.stem] if scene else OFFICIAL[stem.split("/")[0]], truths.get(stem), reader=reader)
        for (stem, path), key in zip(kept.items(), with_keys(kept), strict=True)
    ]
    rule = f"{', '.join(classes)} and the rest; "
    rule += f"photos of a {scene}, two halves at random as in the text" if scene else "official train and val"
    return Dataset(f"ade20k-{scene}" if scene else "ade20k", root, ("rest", *classes), samples, rule)


TREE = (
    "images/{training,validation}/NAME.jpg, annotations/{training,validation}/NAME.png, sceneCategories.txt, "
    "objectInfo150.txt"
)
LAYOUTS = {
    "ade20k": Layout(TREE, ade20k),
    **{f"ade20k-{scene}": Layout(TREE, partial(ade20k, scene=scene)) for scene in SCENES},
}
