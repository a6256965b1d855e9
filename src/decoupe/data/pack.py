"""Images into tar shards: a million small files become a few large ones, which any disk reads faster."""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from decoupe.data.checks import Problem, Progress
from decoupe.data.decode import open_plain
from decoupe.data.readers import Unreadable
from decoupe.data.sniff import os_words
from decoupe.data.sources import Item
from decoupe.errors import Fault

BLOCK = 512


@dataclass(frozen=True)
class Packed:
    """What `pack` did."""

    shards: list[Path]
    images: int
    problems: list[Problem]
    """Files that could not be read and were left out."""


def pack(items: Sequence[Item], out: Path, shard_bytes: int = 1 << 28, progress: Progress | None = None) -> Packed:
    """Copy the bytes of all images, in their order, into `out`/000000.tar, 000001.tar, ... of about `shard_bytes`.

    Members are named by their keys; the same images give the same bytes: no times or owners are kept. A name without a
    suffix gets none. Nothing is decoded. `out` is complete or absent: shards are written beside it and renamed.

    Raises:
        Fault: `out` has content, no file can be read, or the disk refuses.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise Fault("--out to be a new or empty folder", f"{out} with content", "choose another name")
    problems: list[Problem] = []
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
        try:
            shards, images = _write(_contents(items, problems, progress), part, shard_bytes)
            if not images:
                raise Fault("images that can be read", f"none of {len(items):,}", "run decoupe data check on them")
            part.chmod(0o755)
            if out.exists():
                out.rmdir()
            part.rename(out)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    except OSError as error:
        told = error.strerror or str(error)
        raise Fault(f"to write {out}", told.lower(), "free some space or choose another --out") from None
    return Packed([out / shard.name for shard in shards], images, problems)


def _contents(items: Sequence[Item], problems: list[Problem], progress: Progress | None) -> Iterator[tuple[str, bytes]]:
    """(name of the member, bytes) of every file that can be read; the others go to `problems`."""
    before: Path | None = None
    for done, item in enumerate(items, 1):
        if item.path == before:  # another box or page of the same file
            continue
        before = item.path
        try:
            with open_plain(item.path) as file:
                yield item.key + item.path.suffix, file.read()
        except Unreadable as error:
            problems.append(Problem(item.path, str(error), False))
        except OSError as error:
            problems.append(Problem(item.path, os_words(item.path, error), False))
        if progress:
            progress(done, len(items))


def _write(contents: Iterator[tuple[str, bytes]], folder: Path, shard_bytes: int) -> tuple[list[Path], int]:
    """Shards in `folder`, each closed and on the disk before the next begins."""
    shards: list[Path] = []
    images, waiting = 0, next(contents, None)
    while waiting is not None:
        shards.append(folder / f"{len(shards):06d}.tar")
        filled = 0
        with shards[-1].open("wb") as stream:
            with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
                while waiting is not None and (not filled or filled + len(waiting[1]) <= shard_bytes):
                    entry = tarfile.TarInfo(waiting[0])
                    entry.size, entry.mode = len(waiting[1]), 0o644
                    archive.addfile(entry, BytesIO(waiting[1]))
                    archive.members = []  # type: ignore[attr-defined]  # it would remember all of them
                    filled += BLOCK + len(waiting[1])
                    images, waiting = images + 1, next(contents, None)
            stream.flush()
            os.fsync(stream.fileno())
    return shards, images
