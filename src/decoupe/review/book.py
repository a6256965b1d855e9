"""The review's memory: RUN/review/state.json and RUN/review/masks/, replaced atomically after every action.

state.json is the commit point. A mask is written before the state that lists it, so a kill at any moment leaves the
state before an action or after it. `revision` counts actions; a tab that acts on what another tab has changed since is
told so (`Stale`) and changes nothing. One process at a time has the book open.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from decoupe.data.paths import MARKER, inside
from decoupe.engine.files import dump_json, parse_json, sync_folder, write_atomic
from decoupe.errors import Fault

FOLDER, STATE, MASKS, CACHE = "review", "state.json", "masks", "cache"
FORMAT = 1
VERDICTS = ("accepted", "rejected", "flagged")
REMEMBERED = 500
"""Actions that can be undone."""


class Stale(Fault):
    """Somebody else (another tab) changed the same thing since it was shown."""

    def __init__(self, key: str) -> None:
        super().__init__(f"{key} as it was shown", "a newer state from another tab", "look again, then decide")


@dataclass(frozen=True)
class Entry:
    """What is known about one photo."""

    verdict: str | None = None
    """accepted, rejected, flagged or None."""
    corrected: bool = False
    """Whether its stored mask was drawn or mended by a person."""
    mask: bool = False
    """Whether masks/<key>.png belongs to it."""
    file: str = ""
    """Name of the photo, for people."""
    revision: int = 0
    """Revision of the state at which it last changed."""

    @property
    def kept(self) -> bool:
        """Whether its mask is one to learn from and to export: accepted, or corrected and not judged otherwise."""
        return self.mask and (self.verdict == "accepted" or (self.corrected and self.verdict is None))


EMPTY = Entry()


@dataclass(frozen=True)
class Action:
    """One undoable step."""

    tab: str
    key: str
    before: Entry
    after: Entry


def folder_of(run: Path) -> Path:
    """RUN/review, made sure to lie inside the run."""
    return inside(run, FOLDER)


def mask_path(run: Path, key: str) -> Path:
    """Where the mask of a photo is stored. Fault if that is outside of RUN/review/masks."""
    return inside(inside(folder_of(run), MASKS), key + ".png")


def read_state(run: Path) -> dict[str, Any]:
    """state.json of a run; an empty state where there is none. Fault on anything that decoupe did not write."""
    path = inside(folder_of(run), STATE)
    if not path.is_file():
        return {"format": FORMAT, "revision": 0, "images": "", "photos": {}, "history": []}
    content = parse_json(path.read_bytes(), str(path))
    if content.get("format") != FORMAT:
        raise Fault(f"{path} of format {FORMAT}", repr(content.get("format"))[:20], "review it with a newer decoupe")
    return content


def entries(content: dict[str, Any], where: str) -> dict[str, Entry]:
    """The photos of a state by key. Fault where one is not as decoupe writes it."""
    photos = content.get("photos")
    if not isinstance(photos, dict):
        raise Fault(f"photos in {where}", f"{type(photos).__name__}", "restore the file")
    return {key: _entry(row, key, where) for key, row in photos.items()}


def _entry(row: Any, key: str, where: str) -> Entry:
    kinds = {"verdict": (str, type(None)), "corrected": bool, "mask": bool, "file": str, "revision": int}
    sound = isinstance(row, dict) and set(row) <= set(kinds)
    sound = sound and all(isinstance(value, kinds[name]) for name, value in row.items())  # type: ignore[arg-type]
    if not sound or row.get("verdict") not in (None, *VERDICTS):
        raise Fault(f"{where} as decoupe wrote it", f"another content for {key[:60]!r}", "restore the file")
    return Entry(**row)


class Book:
    """The open state of one run. Every method that changes something is atomic and safe from several threads."""

    def __init__(self, run: Path, source: str | list[str]) -> None:
        self.run, self.folder, self.source = run, folder_of(run), source
        self._lock, self._stack = threading.RLock(), contextlib.ExitStack()

    def __enter__(self) -> Self:
        try:
            self.folder.mkdir(exist_ok=True)
            inside(self.folder, MASKS).mkdir(exist_ok=True)
            (self.folder / MARKER).touch()  # masks in here are never taken for photos
            handle = self._stack.enter_context((self.folder / "lock").open("a+"))
        except OSError as error:
            raise Fault(f"to write in {self.folder}", error.strerror or str(error), "check its rights") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            handle.seek(0)
            holder = handle.read().strip()
            self._stack.close()
            raise Fault(
                f"{self.run} to be free for review", f"in use by {holder}", "use that one, or stop it"
            ) from error
        handle.truncate(0)
        handle.write(f"process {os.getpid()} (started {time.strftime('%H:%M')})")
        handle.flush()
        try:
            content = read_state(self.run)
            self.photos = entries(content, str(self.folder / STATE))
        except Fault:
            self._stack.close()
            raise
        told = content.get("revision")
        newest = max((entry.revision for entry in self.photos.values()), default=0)
        self.revision = max(newest, told if isinstance(told, int) else 0)
        self._history = _history(content.get("history"))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def get(self, key: str) -> Entry:
        """What is known about a photo."""
        return self.photos.get(key, EMPTY)

    @contextlib.contextmanager
    def quiet(self) -> Iterator[None]:
        """Nothing changes within."""
        with self._lock:
            yield

    def judge(self, key: str, file: str, verdict: str | None, tab: str, mask: bytes | None = None) -> Entry:
        """Store a verdict; `mask`: PNG of the model's mask to store with it, unless a person's is there."""
        if verdict not in (None, *VERDICTS):
            raise Fault(f"a verdict of {', '.join(VERDICTS)}", repr(verdict)[:40], "load the page again")
        with self._lock:
            before = self.get(key)
            after = replace(before, verdict=verdict, file=file)
            if mask is not None and not before.corrected:
                self._put(key, mask)
                after = replace(after, mask=True)
            return self._commit(Action(tab, key, before, after), None)

    def correct(self, key: str, file: str, mask: bytes, seen: int, tab: str) -> Entry:
        """Store a corrected mask (PNG). Stale if the photo changed after revision `seen` in another tab."""
        with self._lock:
            before = self.get(key)
            if before.revision > seen:
                raise Stale(file)
            self._put(key, mask)
            return self._commit(
                Action(tab, key, before, replace(before, corrected=True, mask=True, file=file)), self._history
            )

    def restore(self, key: str, file: str, seen: int, tab: str) -> Entry:
        """Drop a photo's correction: the model's own mask holds again. Its acceptance goes with it."""
        with self._lock:
            before = self.get(key)
            if before.revision > seen:
                raise Stale(file)
            verdict = None if before.verdict == "accepted" else before.verdict
            return self._commit(Action(tab, key, before, Entry(verdict, file=file)), self._history)

    def undo(self, tab: str) -> tuple[str, Entry] | None:
        """Take back this tab's latest verdict; None if there is none. Stale if another tab judged the photo since."""
        with self._lock:
            for place in range(len(self._history) - 1, -1, -1):
                action = self._history[place]
                if action.tab != tab:
                    continue
                rest = [*self._history[:place], *self._history[place + 1 :]]
                now = self.get(action.key)
                if replace(now, revision=0) != replace(action.after, revision=0):
                    self._history = rest
                    raise Stale(now.file or action.key)
                return action.key, self._commit(Action(tab, action.key, now, action.before), rest)
            return None

    def changed(self, since: int) -> dict[str, Entry]:
        """Photos that changed after a revision."""
        with self._lock:
            return {key: entry for key, entry in self.photos.items() if entry.revision > since}

    def _put(self, key: str, data: bytes) -> None:
        write_atomic(mask_path(self.run, key), data)

    def _commit(self, action: Action, history: list[Action] | None) -> Entry:
        """Make `action` the state, and `history` what can be undone (None: as before, and this action).

        On a fault of the disk nothing has changed.
        """
        entry = replace(action.after, revision=self.revision + 1)
        photos = self.photos | {action.key: entry}
        if history is None:
            history = [*self._history, replace(action, after=entry)][-REMEMBERED:]
        content = {
            "format": FORMAT,
            "revision": entry.revision,
            "images": self.source,
            "photos": {key: asdict(photos[key]) for key in sorted(photos)},
            "history": [asdict(step) for step in history],
        }
        write_atomic(self.folder / STATE, dump_json(content, None))
        self.photos, self.revision, self._history = photos, entry.revision, history
        if action.before.mask and not entry.mask:
            with contextlib.suppress(OSError):
                mask_path(self.run, action.key).unlink(missing_ok=True)
                sync_folder(self.folder / MASKS)
        return entry


def _history(rows: Any) -> list[Action]:
    """Actions of a state; those that are not as decoupe writes them are forgotten."""
    found: list[Action] = []
    for row in rows if isinstance(rows, Sequence) else []:
        with contextlib.suppress(Fault, KeyError, TypeError):
            before, after = _entry(row["before"], "", STATE), _entry(row["after"], "", STATE)
            found.append(Action(str(row["tab"]), str(row["key"]), before, after))
    return found[-REMEMBERED:]
