"""What a folder of images is like, and what is wrong with which file, before any training."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decoupe.data.decode import MAX_PIXELS, BadImage, Decoded, decode
from decoupe.data.pixels import conforms
from decoupe.data.pool import ordered
from decoupe.data.rows import Rows
from decoupe.data.sources import Item, Items
from decoupe.types import Image

SMALLEST = 8
"""Images and boxes with a side below this many pixels are skipped."""
LONGEST = 50
"""Images longer than this many times their short side are skipped: squeezed to a square nothing is left of them."""

Progress = Callable[[int, int], None]
"""Called as progress(files done, files in all)."""


@dataclass(frozen=True)
class Problem:
    """Something to tell the user about one file."""

    path: Path
    reason: str
    """A few words: "truncated after 41 kB", "animated: first frame used"."""
    kept: bool
    """Whether the file is used all the same."""


@dataclass(frozen=True)
class Survey:
    """The usable images and what is known of them."""

    items: Sequence[Item]
    """The usable ones, in their given order."""
    problems: list[Problem]
    """Every file left out, with the reason, and every odd one that was kept."""
    shapes: tuple[int, int]
    """Median (width, height) in pixels of the usable files; (0, 0) when there is none."""
    channels: int
    """Bands to work with: the caller's choice, or what most usable files have."""
    kinds: dict[str, int]
    """How many usable files there are of each kind ("RGB 8-bit"), the most frequent first."""
    files: int
    """How many files were looked at."""

    @property
    def usable(self) -> int:
        """How many files are used."""
        return sum(self.kinds.values())

    def sentence(self) -> str:
        """One line: "1,204 images · 1,198 usable · median 1600x1200 · RGB 8-bit (14 grey 8-bit: fine)"."""
        parts = [f"{self.files:,} image{'s' * (self.files != 1)}", f"{self.usable:,} usable"]
        if self.kinds:
            (first, _), *others = self.kinds.items()
            more = ", ".join(f"{count:,} {name}" for name, count in others)
            parts += [f"median {self.shapes[0]}x{self.shapes[1]}", first + (f" ({more}: fine)" if more else "")]
        if len(self.items) > self.usable:
            parts.append(f"{len(self.items):,} boxes")
        return " · ".join(parts)


Group = tuple[tuple[int, Item], ...]
"""The items that share one file and frame, with their positions."""
Cut = Callable[[Decoded, Group], Sequence[Image]]
"""Takes the parts to keep out of a decoded file."""


class Groups(Rows[Group]):
    """Neighbouring items of one file together, so that the file is decoded once."""

    def __init__(self, items: Sequence[Item]) -> None:
        self._items = items
        if isinstance(items, Items):  # whole images, each once
            self._starts = np.arange(len(items) + 1)
            return
        files = [(item.path, item.frame) for item in items]
        changes = [i for i in range(len(files)) if i == 0 or files[i] != files[i - 1]]
        self._starts = np.array([*changes, len(files)], np.int64)

    def __len__(self) -> int:
        return len(self._starts) - 1

    def files(self) -> Iterator[tuple[str, int, list[Any]]]:
        """Of each file its path, its frame and the boxes of its items."""
        if isinstance(self._items, Items):
            return ((path, 0, [None]) for path in self._items.files())
        return ((os.fspath(group[0][1].path), group[0][1].frame, [item.box for _, item in group]) for group in self)

    def row(self, index: int) -> Group:
        """The items of one file."""
        return tuple((i, self._items[i]) for i in range(int(self._starts[index]), int(self._starts[index + 1])))


@dataclass(frozen=True)
class Facts:
    """One file, looked at."""

    bad: tuple[str | None, ...]
    """For each of its items the reason why it cannot be used, or None."""
    full: tuple[int, int] = (0, 0)
    """(height, width) of the upright file."""
    bands: int = 0
    bits: int = 8
    animated: bool = False


ROW = np.dtype(
    [("items", "<i4"), ("good", "<i4"), ("height", "<i4"), ("width", "<i4"), ("bands", "<i4"), ("bits", "<i2")]
    + [("animated", "?")]
)
"""A file in a `Table`: how many items it holds, how many of them can be used, and what it is like."""


class Table:
    """The facts of many files: a row of 23 bytes each, and a reason for each item that cannot be used."""

    def __init__(self, rows: NDArray[np.void] | None = None, bad: Mapping[int, str] | None = None) -> None:
        self.rows = np.zeros(0, ROW) if rows is None else rows
        self.bad = dict(bad or {})
        """Reason by position of the item."""
        self._count, self._items = len(self.rows), int(self.rows["items"].sum())

    def __len__(self) -> int:
        return self._count

    def add(self, facts: Facts) -> None:
        """The next file."""
        if self._count == len(self.rows):
            self.rows = np.concatenate([self.rows, np.zeros(max(1024, self._count // 2), ROW)])
        good = sum(reason is None for reason in facts.bad)
        values = (len(facts.bad), good, *facts.full, facts.bands, facts.bits, facts.animated)
        self.rows[self._count] = values
        self.bad |= {self._items + i: reason for i, reason in enumerate(facts.bad) if reason is not None}
        self._count, self._items = self._count + 1, self._items + len(facts.bad)

    def column(self, name: str) -> NDArray[Any]:
        """One value per file."""
        return np.asarray(self.rows[name][: self._count])

    def whole(self) -> NDArray[np.void]:
        """All rows, (files,) of `ROW`."""
        return self.rows[: self._count]


def kind_words(bands: int, bits: int) -> str:
    """ "RGB 8-bit", "grey 16-bit", "5-band 8-bit"."""
    name = {1: "grey", 3: "RGB"}.get(bands, f"{bands}-band")
    return f"{name} {bits}-bit"


def survey(
    items: Sequence[Item],
    *,
    max_pixels: int = MAX_PIXELS,
    channels: int | None = None,
    progress: Progress | None = None,
    workers: int = 2,
) -> Survey:
    """Decode every file once and say which can be used. Holds only a few images at a time; never raises for a file.

    Args:
        max_pixels: larger files are skipped and named.
        channels: bands to work with; by default what most usable files have (on a tie, more bands).
        progress: called with (files done, files in all).
    """
    work, table = Groups(items), Table()
    for look in ordered(lambda group: inspect(group, max_pixels)[0], work, workers):
        table.add(look)
        if progress:
            progress(len(table), len(work))
    return summarise(items, table, channels)


def inspect(
    group: Group, max_pixels: int = MAX_PIXELS, cut: Cut | None = None, hint: int = 0
) -> tuple[Facts, list[Image]]:
    """Decode one file; judge it and its boxes; return the parts `cut` takes out of it when it can be used."""
    item = group[0][1]
    try:
        seen = decode(item.path, max_pixels=max_pixels, frame=item.frame, hint=hint)
    except BadImage as error:
        return Facts((error.reason,) * len(group)), []
    whole = odd_shape(*seen.full)
    bad = tuple(whole or (odd_box(one.box, seen.full) if one.box else None) for _, one in group)
    facts = Facts(bad, seen.full, seen.pixels.shape[2], seen.bits, seen.animated)
    good = tuple(pair for pair, reason in zip(group, bad, strict=True) if reason is None)
    return facts, list(cut(seen, good)) if cut and good else []


def odd_shape(height: int, width: int) -> str | None:
    """Why an image of this size is not used, or None."""
    if min(height, width) < SMALLEST:
        return f"{width}x{height}: too small (a side needs {SMALLEST} pixels)"
    if max(height, width) > LONGEST * min(height, width):
        return f"{width}x{height}: too elongated (over {LONGEST} to 1)"
    return None


def odd_box(box: tuple[float, float, float, float], full: tuple[int, int]) -> str | None:
    """Why a box in an image of (height, width) is not used, or None."""
    shown = "box " + ", ".join(f"{side:g}" for side in box)
    if not all(math.isfinite(side) for side in box):
        return f"{shown}: not finite"
    x0, y0, x1, y1 = clipped(box, full)
    if x1 <= x0 or y1 <= y0:
        return f"{shown}: outside the image ({full[1]}x{full[0]})"
    return f"{shown}: too small" if min(x1 - x0, y1 - y0) < SMALLEST else None


def clipped(box: tuple[float, float, float, float], full: tuple[int, int]) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 in whole pixels, cut at the borders of an image of (height, width)."""
    return (
        max(0, math.floor(box[0])),
        max(0, math.floor(box[1])),
        min(full[1], math.ceil(box[2])),
        min(full[0], math.ceil(box[3])),
    )


def majority(table: Table) -> int:
    """The number of bands most usable files have; on a tie the larger; 3 when there is none."""
    bands, counts = np.unique(table.column("bands")[table.column("good") > 0], return_counts=True)
    return int(max(zip(counts, bands, strict=True), default=(0, 3))[1])


def summarise(items: Sequence[Item], table: Table, channels: int | None = None) -> Survey:
    """Put the facts of all files together."""
    bands = channels or majority(table)
    begin = np.concatenate([[0], np.cumsum(table.column("items"))])
    usable = (table.column("good") > 0) & conforming(table, bands)
    kept = np.repeat(usable, table.column("items"))
    kept[list(table.bad)] = False
    sizes = [int(np.median(table.column(side)[usable])) if usable.any() else 0 for side in ("width", "height")]
    pairs, first, counts = np.unique(table.whole()[["bands", "bits"]][usable], return_index=True, return_counts=True)
    order = sorted(range(len(pairs)), key=lambda i: (-counts[i], first[i]))
    kinds = {kind_words(int(pairs[i]["bands"]), int(pairs[i]["bits"])): int(counts[i]) for i in order}
    problems = _problems(items, table, bands, begin)
    return Survey(_chosen(items, kept), problems, (sizes[0], sizes[1]), bands, kinds, len(table))


def conforming(table: Table, channels: int) -> NDArray[np.bool_]:
    """(files,): whether an image of the file's bands can be used where there are `channels`."""
    fits = {int(bands): conforms(int(bands), channels) for bands in np.unique(table.column("bands"))}
    return np.isin(table.column("bands"), [bands for bands, fit in fits.items() if fit])


def _chosen(items: Sequence[Item], kept: NDArray[np.bool_]) -> Sequence[Item]:
    if kept.all():
        return items
    chosen = np.flatnonzero(kept).tolist()
    return items.take(chosen) if isinstance(items, Items) else [items[i] for i in chosen]


def _problems(items: Sequence[Item], table: Table, channels: int, begin: NDArray[np.int64]) -> list[Problem]:
    """In the order of the files; a reason that several items of a file share is told once."""
    told: dict[tuple[int, str], bool] = {}
    for position, reason in table.bad.items():
        told[int(np.searchsorted(begin, position, "right")) - 1, reason] = False
    good, bands = table.column("good") > 0, table.column("bands")
    fits = conforming(table, channels)
    for file in np.flatnonzero(good & ~fits).tolist():
        told[file, f"{bands_words(int(bands[file]))} where {bands_words(channels)} are used"] = False
    for file in np.flatnonzero(good & fits & table.column("animated")).tolist():
        told[file, "several frames or pages: only the first is used"] = True
    for file in np.flatnonzero(good & fits & (bands > 3) & (bands != channels)).tolist():
        told[file, f"{bands[file]} bands: only the first {channels} used"] = True
    return [
        Problem(items[int(begin[file])].path, reason, kept)
        for (file, reason), kept in sorted(told.items(), key=lambda entry: entry[0][0])
    ]


def bands_words(bands: int) -> str:
    """1 -> "1 band"."""
    return f"{bands} band{'s' * (bands != 1)}"
