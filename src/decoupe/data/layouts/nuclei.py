"""Photos of many things of one kind, with a mask of each: nuclei of the 2018 Data Science Bowl."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from decoupe.data.decode import read_mask
from decoupe.data.layouts.base import Dataset, Layout, Missing, Sample, images, with_keys
from decoupe.errors import Fault
from decoupe.types import InstanceMap, Labels


def one_mask_each(folder: Path) -> InstanceMap:
    """A folder of masks, one file per instance, as (H, W) int32: 0 background, 1, 2, ... in order of the file names.

    What is not 0 in a file is its instance, in one piece or several. A pixel that several files claim goes to the
    smallest of their instances (of equals the first), so that a small thing on a large one is not lost. Files are read
    one at a time. Empty files, and instances of which nothing is left, have no number.

    Raises:
        Fault: no file, a file that cannot be read, or masks of different sizes.
    """
    files = list(images(folder).values())
    shape = read_mask(files[0]).shape
    labels, owner = np.zeros(shape, np.int32), np.full(shape, np.iinfo(np.int64).max)
    for number, path in enumerate(files, start=1):
        mask = read_mask(path) != 0
        if mask.shape != shape:
            raise Fault(
                f"masks of one size in {folder}",
                f"{path.name} of {mask.shape[1]}x{mask.shape[0]} beside {shape[1]}x{shape[0]}",
                "repair or remove it",
            )
        area = int(mask.sum())
        mine = mask & (area < owner)
        labels[mine], owner[mine] = number, area
    return np.unique(np.append(0, labels.ravel()), return_inverse=True)[1][1:].reshape(shape).astype(np.int32)


def union(folder: Path) -> Labels:
    """(H, W) int64: 1 wherever any of a folder's masks is."""
    return np.asarray(one_mask_each(folder) > 0, dtype=np.int64)


def dsb2018(root: Path) -> Dataset:
    """Folders with one image and the masks of its nuclei; those without masks are `unlabelled`. No official split."""
    parts = [root / name for name in ("stage1_train", "stage1_test") if (root / name).is_dir()] or [root]
    folders = {
        f"{place.name}/{one.name}" if place.name == "stage1_test" else one.name: one
        for place in parts
        for one in sorted(place.iterdir())
        if (one / "images").is_dir()
    }
    if not folders:
        raise Missing("no folder ID/images/ in it or in stage1_train/")
    samples = []
    for (name, one), key in zip(folders.items(), with_keys(folders), strict=True):
        photos = list(images(one / "images").values())
        if len(photos) > 1:
            raise Missing(f"{len(photos)} images in {name}/images/, where there should be one")
        labelled = (one / "masks").is_dir() and any((one / "masks").iterdir())
        truth = one / "masks" if labelled else None
        split = "all" if labelled else "unlabelled"
        samples.append(Sample(key, photos[0], split, truth, reader=union, instance_reader=one_mask_each))
    rule = "one mask per nucleus; disputed pixels go to the smaller one; no split: all images with masks"
    return Dataset("dsb2018", root, ("background", "nucleus"), samples, rule)


LAYOUTS = {"dsb2018": Layout("stage1_train/ID/images/ID.png, stage1_train/ID/masks/*.png", dsb2018)}
