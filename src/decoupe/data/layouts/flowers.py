"""Oxford flowers: 17 categories with trimaps, 102 categories with segmented photos."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from decoupe.data.decode import conform, read_image, read_mask
from decoupe.data.layouts.base import (
    Dataset,
    Layout,
    Missing,
    Sample,
    file,
    folder,
    images,
    number,
    numbers,
    with_keys,
)
from decoupe.errors import Fault
from decoupe.types import VOID, Labels

Reader = Callable[[Path], Labels]
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


def _samples(
    photos: dict[str, Path], truths: dict[str, Path], splits: dict[str, NDArray[np.int64]], reader: Reader
) -> list[Sample]:
    """Photos, truths and splits put together by the numbers in their names."""
    names = {int(i): split for split, ids in splits.items() for i in ids}
    by_number = {number(stem): path for stem, path in truths.items()}
    out = []
    for (stem, path), key in zip(photos.items(), with_keys(photos), strict=True):
        truth = by_number.get(number(stem))
        split = names.get(number(stem), "unlabelled" if truth is None else "all")
        out.append(Sample(key, path, split, truth, reader=reader))
    return out


def flowers17(root: Path) -> Dataset:
    """The 17-category set; images without a trimap keep their split but have no truth."""
    photos, trimaps = images(folder(root, "jpg")), images(folder(root, "trimaps"))
    train, val, test = numbers(file(root, "datasplits.mat"), "trn1", "val1", "tst1")
    samples = _samples(photos, trimaps, {"train": train, "val": val, "test": test}, trimap)
    rule = "object IoU of trimap label 1 against 3, the rest void; first of the official splits (trn1, val1, tst1)"
    return Dataset("flowers17", root, CLASSES, samples, rule)


def flowers102(root: Path) -> Dataset:
    """The 102-category set with the split that unsupervised segmentation uses: official test set as train."""
    photos, painted = images(folder(root, "jpg")), images(folder(root, "segmim"))
    train, val, test = numbers(file(root, "setid.mat"), "tstid", "valid", "trnid")
    samples = _samples(photos, painted, {"train": train, "val": val, "test": test}, segmented)
    rule = "mask = not pure blue in segmim; train, val, test = the official tstid, valid, trnid"
    return Dataset("flowers102", root, CLASSES, samples, rule)


def categories(dataset: Dataset) -> NDArray[np.int64]:
    """(N,) species of each sample, from 1: 80 images of each in a row (17 of them), or imagelabels.mat (102 of them).

    Raises:
        Fault: the data set is neither, or its labels are missing or do not reach all images.
    """
    ids = np.array([number(sample.image.stem) for sample in dataset.samples], dtype=np.int64)
    if dataset.name == "flowers17":
        return (ids - 1) // 80 + 1
    if dataset.name != "flowers102":
        raise Fault("flowers17 or flowers102", dataset.name, "choose a data set with species")
    try:
        (labels,) = numbers(file(dataset.root, "imagelabels.mat"), "labels")
    except Missing as error:
        raise Fault("flowers102 with imagelabels.mat", f"{dataset.root}: {error}", "complete the folder") from None
    if len(ids) and not 1 <= ids.min() <= ids.max() <= len(labels):
        raise Fault(f"images 1 to {len(labels)}, as imagelabels.mat has them", f"image {ids.max()}", "restore it")
    return labels[ids - 1]


LAYOUTS = {
    "flowers17": Layout("jpg/image_NNNN.jpg, trimaps/image_NNNN.png, datasplits.mat (trn1, val1, tst1)", flowers17),
    "flowers102": Layout("jpg/image_NNNNN.jpg, segmim/segmim_NNNNN.jpg, setid.mat (trnid, valid, tstid)", flowers102),
}
