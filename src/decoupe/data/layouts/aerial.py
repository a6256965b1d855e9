"""Land seen from above: ISPRS Potsdam, the DroneDeploy sample."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from decoupe.data.decode import conform, image_size, read_image, read_mask
from decoupe.data.layouts.base import Dataset, Layout, Missing, Sample, file, folder, images, lines, thirds, with_keys
from decoupe.types import VOID, Labels

POTSDAM = ("road", "building", "low vegetation", "tree", "car", "clutter")
_COLOURS = ((1, 1, 1), (0, 0, 1), (0, 1, 1), (0, 1, 0), (1, 1, 0), (1, 0, 0))
"""Red, green, blue on or off in the label tiles, in the order of `POTSDAM`."""
CROP = 400
"""Side of a crop in pixels of the full tile: 200 once the tile is halved, 15 x 15 of them in a tile of 6000."""


@lru_cache(maxsize=1)
def potsdam_labels(path: Path) -> Labels:
    """Class ids of a colour-coded label tile; colours of no class are void. The last tile is kept: its crops follow."""
    on = (conform(read_image(path), 3) > 127).astype(np.uint8)
    bits = 4 * on[..., 0] + 2 * on[..., 1] + on[..., 2]
    table = np.full(8, VOID, dtype=np.int64)
    for index, (red, green, blue) in enumerate(_COLOURS):
        table[4 * red + 2 * green + blue] = index
    labels: Labels = table[bits]
    return labels


def potsdam(root: Path) -> Dataset:
    """38 RGBIR tiles in crops; those with labels are `train` (20 tiles of 24) or `test` (4), the rest `unlabelled`."""
    tiles = {
        stem.removesuffix("_RGBIR"): path
        for stem, path in images(folder(root, "4_Ortho_RGBIR")).items()
        if stem.endswith("_RGBIR")
    }
    if not tiles:
        raise Missing("no tile *_RGBIR.tif in 4_Ortho_RGBIR/")
    names = {Path(stem).name: stem for stem in tiles}
    found = images(folder(root, "5_Labels_for_participants", "5_Labels_all"))
    truths = {names[n]: p for s, p in found.items() if (n := Path(s).name.removesuffix("_label")) in names}
    splits = thirds(sorted(truths), (20, 4), ("train", "test"))
    samples = []
    for (stem, path), key in zip(tiles.items(), with_keys(tiles), strict=True):
        height, width = image_size(path)
        for row in range(max(1, height // CROP)):
            for column in range(max(1, width // CROP)):
                x, y = column * CROP, row * CROP
                box = (float(x), float(y), float(min(x + CROP, width)), float(min(y + CROP, height)))
                split = splits.get(stem, "unlabelled")
                samples.append(
                    Sample(f"{key}-{row:02d}-{column:02d}", path, split, truths.get(stem), box, potsdam_labels)
                )
    rule = "crops of 400 px, seen at 200; labelled tiles 20 train / 4 test by hash of the name"
    return Dataset("potsdam", root, POTSDAM, samples, rule)


DRONEDEPLOY = ("building", "clutter", "vegetation", "water", "ground", "car")


def drone_labels(path: Path) -> Labels:
    """Class numbers 0 to 5; anything else is void."""
    values = read_mask(path)
    return np.where((values >= 0) & (values < len(DRONEDEPLOY)), values, VOID)


def dronedeploy(root: Path) -> Dataset:
    """Chips of drone photos as the benchmark writes them; train.txt, valid.txt and test.txt name the splits."""
    photos, truths = images(folder(root, "image-chips")), images(folder(root, "label-chips"))
    listed = {"train": file(root, "train.txt"), "val": file(root, "valid.txt"), "test": root / "test.txt"}
    splits = {Path(words[0]).stem: split for split, path in listed.items() if path.is_file() for words in lines(path)}
    samples = [
        Sample(
            key,
            path,
            splits.get(stem, "all" if stem in truths else "unlabelled"),
            truths.get(stem),
            reader=drone_labels,
        )
        for (stem, path), key in zip(photos.items(), with_keys(photos), strict=True)
    ]
    rule = "class numbers of label-chips; train, val, test = train.txt, valid.txt, test.txt"
    return Dataset("dronedeploy", root, DRONEDEPLOY, samples, rule)


LAYOUTS = {
    "potsdam": Layout(
        "4_Ortho_RGBIR/top_potsdam_N_N_RGBIR.tif, 5_Labels_for_participants/top_potsdam_N_N_label.tif", potsdam
    ),
    "dronedeploy": Layout(
        "image-chips/NAME.png, label-chips/NAME.png, train.txt, valid.txt, test.txt (optional)", dronedeploy
    ),
}
