"""Tiny trees of the official shape of data sets of scenes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.data.files import noise, save

TILE = (820, 1200)
"""Height and width of a tile: 2 x 3 crops, and a rest at the bottom that belongs to none."""


def potsdam(root: Path) -> None:
    """Three tiles, two of them with labels: the left third building, the rest road; one corner of no class."""
    labels = np.full((*TILE, 3), 255, np.uint8)
    labels[:, :400] = 0, 0, 255
    labels[0, 0] = 255, 0, 255
    for index in (10, 11, 12):
        save(root / f"4_Ortho_RGBIR/top_potsdam_2_{index}_RGBIR.tif", noise(*TILE, 4, seed=index))
        if index < 12:
            save(root / f"5_Labels_for_participants/top_potsdam_2_{index}_label.tif", labels)
    (root / "4_Ortho_RGBIR/top_potsdam_2_10_RGBIR.tfw").write_text("0.05")


def dronedeploy(root: Path) -> None:
    """Five chips: two train, one valid, one test, one in no list; building on the left, ground on the right."""
    label = np.full((20, 30, 3), 4, np.uint8)
    label[:, :10] = 0
    label[0, 1], label[0, 2] = 9, 255
    for index in range(5):
        save(root / f"image-chips/site-{index:06d}.png", noise(20, 30))
        save(root / f"label-chips/site-{index:06d}.png", label)
    for name, indices in (("train", (0, 1)), ("valid", (2,)), ("test", (3,))):
        (root / f"{name}.txt").write_text("".join(f"site-{i:06d}.png\n" for i in indices))


def cocostuff(root: Path) -> None:
    """Sky (clouds, sky-other), grass, a person and void, from top to bottom."""
    label = np.full((20, 30), 255, np.uint8)
    label[:5], label[5:10], label[10:15], label[15:18] = 105, 156, 123, 0
    for split, count in (("train2017", 2), ("val2017", 1)):
        for index in range(count):
            save(root / f"images/{split}/{index:012d}.jpg", noise(20, 30))
            save(root / f"annotations/{split}/{index:012d}.png", label)


def cityscapes(root: Path) -> None:
    """Road, a bus, and the car's own bonnet (not scored), from top to bottom."""
    label = np.full((20, 30), 1, np.uint8)
    label[:10], label[10:15] = 7, 28
    for split, city in (("train", "aachen"), ("val", "ulm"), ("test", "berlin")):
        stem = f"{split}/{city}/{city}_000000_000019"
        save(root / f"leftImg8bit/{stem}_leftImg8bit.png", noise(20, 30))
        save(root / f"gtFine/{stem}_gtFine_labelIds.png", label)
        save(root / f"gtFine/{stem}_gtFine_color.png", noise(20, 30))


def dsb2018(root: Path) -> None:
    """Two images of three nuclei in the left third, and one without masks."""
    for name in ("one", "two", "bare"):
        save(root / f"stage1_train/{name}/images/{name}.png", noise(20, 30, 4))
    for name in ("one", "two"):
        for number, rows in enumerate((slice(0, 8), slice(8, 14), slice(14, 20))):
            mask = np.zeros((20, 30), np.uint8)
            mask[rows, :10] = 255
            save(root / f"stage1_train/{name}/masks/{number}.png", mask)
