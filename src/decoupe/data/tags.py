"""What is in each photo, as people have it: a CSV of tags, or a data set whose layout knows them."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from decoupe.data.catalogue import LAYOUTS, open_dataset
from decoupe.data.decode import read_mask
from decoupe.data.pixels import resize
from decoupe.data.sources import COLUMNS, Item, read_csv
from decoupe.errors import Fault

TAG_COLUMNS = ("tags", "tag", "labels", "label", "classes", "class")
"""Column of a CSV that holds the tags, the first one found."""
MOST = 1_000
"""Different tags; more are a mistake in the file."""


UNKNOWN = 255
"""Stands in a table for what no row of the file tells."""


@dataclass(frozen=True)
class Tagged:
    """Photos with their tags."""

    items: list[Item]
    """Those that have a row; a row may be empty."""
    names: tuple[str, ...]
    """Tags in alphabetical order, or the ones asked for in the order asked for."""
    tags: Mapping[str, frozenset[str]]
    """Key of an item -> its tags, those of `names` only."""
    missing: int
    """Photos without a row, left out."""

    def table(self, items: Iterable[Item]) -> NDArray[np.uint8]:
        """(N, C) 0 or 1 for items of `items`; 255 for one of which nothing is known."""
        unknown = [UNKNOWN] * len(self.names)
        known = self.tags
        rows = [[n in known[i.key] for n in self.names] if i.key in known else unknown for i in items]
        return np.array(rows, np.uint8).reshape(-1, len(self.names))

    def sentence(self) -> str:
        """One line: how many photos each tag has, how many have none, how many were left out."""
        counts = {name: sum(name in tags for tags in self.tags.values()) for name in self.names}
        parts = [", ".join(f"{name} {n:,}" for name, n in counts.items())]
        if none := sum(not tags for tags in self.tags.values()):
            parts.append(f"{none:,} with none of them")
        if self.missing:
            parts.append(f"{self.missing:,} photos without a row left out")
        return f"tags: {'; '.join(parts)}"


def read_tags(source: str | Path, items: Sequence[Item], classes: Sequence[str] = ()) -> Tagged:
    """The tags of these images from a CSV, or from NAME:PATH of a layout that has tags.

    A CSV has a column image (or path, file, ...) and a column tags: names separated by spaces, or by commas, semicolons
    or bars (then they may contain spaces). Rows of one image are put together; a row without a tag says that there is
    nothing of the classes in the photo. Or one column per class holds 0 and 1. A name belongs to the image whose path
    ends with it, or whose file name it is. `classes`: the tags that count; none = all that occur.

    Raises:
        Fault: another form, a name that fits several images, no image with a row, or a class that no image has.
    """
    name, colon, _ = str(source).partition(":")
    if colon and name in LAYOUTS:
        samples = open_dataset(str(source)).samples
        rows = [(str(s.image), sorted(s.tags)) for s in samples if s.tags is not None]
        if not rows:
            raise Fault(f"tags in {source}", "a layout without them", "give --tags tags.csv")
    else:
        rows = read_table(Path(source))
    found = _match(rows, items, source)
    if not found:
        raise Fault(f"tags of these images in {source}", f"none for any of {len(items):,}", "use the same file names")
    occurring = sorted({tag for tags in found.values() for tag in tags})
    if unknown := [c for c in classes if c not in occurring]:
        raise Fault(f"--classes among {', '.join(occurring)[:200]}", unknown[0], "correct the name")
    names = tuple(classes) or tuple(occurring)
    if not 1 <= len(names) <= MOST:
        raise Fault(f"1 to {MOST:,} different tags in {source}", f"{len(names):,}", "check the column of tags")
    kept = [item for item in items if item.key in found]
    tags = {item.key: frozenset(found[item.key]) & frozenset(names) for item in kept}
    return Tagged(kept, names, tags, len(items) - len(kept))


def read_table(path: Path) -> list[tuple[str, list[str]]]:
    """(image name, tags) rows of a CSV. Raises `Fault` as `read_tags` does."""
    wanted = "a CSV with the columns image,tags (or image and one column of 0 and 1 per class)"
    if not path.is_file():
        raise Fault(wanted, f"{path}, which does not exist", "check the path")
    rows = read_csv(path)
    header = list(rows[0]) if rows else []
    image = next((h for name in (*COLUMNS, "image_id") for h in header if h.lower() == name), None)
    column = next((h for name in TAG_COLUMNS for h in header if h.lower() == name), None)
    rest = [h for h in header if h != image and h]
    if image is None or not rest:
        raise Fault(wanted, f"{path} with {', '.join(header)[:80] or 'nothing'}", "add a header line")
    if column is not None:
        return [(row[image], split_tags(row[column])) for row in rows if row[image]]
    if any(row[h] not in ("0", "1", "") for row in rows for h in rest):
        raise Fault(wanted, f"{path} with {', '.join(header)[:80]}", "name the column of tags `tags`")
    return [(row[image], [h for h in rest if row[h] == "1"]) for row in rows if row[image]]


def split_tags(cell: str) -> list[str]:
    """The tags of one cell: separated by commas, semicolons or bars if there are any, else by spaces."""
    parts = next(csv.reader([re.sub(r"[;|]", ",", cell)])) if re.search(r"[,;|]", cell) else cell.split()
    return [part.strip() for part in parts if part.strip()]


def _match(rows: Sequence[tuple[str, list[str]]], items: Sequence[Item], source: str | Path) -> dict[str, set[str]]:
    """Key of an item -> its tags."""
    by_name: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        by_name[item.path.name].append(item)
        if item.path.stem != item.path.name:
            by_name[item.path.stem].append(item)
    found: dict[str, set[str]] = {}
    for name, tags in rows:
        parts = PurePosixPath(name.replace("\\", "/")).parts
        alike = by_name.get(parts[-1], []) if parts else []
        exact = [item for item in alike if item.path.parts[-len(parts) :] == parts]
        fits = exact or alike
        if len({item.path for item in fits}) > 1:
            got = f"{name!r} in {source}, which fits {len(fits)}"
            raise Fault("image names that fit one image each", got, "add its folder")
        for item in fits:
            found.setdefault(item.key, set()).update(tags)
    return found


class CueFolder:
    """Cues drawn or made elsewhere: for each photo a file of its name, read when it is needed.

    A mask (PNG): 0 background, 1 ... C the classes in their order, 255 nothing known. Or maps (NPY, float): (C, h, w),
    the classes', or (1 + C, h, w) with the background's first, each in [0, 1]; the class of a cell is that of its
    largest map if that is above .5. A photo without a file has no cue.
    """

    def __init__(self, folder: Path, items: Sequence[Item], classes: int, size: int) -> None:
        if not folder.is_dir():
            raise Fault("--cues to be a folder of masks or maps", f"{folder}, which is none", "check the path")
        self.classes, self.size = classes, size
        files = {p.relative_to(folder).with_suffix("").as_posix(): p for p in sorted(folder.rglob("*.png"))}
        files |= {p.relative_to(folder).with_suffix("").as_posix(): p for p in sorted(folder.rglob("*.npy"))}
        self.files = [files.get(item.key, files.get(item.path.stem)) for item in items]
        if not any(self.files):
            raise Fault(f"cues in {folder} named as the photos", "no file for any of them", "use equal names")

    def __len__(self) -> int:
        return len(self.files)

    def sentence(self) -> str:
        """One line: for how many photos there are cues."""
        return f"cues: given for {sum(path is not None for path in self.files):,} of {len(self):,} photos"

    def __getitem__(self, index: NDArray[np.int64]) -> NDArray[np.uint8]:
        """(B, S, S) uint8 classes, 255 where nothing is known, at an index array (B,)."""
        return np.stack([self._one(self.files[int(i)]) for i in index])

    def _one(self, path: Path | None) -> NDArray[np.uint8]:
        if path is None:
            return np.full((self.size, self.size), 255, np.uint8)
        labels = self._maps(path) if path.suffix == ".npy" else read_mask(path)
        if not np.isin(labels[labels != 255], np.arange(self.classes + 1)).all():
            got = f"{path} with {int(labels[labels != 255].max())}"
            raise Fault(f"cues 0 (background) to {self.classes}, or 255", got, "correct the file")
        rows, columns = (((np.arange(self.size) + 0.5) * n / self.size).astype(int) for n in labels.shape)
        return np.asarray(labels[rows][:, columns], np.uint8)

    def _maps(self, path: Path) -> NDArray[np.int64]:
        try:
            maps = np.load(path, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise Fault(
                "maps as a plain NPY file", f"{path} ({str(error)[:60]})", "save them with numpy.save"
            ) from None
        if maps.ndim != 3 or len(maps) not in (self.classes, self.classes + 1) or maps.dtype.kind != "f":
            wanted = f"maps ({self.classes}, h, w) or ({self.classes + 1}, h, w) of floats"
            raise Fault(wanted, f"{path} of {maps.dtype} {maps.shape}", "save one map per class")
        first = self.classes + 1 - len(maps)
        large = np.stack([resize_map(one, self.size) for one in maps])
        return np.where(large.max(0) > 0.5, large.argmax(0) + first, 255)


def resize_map(values: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """(h, w) in [0, 1] -> (size, size), as photos are resized."""
    small = (np.clip(values, 0, 1) * 255).round().astype(np.uint8)[..., None]
    return resize(small, size, size)[..., 0] / 255
