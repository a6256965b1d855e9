"""The record of what `segment` has finished in an output folder: append-only, one line per image, safe under kill -9.

`<out>/.decoupe-progress/progress.jsonl` starts with a line that says which model and names the outputs are of; another
model starts it anew. A line that a crash cut off is dropped. Paths are kept as digests only.

Several processes that share the work (ranks) write a file each, `progress-<model>-<rank>.jsonl`, and read those of the
others. Each notes at its end what it has done; whoever finds the notes of all puts the results together. Nobody waits.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Self

from decoupe.data.paths import MARKER
from decoupe.data.shards import stamp
from decoupe.errors import Fault
from decoupe.export.base import STATE, Record

VERSION, PLAIN = 2, "progress.jsonl"
Place = tuple[Path, int]
"""File and offset of a line."""


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

    def __init__(self, out: Path, stamp: Mapping[str, Any], rank: int | None = None) -> None:
        self.folder, self._rank = out / STATE, rank
        self._stamp = json.dumps({"version": VERSION, **stamp}, sort_keys=True)
        self._mark = hashlib.sha256(self._stamp.encode()).hexdigest()[:12]
        self.path = self.folder / PLAIN if rank is None else self._of_rank(rank)
        self._where: dict[str, tuple[str, dict[str, Place]]] = {}
        self._read: dict[Path, int] = {}
        self._ended: dict[Path, str] = {}
        self._sizes: dict[tuple[str, str], int] = {}
        self._stack = contextlib.ExitStack()
        self.replaced = False
        """Whether outputs of another model or of other names were there."""

    def _of_rank(self, rank: int) -> Path:
        return self.folder / f"progress-{self._mark}-{rank}.jsonl"

    def __enter__(self) -> Self:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder.parent / MARKER).touch()
        except OSError as error:
            raise Fault(
                f"to write in {self.folder.parent}", error.strerror or str(error), "choose another --out"
            ) from error
        self._lock("lock", fcntl.LOCK_EX if self._rank is None else fcntl.LOCK_SH)
        if self._rank is not None:
            self._lock(f"lock-{self._rank}", fcntl.LOCK_EX)
        for left in self.folder.glob("*.tmp") if self._rank is None else ():
            left.unlink(missing_ok=True)
        self.path.touch()
        self._file = self._stack.enter_context(self.path.open("r+b"))
        self._forget_others()
        self._load()
        self.refresh()
        return self

    def _lock(self, name: str, mode: int) -> None:
        """Hold a lock of the folder as long as the ledger is open. Fault if another process has it."""
        lock = self._stack.enter_context((self.folder / name).open("w"))
        try:
            fcntl.flock(lock, mode | fcntl.LOCK_NB)
        except OSError as error:
            self._stack.close()
            raise Fault(
                f"{self.folder.parent} to be free",
                "another segment writing there",
                "wait for it, or choose another --out",
            ) from error

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _forget_others(self) -> None:
        """Remove the records of other models: their outputs are about to be replaced."""
        old = [p for p in self.folder.glob("progress-*.jsonl") if p.name.split("-")[1] != self._mark]
        plain = self.folder / PLAIN
        if self._rank is not None and plain.exists() and not self._lines(plain, 0)[0]:
            old.append(plain)
        for path in old:
            path.unlink(missing_ok=True)
            self.replaced = True

    def _load(self) -> None:
        """Read this process's own file, cut off what a crash left, and begin it anew for another model."""
        known, end = self._lines(self.path, 0)
        if not known and end == 0 and self._file.seek(0, os.SEEK_END) > 0:
            self.replaced = True
        self._file.seek(end)
        self._file.truncate()
        if end == 0:
            self._append(self._stamp.encode())

    def refresh(self) -> None:
        """Read what other processes have written since; files of other models are passed over."""
        for path in sorted(self.folder.glob("progress*.jsonl")):
            if path != self.path:
                self._lines(path, self._read.get(path, 0))

    def _lines(self, path: Path, start: int) -> tuple[bool, int]:
        """Remember the whole lines of a file from an offset on; whether it is of this model, and where they end."""
        with path.open("rb") as file:
            end = start
            if start == 0:
                first = file.readline()
                if first.decode(errors="replace") != self._stamp + "\n":
                    return False, 0
                end = len(first)
            file.seek(end)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._remember(line, (path, end))
                end += len(line)
        self._read[path] = end
        return True, end

    def _remember(self, line: bytes, place: Place) -> None:
        with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
            row = json.loads(line)
            if "ended" in row:
                self._ended[place[0]] = str(row["ended"])
                return
            key, source = row["key"], row["from"]
            done = dict.fromkeys(row["done"], place)
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
        self._remember(line, (self.path, self._append(line)))

    def end(self, work: str, ranks: int) -> bool:
        """Note that this process has done its share of `work` (a digest); whether all `ranks` have done theirs."""
        self._append(json.dumps({"ended": work}).encode())
        self._ended[self.path] = work
        self.refresh()
        return all(self._ended.get(self._of_rank(rank)) == work for rank in range(ranks))

    def records(self, name: str, keys: Sequence[str]) -> Iterator[Record]:
        """The records of one format for `keys`, in that order; keys without one are passed over."""
        with contextlib.ExitStack() as stack:
            files: dict[Path, BinaryIO] = {}
            for key in keys:
                place = self._where.get(key, ("", {}))[1].get(name)
                if place is None:
                    continue
                path, offset = place
                if path not in files:
                    files[path] = stack.enter_context(path.open("rb"))
                files[path].seek(offset)
                row = json.loads(files[path].readline())
                yield Record(key, row["name"], (row["size"][0], row["size"][1]), row["done"][name])
