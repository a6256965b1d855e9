"""The record of what `segment` has finished in an output folder: append-only, one line per image, safe under kill -9.

`<out>/.decoupe-progress/progress.jsonl` starts with a line that says which model and names the outputs are of; another
model starts it anew. A line that a crash cut off is dropped. Paths are kept as digests only.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from decoupe.data.paths import MARKER
from decoupe.data.shards import stamp
from decoupe.errors import Fault
from decoupe.export.base import STATE, Record

VERSION = 2


def signature(path: Path, frame: int) -> str:
    """Digest of where an image is and of its size and time of change; "" where it cannot be read."""
    try:
        size, changed = stamp(path)
    except OSError:
        return ""
    text = f"{path.absolute()}|{frame}|{size}|{changed}"
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:24]


class Ledger:
    """Open with `with Ledger(out, stamp) as ledger`; holds the folder for this process. Fault if another has it."""

    def __init__(self, out: Path, stamp: Mapping[str, Any]) -> None:
        self.folder = out / STATE
        self.path = self.folder / "progress.jsonl"
        self._stamp = json.dumps({"version": VERSION, **stamp}, sort_keys=True)
        self._where: dict[str, tuple[str, dict[str, int]]] = {}
        self._sizes: dict[tuple[str, str], int] = {}
        self._stack = contextlib.ExitStack()
        self.replaced = False
        """Whether outputs of another model or of other names were there."""

    def __enter__(self) -> Self:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder.parent / MARKER).touch()
        except OSError as error:
            raise Fault(
                f"to write in {self.folder.parent}", error.strerror or str(error), "choose another --out"
            ) from error
        lock = self._stack.enter_context((self.folder / "lock").open("w"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._stack.close()
            raise Fault(
                f"{self.folder.parent} to be free",
                "another segment writing there",
                "wait for it, or choose another --out",
            ) from error
        for left in self.folder.glob("*.tmp"):
            left.unlink(missing_ok=True)
        self.path.touch()
        self._file = self._stack.enter_context(self.path.open("r+b"))
        self._load()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _load(self) -> None:
        end = 0
        for number, line in enumerate(self._file):
            if not line.endswith(b"\n"):
                break
            if number == 0 and line.decode(errors="replace").rstrip("\n") != self._stamp:
                self.replaced = True
                break
            if number > 0:
                self._remember(line, end)
            end += len(line)
        self._file.seek(end)
        self._file.truncate()
        if end == 0:
            self._append(self._stamp.encode())

    def _remember(self, line: bytes, offset: int) -> None:
        with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
            row = json.loads(line)
            key, source = row["key"], row["from"]
            done = dict.fromkeys(row["done"], offset)
            known = self._where.get(key)
            self._where[key] = (source, {**known[1], **done} if known and known[0] == source else done)
            for name, content in row["done"].items():
                size = content.get("bytes") if isinstance(content, dict) else content
                if isinstance(size, int):
                    self._sizes[key, name] = size

    def _append(self, line: bytes) -> int:
        offset = self._file.seek(0, os.SEEK_END)
        try:
            self._file.write(line + b"\n")
            self._file.flush()
        except OSError as error:
            raise Fault(
                f"to write {self.path}", error.strerror or str(error), "free space, then run it again"
            ) from error
        return offset

    def done(self, key: str, source: str) -> dict[str, int | None]:
        """Formats finished for `key` made from `source`: name -> size in bytes of its file, None if it has none."""
        known = self._where.get(key)
        if known is None or not source or known[0] != source:
            return {}
        return {name: self._sizes.get((key, name)) for name in known[1]}

    def add(self, record: Record, source: str, done: Mapping[str, Any]) -> None:
        """Note that the formats in `done` are finished for an image (name -> what its writer returned)."""
        row = {"key": record.key, "name": record.name, "from": source, "size": record.size, "done": done}
        line = json.dumps(row).encode()
        self._remember(line, self._append(line))

    def records(self, name: str, keys: Sequence[str]) -> Iterator[Record]:
        """The records of one format for `keys`, in that order; keys without one are passed over."""
        with self.path.open("rb") as file:
            for key in keys:
                offset = self._where.get(key, ("", {}))[1].get(name)
                if offset is None:
                    continue
                file.seek(offset)
                row = json.loads(file.readline())
                yield Record(key, row["name"], (row["size"][0], row["size"][1]), row["done"][name])
