"""Tar shards as folders: `shard.tar/a/b.jpg` is the member a/b.jpg of shard.tar, read in place, never unpacked.

Any uncompressed tar will do, such as those of WebDataset; members that are no plain files (links, devices) do not
exist, and names cannot lead out: `..`, empty and absolute parts are dropped.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Generator, Iterable, Iterator
from functools import lru_cache
from io import BufferedReader, BytesIO, FileIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from decoupe.data.lmdbs import store_of

SUFFIX = ".tar"
OPEN = 32
"""Shards whose tables of contents are kept in memory (24 bytes per member)."""

BLOCK = 512
HEADER = 1 << 24
"""Bytes of one header (a long name, say); more is damage. Nothing else is read by tarfile."""

Contents = tuple[NDArray[np.uint64], NDArray[np.int64]]
"""Digests of the member names, ascending, and (n, 2) where each begins and how many bytes it has."""


class _Wary(BufferedReader):
    """A tar whose headers may claim any length, and of which little is read at a time."""

    def read(self, size: int | None = -1, /) -> bytes:
        """At most `HEADER` bytes. tarfile.ReadError: more were asked for."""
        if size is None or not 0 <= size <= HEADER:
            raise tarfile.ReadError("a header of absurd length")
        return super().read(size)


def members(shard: str | Path) -> Iterator[tuple[str, int, int]]:
    """(name, offset, bytes) of every plain file in a tar, in its order. tarfile.TarError, OSError: damaged."""
    with _Wary(FileIO(shard)) as stream:
        end = os.fstat(stream.fileno()).st_size
        begin = yield from _plain(stream, end)
        stream.seek(begin)
        with tarfile.open(fileobj=stream, mode="r:") as archive:
            while (member := archive.next()) is not None:
                archive.members = []  # type: ignore[attr-defined]  # it would remember all of them
                if not member.isreg() or member.issparse() or not (name := _harmless(member.name)):
                    continue
                if member.size < 0 or member.offset_data + member.size > end:
                    raise tarfile.ReadError("cut short")
                yield name, member.offset_data, member.size


def _plain(stream: _Wary, end: int) -> Generator[tuple[str, int, int], None, int]:
    """The first members, as long as they are plain files with ASCII names; returns where that ends.

    Three times as fast as tarfile, which a million photos feel, and stricter: what it does not know is left to tarfile.
    """
    begin = 0
    while len(head := stream.read(BLOCK)) == BLOCK:
        name, magic, kind = head[:100].rstrip(b"\0"), head[257:263], head[156:157]
        size = _octal(head[124:136])
        known = magic in (b"ustar\0", b"ustar ") and kind in (b"0", b"\0") and not head[345:500].rstrip(b"\0")
        if not known or size < 0 or b"\0" in name or name.endswith(b"/") or not name.isascii():
            break
        if sum(head) - sum(head[148:156]) + 8 * ord(" ") != _octal(head[148:156]) or begin + BLOCK + size > end:
            break
        if plain := _harmless(name.decode()):
            yield plain, begin + BLOCK, size
        begin += BLOCK + -(-size // BLOCK) * BLOCK
        stream.seek(begin)
    return begin


def _octal(field: bytes) -> int:
    """A number of a header; -1: it is written in another way."""
    digits = field.rstrip(b"\0 ").lstrip(b" ")
    return int(digits, 8) if digits.isdigit() and not digits.strip(b"01234567") else -1


def _harmless(name: str) -> str:
    """A member's name without parts that lead somewhere; "" if nothing is left."""
    return "/".join(part for part in name.split("/") if part not in ("", ".", ".."))


def shard_of(path: str | Path) -> tuple[str, str] | None:
    """(shard, member) of a path below a tar that exists, else None."""
    parts = os.fspath(path).split("/")
    for end in range(1, len(parts)):
        shard = "/".join(parts[:end])
        if parts[end - 1].lower().endswith(SUFFIX) and os.path.isfile(shard):
            return shard, "/".join(parts[end:])
    return None


def read_member(path: str | Path) -> BytesIO:
    """The bytes of a member. FileNotFoundError: no such shard or member."""
    where = shard_of(path)
    if where is None:
        raise FileNotFoundError(2, "No such file or directory", os.fspath(path))
    shard, member = where
    stat = os.stat(shard)
    names, places = _contents(shard, stat.st_size, stat.st_mtime_ns)
    wanted = _digest(member)
    row = int(np.searchsorted(names, wanted))
    if row == len(names) or names[row] != wanted:
        raise FileNotFoundError(2, "No such file or directory", os.fspath(path))
    with open(shard, "rb") as file:
        file.seek(int(places[row, 0]))
        return BytesIO(file.read(int(places[row, 1])))


def stamp(path: str | Path) -> tuple[int, int]:
    """(bytes, time of change in ns) of a file, or of the shard that holds it. OSError: there is none."""
    try:
        stat = os.stat(path)
    except (NotADirectoryError, FileNotFoundError):
        where = shard_of(path) or store_of(path)
        if where is None:
            raise
        stat = os.stat(where[0])
    return stat.st_size, stat.st_mtime_ns


def stamps(paths: Iterable[Path | str]) -> Iterator[tuple[int, int, int]]:
    """(bytes, time of change, time of change of the inode, in ns) of files or of their shards; zeros: there is none."""
    shard, known = "", (0, 0, 0)
    for path in paths:
        text = os.fspath(path)
        if shard and text.startswith(shard):
            yield known
            continue
        try:
            stat = os.stat(text)
        except (NotADirectoryError, FileNotFoundError):
            where = shard_of(text) or store_of(text)
            if where is None:
                yield 0, 0, 0
                continue
            stat, shard = os.stat(where[0]), os.path.dirname(text) + "/" if store_of(text) else where[0] + "/"
            known = stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
        except OSError:
            yield 0, 0, 0
            continue
        yield stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


@lru_cache(maxsize=OPEN)
def _contents(shard: str, size: int, changed: int) -> Contents:
    """The table of contents of a shard as it was at that size and time; of equal names the last one counts."""
    found: list[tuple[int, int, int]] = []
    try:
        found.extend((int(_digest(name)), offset, count) for name, offset, count in members(shard))
    except tarfile.TarError:
        pass  # what lies before the damage can be read
    names = np.array([name for name, _, _ in found], np.uint64)[::-1]
    places = np.array([place for _, *place in found], np.int64).reshape(-1, 2)[::-1]
    names, first = np.unique(names, return_index=True)
    return names, places[first]


def _digest(name: str) -> np.uint64:
    raw = hashlib.blake2b(name.encode(errors="surrogatepass"), digest_size=8).digest()
    return np.uint64(int.from_bytes(raw, "big"))
