"""What a folder of images is like, and what is wrong with which file, before any training."""

from __future__ import annotations

import itertools
import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from decoupe.data.decode import MAX_PIXELS, BadImage, Decoded, decode
from decoupe.data.pixels import conforms
from decoupe.data.pool import ordered
from decoupe.data.sources import Item
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

    items: list[Item]
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


@dataclass(frozen=True)
class Facts:
    """One file, looked at."""

    indices: tuple[int, ...]
    """Which items it holds."""
    bad: tuple[str | None, ...]
    """For each of them the reason why it cannot be used, or None."""
    full: tuple[int, int] = (0, 0)
    """(height, width) of the upright file."""
    bands: int = 0
    bits: int = 8
    animated: bool = False

    @property
    def kind(self) -> str:
        """ "RGB 8-bit", "grey 16-bit", "5-band 8-bit"."""
        name = {1: "grey", 3: "RGB"}.get(self.bands, f"{self.bands}-band")
        return f"{name} {self.bits}-bit"


Group = tuple[tuple[int, Item], ...]
"""The items that share one file and frame, with their positions."""
Cut = Callable[[Decoded, Group], Sequence[Image]]
"""Takes the parts to keep out of a decoded file."""


def groups(items: Sequence[Item]) -> list[Group]:
    """Neighbouring items of one file together, so that the file is decoded once."""
    pairs = itertools.groupby(enumerate(items), key=lambda pair: (pair[1].path, pair[1].frame))
    return [tuple(pair) for _, pair in pairs]


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
    work = groups(items)
    facts = []
    for look in ordered(lambda group: inspect(group, max_pixels)[0], work, workers):
        facts.append(look)
        if progress:
            progress(len(facts), len(work))
    return summarise(items, facts, channels)


def inspect(
    group: Group, max_pixels: int = MAX_PIXELS, cut: Cut | None = None, hint: int = 0
) -> tuple[Facts, list[Image]]:
    """Decode one file; judge it and its boxes; return the parts `cut` takes out of it when it can be used."""
    indices, item = tuple(i for i, _ in group), group[0][1]
    try:
        seen = decode(item.path, max_pixels=max_pixels, frame=item.frame, hint=hint)
    except BadImage as error:
        return Facts(indices, (error.reason,) * len(indices)), []
    whole = odd_shape(*seen.full)
    bad = tuple(whole or (odd_box(one.box, seen.full) if one.box else None) for _, one in group)
    facts = Facts(indices, bad, seen.full, seen.pixels.shape[2], seen.bits, seen.animated)
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


@dataclass
class _Findings:
    items: list[Item] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    sizes: list[tuple[int, int]] = field(default_factory=list)


def majority(facts: Iterable[Facts]) -> int:
    """The number of bands most usable files have; on a tie the larger; 3 when there is none."""
    counts = Counter(look.bands for look in facts if None in look.bad)
    return max(counts, key=lambda bands: (counts[bands], bands), default=3)


def summarise(items: Sequence[Item], facts: Sequence[Facts], channels: int | None = None) -> Survey:
    """Put the facts of all files together."""
    bands = channels or majority(facts)
    found = _Findings()
    for look in facts:
        _add(found, items, look, bands)
    median = tuple(int(statistics.median(sides)) for sides in zip(*found.sizes, strict=True)) if found.sizes else (0, 0)
    kinds = dict(found.kinds.most_common())
    return Survey(found.items, found.problems, (median[1], median[0]), bands, kinds, len(facts))


def _add(found: _Findings, items: Sequence[Item], look: Facts, channels: int) -> None:
    path = items[look.indices[0]].path
    found.problems += [Problem(path, reason, False) for reason in dict.fromkeys(look.bad) if reason]
    if None not in look.bad:
        return
    if not conforms(look.bands, channels):
        found.problems.append(Problem(path, f"{bands_words(look.bands)} where {bands_words(channels)} are used", False))
        return
    if look.animated:
        found.problems.append(Problem(path, "several frames or pages: only the first is used", True))
    if look.bands > 3 and look.bands != channels:
        found.problems.append(Problem(path, f"{look.bands} bands: only the first {channels} used", True))
    found.items += [items[i] for i, reason in zip(look.indices, look.bad, strict=True) if reason is None]
    found.kinds[look.kind] += 1
    found.sizes.append(look.full)


def bands_words(bands: int) -> str:
    """1 -> "1 band"."""
    return f"{bands} band{'s' * (bands != 1)}"


def as_json(facts: Sequence[Facts]) -> list[list[Any]]:
    """Facts as plain lists, to be kept beside a cache."""
    return [[f.indices, f.bad, f.full, f.bands, f.bits, f.animated] for f in facts]


def from_json(rows: Sequence[Sequence[Any]]) -> list[Facts]:
    """The inverse of `as_json`."""
    return [Facts(tuple(r[0]), tuple(r[1]), (r[2][0], r[2][1]), r[3], r[4], r[5]) for r in rows]
