"""Backgrounds hold no object, follow the seed, and say where they come from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from decoupe.data.backgrounds import _anywhere, _corners, _outside, background_cache
from decoupe.data.catalogue import open_dataset
from decoupe.data.sources import Item, find
from decoupe.errors import Fault
from tests.data.files import noise, save


@pytest.fixture
def items(tmp_path: Path) -> list[Item]:
    """Ten grounds of values under 100, each with a white square in the middle."""
    for index in range(10):
        pixels = noise(60, 80, seed=index) // 3
        pixels[18:42, 28:52] = 255
        save(tmp_path / f"in/{index}.png", pixels)
    return find(tmp_path / "in")


def test_corners_of_the_photos(tmp_path: Path, items: list[Item]) -> None:
    cache, words = background_cache(items, 32, 3, tmp_path / "cache")
    assert len(cache) == 500 and cache.array.shape[1:] == (3, 32, 32)
    assert cache.array.max() < 200
    assert words == "backgrounds: 500 patches from the corners of the same 10 photos (no boxes were given)"
    assert len(np.unique(np.array(cache.array).reshape(500, -1), axis=0)) > 250


def test_outside_the_boxes(tmp_path: Path, items: list[Item]) -> None:
    boxed = [replace(item, box=(28, 18, 52, 42)) for item in items]
    cache, words = background_cache(boxed, 32, 3, tmp_path / "cache")
    assert "outside the boxes of the same 10 photos" in words and cache.array.max() < 200 and len(cache) == 500
    full = [replace(item, box=(0, 0, 80, 60)) for item in items]
    with pytest.raises(Fault, match="room outside their boxes"):
        background_cache(full, 32, 3, tmp_path / "cache")
    two = [replace(items[0], key=f"{i}", box=(40 * i + 0.0, 0, 40 * i + 30.0, 60)) for i in range(2)]
    assert background_cache(two, 32, 3, tmp_path / "cache")[1].endswith("same 1 photo")


def test_a_folder_of_photos(tmp_path: Path, items: list[Item]) -> None:
    for index in range(4):
        save(tmp_path / f"grounds/{index}.png", noise(50, 70, 1, seed=index)[..., 0])
    (tmp_path / "grounds/broken.png").touch()
    cache, words = background_cache(items, 32, 3, tmp_path / "cache", tmp_path / "grounds")
    assert words == "backgrounds: 400 patches from 4 photos of grounds"
    assert (cache.array[:, :1] == cache.array).all()  # grey, as the folder's photos
    with pytest.raises(Fault, match="check the path"):
        background_cache(items, 32, 3, tmp_path / "cache", tmp_path / "none")


def test_the_seed_decides(tmp_path: Path, items: list[Item]) -> None:
    def rows(seed: int, place: str) -> tuple[str, np.ndarray]:
        cache = background_cache(items, 32, 3, tmp_path / place, seed=seed, workers=1 + len(place) % 2)[0]
        return cache.fingerprint, np.array(cache.array)

    assert rows(1, "a")[0] == rows(1, "bb")[0] != rows(2, "a")[0]
    assert np.array_equal(rows(1, "a")[1], rows(1, "bb")[1])
    assert not np.array_equal(rows(1, "a")[1], rows(2, "a")[1])


@pytest.mark.parametrize(("height", "width"), [(8, 8), (60, 80), (300, 8)])
def test_squares_lie_inside(height: int, width: int) -> None:
    random = np.random.default_rng(0)
    short = min(height, width)
    for squares, low, high in (
        (_anywhere(random, height, width, 500, 0.5, 1.0), 0.5, 1.0),
        (_corners(random, height, width, 500), 0.2, 0.35),
        (_outside(random, height, width, 500, np.array([[3.0, 3.0, 5.0, 5.0]])), 0.1, 0.5),
    ):
        left, top, side = squares.T
        assert len(squares) == 500 and side.min() >= max(1, int(low * short)) and side.max() <= max(1, high * short)
        assert (left >= 0).all() and (top >= 0).all()
        assert (left + side <= width).all() and (top + side <= height).all()
    left, top, side = _corners(random, height, width, 200).T
    assert (((left == 0) | (left + side == width)) & ((top == 0) | (top + side == height))).all()


def test_few_object_pixels_on_real_flowers(shared_data: Path, tmp_path: Path) -> None:
    """The patches of photos with trimaps hold under 8 % flower; the photos hold over 25 %."""
    place = shared_data / "data/flowers17"
    if not place.is_dir():
        pytest.skip(f"no flowers17 in {shared_data}")
    masks = [sample.mask() for sample in open_dataset(f"flowers17:{place}").split("test")[1]]
    random = np.random.default_rng(0)
    shares = [
        (mask[y : y + side, x : x + side] == 1).mean()
        for mask in masks
        for x, y, side in _corners(random, *mask.shape, 8)
    ]
    assert np.mean([(mask == 1).mean() for mask in masks]) > 0.2
    assert np.mean(shares) < 0.08
