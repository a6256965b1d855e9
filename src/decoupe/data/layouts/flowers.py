"""Oxford flowers: 17 categories with trimaps, 102 categories with segmented photos."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from decoupe.data.decode import conform, read_image, read_mask
from decoupe.data.layouts.base import Dataset, Layout, Sample, file, folder, images, number, numbers, with_keys
from decoupe.types import VOID, Labels

CLASSES = ("background", "flower")


def trimap(path: Path) -> Labels:
    """1 = flower -> 1, 3 = background -> 0; 0, 2 and 4 (unlabelled, boundary, out of focus) -> void."""
    values = read_mask(path)
    out = np.full_like(values, VOID)
    out[values == 1], out[values == 3] = 1, 0
    return out


def segmented(path: Path) -> Labels:
    """Flower wherever the pixel is not the pure blue (0, 0, 254) that was painted over the background."""
    pixels = conform(read_image(path), 3)
    return np.asarray((pixels != np.array([0, 0, 254], np.uint8)).any(axis=2), dtype=np.int64)


def flowers17(root: Path) -> Dataset:
    """The 17-category set; images without a trimap keep their split but have no truth."""
    photos, trimaps = images(folder(root, "jpg")), images(folder(root, "trimaps"))
    by_split = numbers(file(root, "datasplits.mat"), "trn1", "val1", "tst1")
    names = ("train", "val", "test")
    splits = {int(i): name for name, ids in zip(names, by_split, strict=True) for i in ids}
    truths = {number(stem): path for stem, path in trimaps.items()}
    samples = [
        Sample(key, path, splits.get(number(stem), "unlabelled"), truths.get(number(stem)), reader=trimap)
        for (stem, path), key in zip(photos.items(), with_keys(photos), strict=True)
    ]
    return Dataset(
        "flowers17", root, CLASSES, samples,
        "object IoU of trimap label 1 against 3, the rest void; first of the official splits (trn1, val1, tst1)",
    )  # fmt: skip


def flowers102(root: Path) -> Dataset:
    """The 102-category set with the split that unsupervised segmentation uses: official test set as train."""
    photos, segmented_photos = images(folder(root, "jpg")), images(folder(root, "segmim"))
    by_split = numbers(file(root, "setid.mat"), "tstid", "valid", "trnid")
    names = ("train", "val", "test")
    splits = {int(i): name for name, ids in zip(names, by_split, strict=True) for i in ids}
    truths = {number(stem): path for stem, path in segmented_photos.items()}
    samples = [
        Sample(key, path, splits.get(number(stem), "unlabelled"), truths.get(number(stem)), reader=segmented)
        for (stem, path), key in zip(photos.items(), with_keys(photos), strict=True)
    ]
    return Dataset(
        "flowers102", root, CLASSES, samples,
        "mask = not pure blue in segmim; train, val, test = the official tstid, valid, trnid",
    )  # fmt: skip


LAYOUTS = {
    "flowers17": Layout("jpg/image_NNNN.jpg, trimaps/image_NNNN.png, datasplits.mat (trn1, val1, tst1)", flowers17),
    "flowers102": Layout("jpg/image_NNNNN.jpg, segmim/segmim_NNNNN.jpg, setid.mat (trnid, valid, tstid)", flowers102),
}
