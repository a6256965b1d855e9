"""All images once decoded, cut and shrunk to S x S, as one file of bytes that is read where needed.

A cache belongs to a fingerprint: the hash of every file's content, its box, and the settings. Nothing depends on
names, dates or the order of threads, so an unchanged data set is never decoded twice and a changed one always is.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decoupe.data.checks import (
    ROW,
    Cut,
    Facts,
    Group,
    Groups,
    Progress,
    Survey,
    Table,
    clipped,
    conforming,
    inspect,
    majority,
    summarise,
)
from decoupe.data.decode import MAX_PIXELS, BadImage, Decoded, open_plain
from decoupe.data.paths import default_cache_folder
from decoupe.data.pixels import conform, resize
from decoupe.data.pool import ordered
from decoupe.data.readers import Unreadable
from decoupe.data.shards import stamps
from decoupe.data.sources import Item, Items
from decoupe.engine.files import write_atomic
from decoupe.errors import Fault
from decoupe.types import Image

VERSION = 2
"""Part of every fingerprint: raise it when decoding, cutting or shrinking changes."""

UNSETTLED = 5
"""Seconds after its last change in which a file's times are not trusted."""

_ROWS, _FILES, _INDEX, _KNOWN = "images.u8", "files.npy", "cache.json", "known"


class Cache:
    """(N, C, S, S) uint8 images on disk.

    `cache[indices]` reads just those rows into fresh memory (no pages of the file stay mapped, so memory does not
    grow with N); `cache.array` is the memory-mapped whole, read-only.
    """

    def __init__(self, folder: Path, items: Sequence[Item], fingerprint: str, channels: int, size: int) -> None:
        self.folder, self.items, self.fingerprint = folder, items, fingerprint
        self.channels, self.size = channels, size
        self.rows = (folder / _ROWS).stat().st_size // (channels * size * size)
        shape = (self.rows, channels, size, size)
        self.array: NDArray[np.uint8] = np.memmap(folder / _ROWS, np.uint8, "r", shape=shape)
        self._file = open(folder / _ROWS, "rb", buffering=0)  # noqa: SIM115 kept open for as long as the cache lives

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, index: Any) -> NDArray[np.uint8]:
        """Rows by an integer array (or list, slice, mask, int), copied: (B, C, S, S) uint8, writable."""
        chosen = np.arange(self.rows)[np.asarray(index) if not isinstance(index, slice) else index]
        out = np.empty((*chosen.shape, *self.array.shape[1:]), np.uint8)
        flat = out.reshape(-1, *self.array.shape[1:])
        step = self.channels * self.size * self.size
        for row, position in zip(flat, chosen.ravel(), strict=True):
            if os.preadv(self._file.fileno(), [row.reshape(-1)], int(position) * step) != step:
                raise Fault("a whole cache", f"{self.folder} cut short", "delete that folder and start again")
        return out

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()


def build_cache(
    items: Sequence[Item],
    size: int,
    channels: int,
    folder: Path | None = None,
    *,
    max_pixels: int = MAX_PIXELS,
    progress: Progress | None = None,
    workers: int = 2,
) -> Cache:
    """The cache of items that are known to be usable (`survey`): box crops or whole images, squeezed to S x S.

    Raises:
        Fault: a file cannot be used after all, or the cache cannot be written.
    """
    found, cache = survey_and_cache(
        items, size, channels, folder, max_pixels=max_pixels, progress=progress, workers=workers
    )
    for problem in found.problems:
        if not problem.kept:
            raise BadImage(problem.path, problem.reason)
    return cache


def survey_and_cache(
    items: Sequence[Item],
    size: int,
    channels: int | None = None,
    folder: Path | None = None,
    *,
    max_pixels: int = MAX_PIXELS,
    progress: Progress | None = None,
    workers: int = 2,
) -> tuple[Survey, Cache]:
    """`survey` and `build_cache` in one pass: every file is decoded once, or not at all when the cache is there.

    Args:
        size: S, the side of the squares in pixels; images are squeezed (aspect not kept), antialiased.
        channels: C; by default what most usable files have. Others are converted (`pixels.conform`) or skipped.
        folder: where caches live; by default `default_cache_folder()`.

    Returns:
        the survey, and the cache of its items in their order.

    Raises:
        Fault: not one image can be used, or the cache cannot be written.
    """
    whole = isinstance(items, Items) or not any(item.box for item in items)
    hint = 2 * size if whole else 0
    plan = Plan(f"boxes hint {hint}", box_crops, hint, size, channels, max_pixels)
    table, cache = build(items, plan, folder or default_cache_folder(), progress, workers)
    found = summarise(items, table, cache.channels)
    cache.items = found.items
    return found, cache


def box_crops(seen: Decoded, group: Group) -> list[Image]:
    """The box of each item, or the whole image."""
    whole = (0.0, 0.0, float(seen.full[1]), float(seen.full[0]))
    crops = []
    for _, item in group:
        x0, y0, x1, y1 = clipped(item.box or whole, seen.full)
        down, right = seen.pixels.shape[0] / seen.full[0], seen.pixels.shape[1] / seen.full[1]
        rows = slice(int(y0 * down), max(int(y0 * down) + 1, round(y1 * down)))
        crops.append(seen.pixels[rows, int(x0 * right) : max(int(x0 * right) + 1, round(x1 * right))])
    return crops


@dataclass(frozen=True)
class Plan:
    """How a cache is made from files."""

    name: str
    """Names `cut` and all its settings in the fingerprint."""
    cut: Cut
    hint: int
    size: int
    channels: int | None
    max_pixels: int = MAX_PIXELS
    wanted: str = "images that can be used"
    """What is missing when nothing comes out."""


def build(
    items: Sequence[Item], plan: Plan, folder: Path, progress: Progress | None = None, workers: int = 2
) -> tuple[Table, Cache]:
    """The cache of a plan, made if need be, and the facts of its files (from the earlier run when it was there)."""
    work = Groups(items)
    mark = _recalled(work, plan, folder, workers)
    home = folder / mark[:24]
    old = _load(home, mark)
    if old is not None:
        return old
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        part = Path(tempfile.mkdtemp(prefix=".part-", dir=folder))
    except OSError as error:
        raise _cannot_write(folder, error) from None
    try:
        _write(part, work, plan, mark, progress, workers)
        _publish(part, home, mark)
    except OSError as error:
        raise _cannot_write(folder, error) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    new = _load(home, mark)
    if new is None:
        raise Fault("the cache just written", f"{home} damaged", "check that disk, or set DECOUPE_CACHE to another")
    return new


def _recalled(work: Groups, plan: Plan, folder: Path, workers: int) -> str:
    """`_fingerprint`, or what it was the last time if no file has been touched since: reading a million takes long.

    Touched: another size, or another time of change of content or of inode (that one no program can set back). Files
    changed within the last seconds are read again: they may change once more within one tick of the clock.
    """
    total, latest, here = hashlib.sha256(json.dumps(_settings(plan)).encode()), 0, os.getcwd()
    known_stamps = stamps(path for path, _, _ in work.files())
    for (path, frame, boxes), (size, written, changed) in zip(work.files(), known_stamps, strict=True):
        whole = path if path.startswith("/") else f"{here}/{path}"
        total.update(os.fsencode(f"{whole}\0{frame} {size} {written} {changed} {boxes}\0"))
        latest = max(latest, changed)
    known = folder / _KNOWN / total.hexdigest()[:32]
    try:
        return known.read_text()
    except OSError:
        pass
    mark = _fingerprint(work, plan, workers)
    if latest < time.time_ns() - UNSETTLED * 10**9:
        with contextlib.suppress(OSError):  # only a memory
            known.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(known, mark.encode())
    return mark


def _settings(plan: Plan) -> list[Any]:
    return [VERSION, plan.name, plan.hint, plan.size, plan.channels, plan.max_pixels]


def _fingerprint(work: Sequence[Group], plan: Plan, workers: int) -> str:
    """sha256 over the settings and, per file, its content, frame and boxes."""
    total = hashlib.sha256(json.dumps(_settings(plan)).encode())
    for group, content in zip(work, ordered(_content, work, workers), strict=True):
        total.update(json.dumps([content, group[0][1].frame, [item.box for _, item in group]]).encode())
    return total.hexdigest()


def _content(group: Group) -> str:
    try:
        with open_plain(group[0][1].path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, Unreadable) as error:
        return type(error).__name__


def _write(part: Path, work: Sequence[Group], plan: Plan, mark: str, progress: Progress | None, workers: int) -> None:
    """Decode all files into `part`. Rows wait in their own bands: the majority is known only at the end."""
    table = Table()
    counts = array("i")

    def one(group: Group) -> tuple[Facts, list[Image]]:
        look, crops = inspect(group, plan.max_pixels, plan.cut, plan.hint)
        return look, [np.moveaxis(resize(crop, plan.size, plan.size), 2, 0) for crop in crops]

    with (part / "spool").open("wb") as spool:
        for look, squares in ordered(one, work, workers):
            table.add(look)
            counts.append(len(squares))
            for square in squares:
                spool.write(np.ascontiguousarray(square).tobytes())
            if progress:
                progress(len(table), len(work))
    channels = plan.channels or majority(table)
    _settle(part, table, counts, channels, plan.size)
    rows = (part / _ROWS).stat().st_size
    if rows == 0:
        reason = next(iter(table.bad.values()), "the bands do not fit")
        raise Fault(plan.wanted, f"none of {len(work):,} ({reason})", "run decoupe data check on them")
    seal = _digest(part / _ROWS)
    index = {"fingerprint": mark, "channels": channels, "size": plan.size, "bytes": rows, "sha256": seal}
    np.save(part / _FILES, table.whole())
    (part / _INDEX).write_text(json.dumps({**index, "files": _digest(part / _FILES), "bad": list(table.bad.items())}))


def _settle(part: Path, table: Table, counts: Sequence[int], channels: int, size: int) -> None:
    """Turn the spool into rows of equal bands; where they all are, it is used as it is."""
    bands, cut = table.column("bands"), np.array(counts)
    if (bands[cut > 0] == channels).all():
        (part / "spool").rename(part / _ROWS)
        return
    fits = conforming(table, channels)
    with (part / "spool").open("rb") as spool, (part / _ROWS).open("wb") as out:
        for file in np.repeat(np.arange(len(cut)), cut).tolist():
            count = int(bands[file])
            raw = np.frombuffer(spool.read(count * size * size), np.uint8).reshape(count, size, size)
            if fits[file]:
                square = conform(np.ascontiguousarray(np.moveaxis(raw, 0, 2)), channels)
                out.write(np.ascontiguousarray(np.moveaxis(square, 2, 0)).tobytes())
    (part / "spool").unlink()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _load(home: Path, mark: str) -> tuple[Table, Cache] | None:
    """A cache whose fingerprint, size and sha256 all hold, or None."""
    try:
        index = json.loads((home / _INDEX).read_text())
        if index["fingerprint"] != mark or (home / _ROWS).stat().st_size != index["bytes"]:
            return None
        if _digest(home / _ROWS) != index["sha256"] or _digest(home / _FILES) != index["files"]:
            return None
        rows = np.load(home / _FILES, allow_pickle=False)
        table = Table(rows, {int(position): str(reason) for position, reason in index["bad"]})
        return (table, Cache(home, [], mark, index["channels"], index["size"])) if rows.dtype == ROW else None
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None


def _publish(part: Path, home: Path, mark: str) -> None:
    """Rename into place. When another process was first, its cache is as good; a damaged one makes room."""
    for _ in range(2):
        try:
            part.rename(home)
            return
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
            if _load(home, mark) is not None:
                return
            shutil.rmtree(home, ignore_errors=True)


def _sweep(folder: Path) -> None:
    """Remove what builds killed more than a day ago left behind."""
    for part in folder.glob(".part-*"):
        if time.time() - part.stat().st_mtime > 86_400:
            shutil.rmtree(part, ignore_errors=True)


def _cannot_write(folder: Path, error: OSError) -> Fault:
    return Fault(
        "room for the image cache",
        f"{(error.strerror or str(error)).lower()} in {folder}",
        "free some space or set DECOUPE_CACHE to another folder",
    )
