"""Whole scenes with many classes: COCO-Stuff, Cityscapes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from decoupe.data.decode import read_mask
from decoupe.data.layouts.base import Dataset, Layout, Missing, Sample, folder, images, with_keys
from decoupe.types import VOID, Labels

STUFF: dict[str, tuple[str, ...]] = {
    "water": ("fog", "river", "sea", "water-other", "waterdrops"),
    "ground": (
        "dirt", "gravel", "ground-other", "mud", "pavement", "platform", "playingfield", "railroad", "road", "sand",
        "snow",
    ),
    "solid": ("hill", "mountain", "rock", "solid-other", "stone", "wood"),
    "sky": ("clouds", "sky-other"),
    "plant": ("branch", "bush", "flower", "grass", "leaves", "moss", "plant-other", "straw", "tree"),
    "structural": ("cage", "fence", "net", "railing", "structural-other"),
    "building": ("bridge", "building-other", "house", "roof", "skyscraper", "tent"),
    "food": ("food-other", "fruit", "salad", "vegetable"),
    "textile": (
        "banner", "blanket", "cloth", "clothes", "curtain", "mat", "napkin", "pillow", "rug", "textile-other", "towel",
    ),
    "furniture": (
        "cabinet", "counter", "cupboard", "desk-stuff", "door-stuff", "furniture-other", "light", "mirror-stuff",
        "shelf", "stairs", "table",
    ),
    "window": ("window-blind", "window-other"),
    "floor": (
        "carpet", "floor-marble", "floor-other", "floor-stone", "floor-tile", "floor-wood",
    ),
    "ceiling": ("ceiling-other", "ceiling-tile"),
    "wall": (
        "wall-brick", "wall-concrete", "wall-other", "wall-panel", "wall-stone", "wall-tile", "wall-wood",
    ),
    "raw material": ("cardboard", "metal", "paper", "plastic"),
}  # fmt: skip
"""The 15 coarse stuff classes and the 91 fine ones that each gathers."""
FINE = tuple(sorted(name for names in STUFF.values() for name in names))
"""The fine stuff classes: in alphabetical order they are the ids 91 to 181 of the label images (things are 0 to 90)."""
FIRST = 91


def _stuff_table() -> Labels:
    table = np.full(256, VOID, dtype=np.int64)
    for index, names in enumerate(STUFF.values()):
        for name in names:
            table[FIRST + FINE.index(name)] = index
    return table


_STUFF_TABLE = _stuff_table()


def stuff(path: Path) -> Labels:
    """Ids of the 15 coarse stuff classes; things and what is unlabelled are void."""
    values = read_mask(path)
    return _STUFF_TABLE[np.where((values >= 0) & (values < 256), values, VOID)]


def cocostuff(root: Path) -> Dataset:
    """COCO-Stuff (164k): images/ and annotations/, both with train2017/ and val2017/."""
    photos, truths = images(folder(root, "images")), images(folder(root, "annotations"))
    names = {"train2017": "train", "val2017": "val"}
    kept = {stem: path for stem, path in photos.items() if stem.split("/")[0] in names}
    if not kept:
        raise Missing("no folder train2017/ or val2017/ in images/")
    samples = [
        Sample(key, path, names[stem.split("/")[0]], truths.get(stem), reader=stuff)
        for (stem, path), key in zip(kept.items(), with_keys(kept), strict=True)
    ]
    rule = "15 coarse stuff classes, things void; train2017 and val2017 whole, not a subset chosen by their content"
    return Dataset("cocostuff", root, tuple(STUFF), samples, rule)


CITY = {
    "road": 7, "sidewalk": 8, "building": 11, "wall": 12, "fence": 13, "pole": 17, "traffic light": 19,
    "traffic sign": 20, "vegetation": 21, "terrain": 22, "sky": 23, "person": 24, "rider": 25, "car": 26, "truck": 27,
    "bus": 28, "train": 31, "motorcycle": 32, "bicycle": 33,
}  # fmt: skip
"""The 19 classes that are scored and their ids in *_labelIds.png."""


def city_labels(path: Path) -> Labels:
    """Ids of the 19 classes that are scored; the rest is void."""
    table = np.full(256, VOID, dtype=np.int64)
    table[list(CITY.values())] = np.arange(len(CITY))
    values = read_mask(path)
    return table[np.where((values >= 0) & (values < 256), values, VOID)]


def cityscapes(root: Path) -> Dataset:
    """leftImg8bit/ and gtFine/, both with train/, val/ and test/; the labels of test are placeholders and not read."""
    photos, truths = images(folder(root, "leftImg8bit")), images(folder(root, "gtFine"))
    samples = []
    for (stem, path), key in zip(photos.items(), with_keys(photos), strict=True):
        split = stem.split("/")[0]
        if split not in ("train", "val", "test"):
            split = "unlabelled"
        truth = truths.get(f"{stem.removesuffix('_leftImg8bit')}_gtFine_labelIds")
        samples.append(Sample(key, path, split, None if split == "test" else truth, reader=city_labels))
    rule = "the 19 classes of the benchmark; official train and val, the labels of test are not public"
    return Dataset("cityscapes", root, tuple(CITY), samples, rule)


LAYOUTS = {
    "cocostuff": Layout(
        "images/{train2017,val2017}/NNNNNNNNNNNN.jpg, annotations/{train2017,val2017}/NNNNNNNNNNNN.png", cocostuff
    ),
    "cityscapes": Layout(
        "leftImg8bit/SPLIT/CITY/NAME_leftImg8bit.png, gtFine/SPLIT/CITY/NAME_gtFine_labelIds.png", cityscapes
    ),
}
