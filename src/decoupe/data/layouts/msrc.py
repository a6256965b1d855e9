"""MSRC-21: photos of 320 x 213 with masks in colours."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from decoupe.data.decode import conform, read_image
from decoupe.data.layouts.base import Dataset, Layout, Sample, folder, images, lines, with_keys
from decoupe.errors import Fault
from decoupe.types import VOID, Labels

COLOURS = {
    "building": (128, 0, 0), "grass": (0, 128, 0), "tree": (128, 128, 0), "cow": (0, 0, 128), "sheep": (0, 128, 128),
    "sky": (128, 128, 128), "aeroplane": (192, 0, 0), "water": (64, 128, 0), "face": (192, 128, 0), "car": (64, 0, 128),
    "bicycle": (192, 0, 128), "flower": (64, 128, 128), "sign": (192, 128, 128), "bird": (0, 64, 0),
    "book": (128, 64, 0), "chair": (0, 192, 0), "road": (128, 64, 128), "cat": (0, 192, 128), "dog": (128, 192, 128),
    "body": (64, 64, 0), "boat": (192, 64, 0),
}  # fmt: skip
"""The 21 classes that are scored; black, horse and mountain are not."""
UNSCORED = {"void": (0, 0, 0), "horse": (128, 0, 128), "mountain": (64, 0, 0)}


def labels(path: Path) -> Labels:
    """Ids of the 21 classes by colour; the rest is void. Fault on a colour that no class has."""
    pixels = conform(read_image(path), 3).astype(np.int64)
    codes = pixels @ np.array([1 << 16, 1 << 8, 1])
    found = np.full(codes.shape, -1, np.int64)
    for index, colour in enumerate(COLOURS.values()):
        found[codes == _code(colour)] = index
    for colour in UNSCORED.values():
        found[codes == _code(colour)] = VOID
    if (found < 0).any():
        got = f"{path} with {tuple(pixels[found < 0][0].tolist())}"
        raise Fault("masks in the colours of MSRC-21", got, "restore the mask (JPEG changes colours)")
    return found


def _code(colour: tuple[int, int, int]) -> int:
    return colour[0] << 16 | colour[1] << 8 | colour[2]


def _splits(root: Path) -> dict[str, str]:
    """Image name -> split from Train.txt, Validation.txt and Test.txt, where they are."""
    files = {path.stem.lower(): path for path in sorted(root.glob("*.txt"))}
    names = {"train": "train", "validation": "val", "val": "val", "test": "test"}
    rows = [(Path(row[0]).stem, split) for stem, split in names.items() if stem in files for row in lines(files[stem])]
    return {name.removesuffix("_GT"): split for name, split in rows}


def msrc(root: Path) -> Dataset:
    """Images/R_N_s.bmp and GroundTruth/R_N_s_GT.bmp (or .png); lists of the splits where there are any."""
    photos, truths = images(folder(root, "Images")), images(folder(root, "GroundTruth"))
    splits = _splits(root)
    samples = []
    for (name, path), key in zip(photos.items(), with_keys(photos), strict=True):
        truth = truths.get(f"{name}_GT")
        split = splits.get(Path(name).name, "unlabelled" if truth is None or splits else "all")
        samples.append(Sample(key, path, split, truth, reader=labels))
    rule = "21 classes; void, horse and mountain not scored; splits of Train.txt, Validation.txt, Test.txt"
    return Dataset("msrc", root, tuple(COLOURS), samples, rule)


LAYOUTS = {"msrc": Layout("Images/R_N_s.bmp, GroundTruth/R_N_s_GT.bmp, Train.txt, Test.txt", msrc)}
