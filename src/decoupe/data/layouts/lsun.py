"""LSUN: one LMDB store of photos per kind of scene and split, without labels."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from decoupe.data.layouts.base import Dataset, Layout, Missing, Sample
from decoupe.data.lmdbs import is_store
from decoupe.data.rows import Rows
from decoupe.data.sources import Items, find

ENDS = {"_train_lmdb": "train", "_val_lmdb": "val", "_test_lmdb": "test"}


def stores(root: Path) -> dict[str, str]:
    """Folders of the stores in `root`, or `root` itself, and the split of each. Raises `Missing` if there is none."""
    places = [root] if is_store(root) else sorted(path for path in root.iterdir() if path.is_dir() and is_store(path))
    if not places:
        raise Missing("no folder with data.mdb")
    splits = {}
    for place in places:
        name = Path(os.path.realpath(place)).name
        splits[str(place)] = next((split for end, split in ENDS.items() if name.endswith(end)), "all")
    return splits


class Stored(Rows[Sample]):
    """Samples of millions of images: each is made when it is asked for."""

    def __init__(self, items: Items, splits: dict[str, str]) -> None:
        self.items, self._splits = items, splits

    def __len__(self) -> int:
        return len(self.items)

    def row(self, index: int) -> Sample:
        """The photo at this place of the stores."""
        item = self.items[index]
        return Sample(item.key, item.path, self._splits[str(item.path.parent)])

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))


def lsun(root: Path) -> Dataset:
    """NAME_train_lmdb/ and NAME_val_lmdb/ (one or several kinds of scene), or one of these folders itself."""
    splits = stores(root)
    samples = Stored(find(list(splits)), splits)
    return Dataset("lsun", root, ("scene", "object"), samples, "photos without labels; splits as published")


def to_fit(root: Path, split: str) -> Items | None:
    """The photos that a method may look at, by the names of `Dataset.to_fit`; None: no store is in that split."""
    held_out = ("val", "test")
    chosen = [
        place
        for place, own in stores(root).items()
        if split in (own, "all") or (split == "train" and own not in held_out)
    ]
    return find(chosen) if chosen else None


LAYOUTS = {"lsun": Layout("SCENE_train_lmdb/data.mdb, SCENE_val_lmdb/data.mdb", lsun, to_fit)}
