"""The run folder: one directory that holds everything a run made, sealed by a manifest of SHA-256 sums.

`run.json` is the commit point: a file that it does not list yet does not exist for a reader, and it is replaced
atomically. A file that is rewritten (names.json, results) is announced under `pending` first, so that a crash between
the two writes leaves either sum valid.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from decoupe.data.paths import MARKER
from decoupe.engine.files import dump_json, parse_json, sha256, write_atomic
from decoupe.errors import Fault

LISTED = re.compile(
    r"weights\.safetensors|names\.json|report\.html|results/[^/\\\0]+\.json|candidates/\d{9,}\.safetensors"
    r"|checkpoints/\d{9,}-\d+(-entry)?/state\.safetensors"
)
"""The only names a manifest may hold: no other file is ever read, written or deleted through it."""


@dataclass(frozen=True)
class Candidate:
    """A snapshot that selection may choose."""

    images: int
    """Images seen when it was taken."""
    score: float | None
    """Label-free score in [0, 1]; None where the stage is not scored."""
    path: Path
    """Its safetensors file."""
    healthy: bool = True
    stage: str = ""
    error: float = 0.0
    """Standard error of the score."""
    settled: bool = True
    """Whether its stage had settled (`Stage.settles`)."""
    areas: tuple[float, ...] = ()
    """Share of the validation images' pixels of each region; () where it was not kept."""


def _seal(info: Mapping[str, Any]) -> str:
    return hashlib.sha256(dump_json({k: v for k, v in info.items() if k != "seal"})).hexdigest()


def _empty(folder: Path) -> bool:
    return not folder.exists() or (folder.is_dir() and all(path.name == MARKER for path in folder.iterdir()))


def _is_candidate(entry: Mapping[str, Any]) -> bool:
    """Whether an entry of run.json describes a snapshot."""
    number = (entry["images"], entry.get("score") or 0, entry.get("error", 0.0))
    plain = all(isinstance(n, int | float) and not isinstance(n, bool) for n in number) and isinstance(number[0], int)
    flags = isinstance(entry["healthy"], bool) and isinstance(entry.get("settled", True), bool)
    areas = entry.get("areas", [])
    shares = isinstance(areas, list) and all(isinstance(share, int | float) for share in areas)
    return plain and flags and shares and isinstance(entry["stage"], str)


class Run:
    """One run folder, open for reading; `lock()` before writing from a long process."""

    def __init__(self, path: Path, info: dict[str, Any]) -> None:
        self.path, self.info = path, info

    @classmethod
    def create(cls, path: str | Path | None, room: str) -> Self:
        """A new folder at `path`, or runs/<room>-1, -2, ...; runs/latest then points to it. Fault if it has content."""
        if path is None:
            folder = next(p for n in range(1, 1_000_000) if not (p := Path("runs") / f"{room}-{n}").exists())
        else:
            folder = Path(path)
            if (folder / "run.json").exists() or not _empty(folder):
                raise Fault(
                    f"--run to name a new folder, not {folder}",
                    "one that already has content",
                    "add --resume to go on with a run there, or choose another name",
                )
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / MARKER).touch()  # pictures in here are never taken for images to train on
        except OSError as error:
            raise Fault(f"to create {folder}", error.strerror or str(error), "choose another --run") from error
        run = cls(folder, {"room": room, "status": "new", "files": {}, "pending": {}, "candidates": []})
        run.commit(created=datetime.now().astimezone().isoformat(timespec="seconds"))
        if folder.parent.name == "runs":
            latest = folder.parent / "latest"
            with contextlib.suppress(OSError):
                latest.unlink(missing_ok=True)
                latest.symlink_to(folder.name)
        return run

    @classmethod
    def open(cls, path: str | Path, verify: bool = True) -> Self:
        """An existing run. Fault if it is none, if run.json was changed by hand, or a listed file is damaged."""
        folder = Path(path)
        try:
            text = (folder / "run.json").read_bytes()
        except OSError as error:
            raise Fault(
                f"a run folder with run.json at {folder}", "none", "name a folder that `decoupe fit` made"
            ) from error
        info = parse_json(text, f"{folder}/run.json")
        if info.get("seal") != _seal(info) or dump_json(info) != text:  # a bit may change and the numbers stay equal
            raise Fault(f"{folder}/run.json as decoupe wrote it", "a changed or damaged file", "restore it from a copy")
        run = cls(folder, info)
        run._check_form()
        if verify:
            for name in ("weights.safetensors", "names.json"):
                if name in run.info["files"]:
                    run.verify(name)
        return run

    def _check_form(self) -> None:
        """Fault if run.json has not the form of one, or names a file that no run has (another folder's, say)."""
        info = self.info
        names: list[Any] = []
        try:
            whole = [isinstance(info[key], str) for key in ("room", "status")]
            for key in ("files", "pending"):
                whole.append(all(isinstance(digest, str) for digest in info[key].values()))
                names += info[key]
            whole += [isinstance(info.get(key, {}), dict) for key in ("config", "spec", "settings")]
            whole += [_is_candidate(entry) for entry in info["candidates"]]
            names += [entry["file"] for entry in info["candidates"]]
            names += [info["checkpoint"]] if "checkpoint" in info else []
            wrong = [name for name in names if not LISTED.fullmatch(name)]
        except (KeyError, TypeError, AttributeError):
            whole, wrong = [False], []
        if not all(whole):
            raise Fault(f"{self.path}/run.json as decoupe wrote it", "another content", "restore it")
        if wrong:
            raise Fault(f"{self.path}/run.json to list a run's own files", repr(wrong[0])[:80], "do not use this run")

    def verify(self, name: str) -> Path:
        """The path of a listed file after comparing its SHA-256. Fault if it is missing, unlisted or changed."""
        path = self.path / name
        known = {self.info["files"].get(name), self.info["pending"].get(name)} - {None}
        if not known or not path.is_file() or sha256(path) not in known:
            good = [n.rsplit("/", 1)[0] for n in self.info["files"] if n.startswith("checkpoints/")]
            raise Fault(
                f"{name} to match its recorded sha256",
                "a missing, damaged or changed file",
                f"last good: {good[-1] if good else 'none'} in {self.path} (--resume goes on from it)",
            )
        return path

    def commit(self, **changes: Any) -> None:
        """Merge `changes` into run.json and replace it atomically."""
        self.info.update(changes)
        self.info["seal"] = _seal(self.info)
        write_atomic(self.path / "run.json", dump_json(self.info))

    def write_bytes(self, name: str, data: bytes) -> Path:
        """Write a listed file atomically (announce, replace, commit)."""
        self.info["pending"][name] = hashlib.sha256(data).hexdigest()
        self.commit()
        self.info["files"][name] = write_atomic(self.path / name, data)
        del self.info["pending"][name]
        self.commit()
        return self.path / name

    def write_text(self, name: str, text: str) -> Path:
        """`write_bytes` of UTF-8 text."""
        return self.write_bytes(name, text.encode())

    def save_result(self, name: str, content: Mapping[str, Any]) -> Path:
        """Write results/<name>.json."""
        return self.write_bytes(f"results/{name}.json", dump_json(content))

    def results(self) -> list[tuple[str, dict[str, Any]]]:
        """(name, content) of every results/*.json, verified, by name."""
        names = sorted(n for n in self.info["files"] if n.startswith("results/") and n.endswith(".json"))
        return [(Path(n).stem, parse_json(self.verify(n).read_bytes(), n)) for n in names]

    def log(self, row: Mapping[str, Any]) -> None:
        """Append one row to metrics.jsonl."""
        try:
            with (self.path / "metrics.jsonl").open("ab") as file:
                file.write(dump_json(row, indent=None))
        except OSError as error:
            raise Fault(
                "to append to metrics.jsonl", error.strerror or str(error), "free space, then --resume"
            ) from error

    def metrics(self) -> list[dict[str, Any]]:
        """Rows of metrics.jsonl in order; a line cut by a crash is left out."""
        rows = []
        try:
            lines = (self.path / "metrics.jsonl").read_bytes().splitlines()
        except FileNotFoundError:
            return []
        for line in lines:
            with contextlib.suppress(ValueError):
                rows.append(json.loads(line))
        return [row for row in rows if isinstance(row, dict)]

    def keep_metrics(self, count: int) -> None:
        """Cut metrics.jsonl to its first `count` rows (on resume and after a rollback)."""
        rows = self.metrics()
        if len(rows) > count:
            write_atomic(self.path / "metrics.jsonl", b"".join(dump_json(row, indent=None) for row in rows[:count]))

    def candidates(self) -> list[Candidate]:
        """Label-free snapshots in the order they were taken."""
        return [
            Candidate(
                c["images"],
                c["score"],
                self.path / c["file"],
                c["healthy"],
                c["stage"],
                c.get("error", 0.0),
                c.get("settled", True),
                tuple(c.get("areas", ())),
            )
            for c in self.info["candidates"]
        ]

    @property
    def _naming(self) -> dict[str, Any]:
        if "names.json" not in self.info["files"]:
            return {"names": [], "merge": [], "colours": []}
        found = {"colours": []} | parse_json(self.verify("names.json").read_bytes(), "names.json")
        parts: list[Any] = [found.get(key) for key in ("names", "merge", "colours")]
        names, merge, colours = parts
        if not all(isinstance(part, list) for part in parts) or not all(g and isinstance(g, list) for g in merge):
            raise Fault(f"{self.path}/names.json as decoupe wrote it", "another content", "name the regions again")
        indices = [index for group in merge for index in group]
        if any(type(index) is not int or not 0 <= index < len(names) for index in indices):
            raise Fault(f"{self.path}/names.json to merge its own regions", f"{merge!r:.80}", "name the regions again")
        return {"names": names, "merge": merge, "colours": colours}

    @property
    def names(self) -> tuple[str, ...]:
        """Region names as the room or `decoupe name` gave them (before merging)."""
        return tuple(str(name) for name in self._naming["names"])

    @property
    def merges(self) -> list[list[int]]:
        """Groups of region indices that are shown as one; the lowest index of a group gives its name."""
        return [list(group) for group in self._naming["merge"]]

    @property
    def colours(self) -> tuple[str, ...]:
        """Per region of `names` a chosen colour "#rrggbb", or "" for the palette's; () where none was chosen."""
        given = tuple(str(colour) for colour in self._naming["colours"])
        return given if len(given) == len(self._naming["names"]) else ()

    def set_names(self, names: Sequence[str], merge: Sequence[Sequence[int]] = (), colours: Sequence[str] = ()) -> None:
        """Write names.json."""
        content = {"names": list(names), "merge": [list(g) for g in merge], "colours": list(colours)}
        self.write_bytes("names.json", dump_json(content))

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run for this process. Fault that names the other process if one has it."""
        with (self.path / "run.lock").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                file.seek(0)
                raise Fault(
                    f"{self.path} to be free",
                    f"in use by {file.read().strip()}",
                    "wait for it, or choose another --run",
                ) from error
            with contextlib.suppress(OSError):  # only who holds it: a full disk is told by what matters
                file.truncate(0)
                file.write(f"process {os.getpid()} (started {time.strftime('%H:%M')})")
                file.flush()
            yield
            file.truncate(0)

    def forget(self, names: Sequence[str]) -> None:
        """Drop listed files (commit first, then delete)."""
        for name in names:
            self.info["files"].pop(name, None)
        self.commit()
        for name in names:
            path = self.path / name
            shutil.rmtree(path.parent) if name.startswith("checkpoints/") else path.unlink(missing_ok=True)
