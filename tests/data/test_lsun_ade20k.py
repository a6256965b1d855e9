"""LSUN's stores and ADE20K's scenes, on tiny trees of their shape."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import lmdb
import numpy as np
import pytest
from PIL import Image

from decoupe.data import lmdbs
from decoupe.data.cache import survey_and_cache
from decoupe.data.catalogue import open_dataset
from decoupe.data.decode import read_image
from decoupe.data.layouts.ade20k import CLASSES
from decoupe.data.prepare import items_of
from decoupe.data.sources import Items, find
from decoupe.errors import Fault, UsageFault
from decoupe.evaluate.protocols import protocol_of
from tests.data.files import noise, save

HOSTILE = b"../../../etc/passwd"
NAMES = {
    1: "wall", 8: "bed", 9: "windowpane, window ", 48: "sink", 58: "pillow", 71: "countertop", 72: "stove, kitchen",
    119: "oven", 125: "microwave, microwave oven", 130: "dishwasher, dish washer",
}  # fmt: skip


def store(folder: Path, count: int, prefix: bytes = b"") -> None:
    """WebP images of different sizes under hexadecimal keys, as published; one key that looks like a path."""
    folder.mkdir(parents=True)
    with lmdb.open(str(folder), map_size=1 << 24) as environment, environment.begin(write=True) as transaction:
        for index in range(count):
            buffer = io.BytesIO()
            Image.fromarray(noise(20 + index, 30, seed=index)).save(buffer, "WEBP", lossless=True)
            key = HOSTILE if prefix and index == 0 else prefix + f"{index:040x}".encode()
            transaction.put(key, buffer.getvalue())


def test_a_store_is_read_in_place(tmp_path: Path) -> None:
    store(tmp_path / "bedroom_train_lmdb", 5)
    items = find(tmp_path / "bedroom_train_lmdb")
    assert isinstance(items, Items) and len(items) == 5
    for index, item in enumerate(items):
        assert np.array_equal(read_image(item.path), noise(20 + index, 30, seed=index))
        assert item.key == f"{index:040x}"
    assert [item.key for item in find(tmp_path)] == [f"bedroom_train_lmdb/{item.key}" for item in items]


def test_stores_are_cached_like_files(tmp_path: Path) -> None:
    store(tmp_path / "a_train_lmdb", 4)
    items = items_of(f"lsun:{tmp_path}")
    survey, cache = survey_and_cache(items, 32, folder=tmp_path / "cache")
    assert len(cache) == 4 and not survey.problems
    assert cache[np.array([2])].shape == (1, 3, 32, 32)
    _, again = survey_and_cache(items_of(f"lsun:{tmp_path}"), 32, folder=tmp_path / "cache")
    assert again.fingerprint == cache.fingerprint


def test_lsun_has_the_published_splits_and_no_labels(tmp_path: Path) -> None:
    for name, count in (("bedroom_train_lmdb", 5), ("bedroom_val_lmdb", 2), ("kitchen_train_lmdb", 3)):
        store(tmp_path / name, count)
    data = open_dataset(f"lsun:{tmp_path}")
    assert Counter(sample.split for sample in data.samples) == {"train": 8, "val": 2}
    assert len({sample.key for sample in data.samples}) == 10 and data.samples[3:5] == list(data.samples)[3:5]
    assert len(items_of(f"lsun:{tmp_path}")) == 10 and len(items_of(f"lsun:{tmp_path}", "train")) == 8
    assert isinstance(items_of(f"lsun:{tmp_path}", "train"), Items), "millions of photos: no list of samples"
    assert len(items_of(f"lsun:{tmp_path / 'bedroom_train_lmdb'}")) == 5
    with pytest.raises(UsageFault, match="--split to be one of train, val, all"):
        items_of(f"lsun:{tmp_path}", "test")
    with pytest.raises(Fault, match="no mask at all"):
        data.split()
    (tmp_path / "empty").mkdir()
    with pytest.raises(Fault, match=r"no folder with data.mdb"):
        open_dataset(f"lsun:{tmp_path / 'empty'}")


def test_keys_that_look_like_paths_lead_nowhere(tmp_path: Path) -> None:
    store(tmp_path / "x_lmdb", 2, prefix=b"a/b ")
    items = find(tmp_path / "x_lmdb")
    assert all(item.path.parent == tmp_path / "x_lmdb" for item in items)
    assert [read_image(item.path).shape[0] for item in items] == [20, 21]
    assert all(".." not in item.key.split("/") and not item.key.startswith("/") for item in items)
    with pytest.raises(FileNotFoundError):
        lmdbs.read_stored(tmp_path / "x_lmdb/nothing.webp")
    with pytest.raises(Fault, match="readable image"):
        read_image(tmp_path / "x_lmdb/nothing.webp")


def test_stores_of_every_shape_are_read_as_their_own_library_reads_them(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    sizes = [int(size) for size in random.integers(0, 9000, 700)]
    with lmdb.open(str(tmp_path / "x"), map_size=1 << 25) as environment:
        for part in range(4):  # values in leaves and on pages of their own, three levels, some deleted again
            with environment.begin(write=True) as transaction:
                for number, size in enumerate(sizes[part::4]):
                    transaction.put(b"%d %032d" % (part, number * 7919 % 1000), random.bytes(size))
        with environment.begin(write=True) as transaction:
            for number in range(0, 170, 3):
                transaction.delete(b"1 %032d" % (number * 7919 % 1000))
        with environment.begin() as transaction:
            expected = dict(transaction.cursor())
    own = lmdbs._store(str(tmp_path / "x"))
    assert list(own.keys()) == list(expected) and len(expected) > 600
    assert all(own.get(key) == value for key, value in expected.items())
    assert own.get(b"") is own.get(b"2 ") is own.get(b"\xff") is None
    lmdb.open(str(tmp_path / "empty"), map_size=1 << 20).close()
    assert list(lmdbs.members(str(tmp_path / "empty"))) == []


@pytest.mark.parametrize("kept", [0, 100, 4096, 8192, 20_000])
def test_a_damaged_store_is_said_in_one_line(tmp_path: Path, kept: int) -> None:
    store(tmp_path / "z_lmdb", 40)
    file = tmp_path / "z_lmdb/data.mdb"
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(Fault, match="restore its data.mdb") as caught:
        find(tmp_path / "z_lmdb")
    assert "\n" not in str(caught.value)
    file.write_bytes(b"no store" * 2000)
    with pytest.raises(Fault, match="an LMDB store"):
        find(tmp_path / "z_lmdb")


def test_a_tree_that_runs_in_circles_ends(tmp_path: Path) -> None:
    with lmdb.open(str(tmp_path / "x"), map_size=1 << 24) as environment, environment.begin(write=True) as transaction:
        for number in range(500):
            transaction.put(b"%030d" % number, b"v" * 40)
    file = tmp_path / "x/data.mdb"
    data = bytearray(file.read_bytes())
    pages = range(2 * 4096, len(data), 4096)
    branch = next(at for at in pages if data[at + 10] == lmdbs.BRANCH)
    node = branch + int.from_bytes(data[branch + 16 : branch + 18], "little")
    data[node : node + 6] = (branch // 4096).to_bytes(6, "little")
    file.write_bytes(data)
    with pytest.raises(Fault, match="runs in circles"):
        list(lmdbs.members(str(tmp_path / "x")))
    with pytest.raises(Fault, match="runs in circles"):
        lmdbs.read_stored(tmp_path / "x" / f"{0:030d}.webp")


def ade20k(root: Path) -> None:
    """Six bedrooms and two kitchens: columns of wall, bed, pillow, window; or stove, sink, countertop, unlabelled."""
    bedroom, kitchen = np.zeros((20, 40), np.uint8), np.zeros((20, 40), np.uint8)
    for column, (first, second) in enumerate(zip((1, 8, 58, 9), (72, 48, 71, 0), strict=True)):
        bedroom[:, 10 * column : 10 * column + 10], kitchen[:, 10 * column : 10 * column + 10] = first, second
    rows = []
    for index in range(8):
        split, kind = ("training", "train") if index < 7 else ("validation", "val")
        stem, scene = f"ADE_{kind}_{index:08d}", "bedroom" if index < 6 else "kitchen"
        save(root / f"images/{split}/{stem}.jpg", noise(20, 40, seed=index))
        save(root / f"annotations/{split}/{stem}.png", bedroom if index < 6 else kitchen)
        rows.append(f"{stem} {scene}")
    (root / "sceneCategories.txt").write_text("\n".join(rows) + "\n")
    lines = ["Idx\tRatio\tTrain\tVal\tStuff\tName", *(f"{n}\t0.1\t9\t9\t0\t{name}" for n, name in NAMES.items())]
    (root / "objectInfo150.txt").write_text("\n".join(lines) + "\n")


def test_what_lies_on_a_thing_belongs_to_it(tmp_path: Path) -> None:
    ade20k(tmp_path)
    data = open_dataset(f"ade20k:{tmp_path}")
    assert data.classes == ("rest", *CLASSES) and Counter(s.split for s in data.samples) == {"train": 7, "val": 1}
    assert data.samples[0].mask()[0, ::10].tolist() == [0, 1, 1, 2]
    assert data.samples[7].mask()[0, ::10].tolist() == [3, 3, 4, 0]
    assert protocol_of("ade20k", data.classes).classes == data.classes


def test_one_kind_of_scene_in_two_halves(tmp_path: Path) -> None:
    ade20k(tmp_path)
    data = open_dataset(f"ade20k-bedroom:{tmp_path}")
    assert data.classes == ("rest", "bed", "window") and len(data.samples) == 6
    assert Counter(sample.split for sample in data.samples) == {"train": 3, "val": 3}
    assert data.split()[0] == "val" and data.samples[0].mask()[0, ::10].tolist() == [0, 1, 1, 2]
    kitchen = open_dataset(f"ade20k-kitchen:{tmp_path}")
    assert kitchen.classes == ("rest", "appliance", "counter")
    assert kitchen.samples[0].mask()[0, ::10].tolist() == [1, 1, 2, 0]


@pytest.mark.parametrize("gone", ["objectInfo150.txt", "sceneCategories.txt", "annotations"])
def test_what_is_missing_of_ade20k_is_said(tmp_path: Path, gone: str) -> None:
    ade20k(tmp_path)
    (tmp_path / gone).rename(tmp_path / "away")
    with pytest.raises(Fault, match=f"no (file|folder) {gone}"):
        open_dataset(f"ade20k:{tmp_path}")
    (tmp_path / "away").rename(tmp_path / gone)
    (tmp_path / "objectInfo150.txt").write_text("Idx\tName\nx\tbed\n")
    with pytest.raises(Fault, match=r"objectInfo150.txt unreadable"):
        open_dataset(f"ade20k:{tmp_path}")
