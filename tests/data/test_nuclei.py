"""Masks in one file per instance, on a tiny tree and on the real data set where it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from decoupe.data.catalogue import open_dataset
from decoupe.data.decode import image_size, read_mask
from decoupe.data.layouts.nuclei import one_mask_each
from decoupe.data.synthetic import render, write
from decoupe.errors import Fault
from tests.data import trees
from tests.data.files import noise, save

REAL = Path(__file__).resolve().parents[3] / "shared/data/dsb2018"


def part(rows: slice, columns: slice, value: int = 255) -> np.ndarray:
    mask = np.zeros((12, 16), np.uint8)
    mask[rows, columns] = value
    return mask


def test_instances_are_a_map(tmp_path: Path) -> None:
    trees.dsb2018(tmp_path)
    for place in (tmp_path, tmp_path / "stage1_train"):
        data = open_dataset(f"dsb2018:{place}")
        sample = data.split()[1][0]
        found = sample.instances()
        assert found.dtype == np.int32 and found.shape == (20, 30)
        assert found[:, 0].tolist() == [1] * 8 + [2] * 6 + [3] * 6 and not found[:, 10:].any()
        assert np.array_equal(sample.mask(), found > 0)
    bare = next(s for s in open_dataset(f"dsb2018:{tmp_path}").samples if s.truth is None)
    with pytest.raises(Fault, match="a mask of each object"):
        bare.instances()


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_disputed_pixels_go_to_the_smaller_whatever_the_names(tmp_path: Path, order: str) -> None:
    large, small = part(slice(0, 10), slice(0, 10)), part(slice(4, 8), slice(8, 14), 1)
    for name, mask in zip(order, (large, small), strict=True):
        save(tmp_path / f"{name}.png", mask)
    found = one_mask_each(tmp_path)
    expected = np.where(small > 0, order.index("b") + 1, 0)
    expected = np.where((large > 0) & (small == 0), 2 - order.index("b"), expected)
    assert np.array_equal(found, expected)


def test_pieces_empty_files_and_what_is_covered(tmp_path: Path) -> None:
    save(tmp_path / "a.png", part(slice(0, 4), slice(0, 4)))
    save(tmp_path / "b.png", part(slice(0, 0), slice(0, 0)))
    save(tmp_path / "c.png", part(slice(0, 4), slice(0, 4)))  # the same as a: nothing is left of it
    save(tmp_path / "d.png", np.maximum(part(slice(6, 8), slice(0, 3)), part(slice(6, 8), slice(9, 12))))
    found = one_mask_each(tmp_path)
    assert found.max() == 2 and (found == 1).sum() == 16 and (found == 2).sum() == 12
    save(tmp_path / "e.png", np.zeros((3, 3), np.uint8))
    with pytest.raises(Fault, match=r"masks of one size in .*, got e.png of 3x3 beside 16x12"):
        one_mask_each(tmp_path)


def test_masks_of_another_size_and_two_images(tmp_path: Path) -> None:
    trees.dsb2018(tmp_path)
    save(tmp_path / "stage1_train/one/images/one.png", noise(21, 30))
    with pytest.raises(Fault, match="masks the size of their images"):
        open_dataset(f"dsb2018:{tmp_path}").split()[1][0].instances()
    save(tmp_path / "stage1_train/one/images/other.png", noise(20, 30))
    with pytest.raises(Fault, match="2 images in one/images/"):
        open_dataset(f"dsb2018:{tmp_path}")


def test_the_test_part_has_no_labels(tmp_path: Path) -> None:
    trees.dsb2018(tmp_path)
    save(tmp_path / "stage1_test/one/images/one.png", noise(20, 30))
    data = open_dataset(f"dsb2018:{tmp_path}")
    assert [(s.key, s.split) for s in data.samples if s.truth is None] == [
        ("bare", "unlabelled"), ("stage1_test/one", "unlabelled")
    ]  # fmt: skip


def test_built_in_images_have_instances_too(tmp_path: Path) -> None:
    write(tmp_path, "cluster", 2, 64, seed=1)
    found = open_dataset(f"synth:{tmp_path}").samples[1].instances()
    assert np.array_equal(found, render("cluster", 1, 1, 64).instances) and found.max() > 3


@pytest.mark.skipif(not REAL.is_dir(), reason="the 2018 Data Science Bowl images are not here")
def test_the_real_data_set() -> None:
    data = open_dataset(f"dsb2018:{REAL}")
    split, samples = data.split()
    assert split == "all" and len(samples) == len(data.samples) > 10
    for sample in samples[::10]:
        found = sample.instances()
        files = sorted(sample.truth.iterdir()) if sample.truth else []
        assert found.shape == image_size(sample.image) and found.max() == len(files)
        total = np.sum([read_mask(path) > 0 for path in files], axis=0)
        assert np.array_equal(found > 0, total > 0)
        alone = [np.unique(found[(read_mask(path) > 0) & (total == 1)]) for path in files[:5]]
        assert all(len(ids) == 1 for ids in alone)  # undisputed pixels of one file have one number
