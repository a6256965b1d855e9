"""A disk that fails: the n-th write, fsync or rename of this process, once or for good, as an error or as a kill.

    python -m tests.engine.rig [--every N] [--after N] [--minutes N] [--json FILE]

Every N-th point of the whole sweep, shuffled, always alike; `--after N` leaves out the first N of these, done before.

A point is one fit that is hit once, and again while it recovers. Afterwards the disk works, and one of these must hold:
the run goes on and ends with the very bytes of a run that nothing happened to, or there was no run yet and a new one
does. What was told is one line. Anything else is a lost run or a silent wrong result.
"""

from __future__ import annotations

import argparse
import builtins
import contextlib
import errno
import io
import itertools
import json
import os
import pathlib
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from decoupe.engine.runfolder import Run
from decoupe.errors import Fault
from decoupe.fit import fit

Kind = Literal["full", "broken", "killed"]
KINDS: dict[Kind, int] = {"full": errno.ENOSPC, "broken": errno.EIO, "killed": 0}
ROOM = "redraw"
SMALL: dict[str, Any] = {
    "size": 32, "batch": 4, "train_images": 24, "checks": 3, "mask_width": 4, "generator_width": 4,
    "discriminator_width": 4, "attention_generator": False, "attention_discriminator": False, "mirrored": False,
    "snap": False,
}  # fmt: skip
"""Six steps and three checkpoints."""


class Killed(BaseException):
    """The process ends here: nothing of ours may catch it."""


@dataclass
class Rig:
    """Counts writes, fsyncs and renames, and makes the n-th fail."""

    at: int = 0
    """Which operation fails, from 1; 0: none."""
    kind: Kind = "full"
    for_good: bool = False
    """Whether all later ones fail as well."""
    seen: int = 0

    def tick(self) -> None:
        """One more operation."""
        self.seen += 1
        if self.seen == self.at or (self.for_good and self.at and self.seen > self.at):
            if self.kind == "killed":
                raise Killed
            raise OSError(KINDS[self.kind], os.strerror(KINDS[self.kind]))

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Inside, every file opened for writing, every fsync and every rename is watched."""
        real = builtins.open, io.open, os.fsync, os.replace, os.rename

        def opened(file: Any, mode: str = "r", *rest: Any, **named: Any) -> Any:
            stream = real[0](file, mode, *rest, **named)
            return _Watched(stream, self) if set(mode) & set("wax+") and not isinstance(file, int) else stream

        def watched(function: Any) -> Any:
            return lambda *words, **named: (self.tick(), function(*words, **named))[1]

        builtins.open = io.open = opened  # type: ignore[assignment]
        pathlib.io.open = opened  # type: ignore[attr-defined]
        os.fsync, os.replace, os.rename = (watched(function) for function in real[2:])
        try:
            yield
        finally:
            builtins.open, io.open, os.fsync, os.replace, os.rename = real
            pathlib.io.open = real[1]  # type: ignore[attr-defined]


class _Watched:
    """A file whose writes are counted; a write that fails has written half."""

    def __init__(self, stream: Any, rig: Rig) -> None:
        self._stream, self._rig = stream, rig

    def write(self, data: Any) -> int:
        """Write all of it, or half and fail."""
        try:
            self._rig.tick()
        except BaseException:
            self._stream.write(data[: len(data) // 2])
            raise
        return int(self._stream.write(data))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __enter__(self) -> _Watched:
        self._stream.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stream.__exit__(*error)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._stream)


@dataclass(frozen=True)
class Point:
    """Where a fit is hit, and where its recovery."""

    first: int
    kind: Kind
    for_good: bool
    second: int
    """Operation of the recovery that fails as well; 0: none."""


def attempt(photos: Path, folder: Path, rig: Rig, resume: bool) -> str | None:
    """One fit under the rig: None if it ended well, else what was told."""
    try:
        with rig.installed():
            fit(ROOM, photos, run=folder, precision="fp32", resume=resume, **({} if resume else SMALL))
    except Fault as fault:
        return str(fault)
    except Killed:
        return "killed"
    return None


def begun(folder: Path) -> bool:
    """Whether there is a run that `--resume` accepts."""
    try:
        return "settings" in Run.open(folder, verify=False).info
    except Fault:
        return False


def bytes_of(folder: Path) -> bytes:
    """The weights of a finished run. Fault if any listed file is damaged."""
    run = Run.open(folder)
    for name in run.info["files"]:
        run.verify(name)
    if run.info["status"] != "done":
        raise Fault("a finished run", run.info["status"], "look at it")
    return (folder / "weights.safetensors").read_bytes()


def verdict(photos: Path, home: Path, point: Point, expected: bytes) -> str:
    """What became of a run hit at `point`: "went on", "began anew", "not hit", or what went wrong."""
    folder = home / "run"
    os.environ["DECOUPE_CACHE"] = str(home / "cache")
    rig = Rig(point.first, point.kind, point.for_good)
    told = [attempt(photos, folder, rig, False)]
    if rig.seen < point.first:
        return "not hit"
    resumed = begun(folder)
    if point.second:
        if not resumed:
            shutil.rmtree(folder, ignore_errors=True)
        told.append(attempt(photos, folder, Rig(point.second, point.kind, False), resumed))
        resumed = begun(folder)
    if any(one is not None and ("\n" in one or "Traceback" in one or "a defect" in one) for one in told):
        return f"told in more than a line: {told}"
    if not resumed:
        shutil.rmtree(folder, ignore_errors=True)
    last = attempt(photos, folder, Rig(), resumed)
    if last is not None:
        return f"lost: {last}"
    return ("went on" if resumed else "began anew") if bytes_of(folder) == expected else "a silent wrong result"


def points(operations: int) -> list[Point]:
    """The whole sweep: every operation, every kind, once and for good; and a second fault in every tenth recovery."""
    sweep = itertools.product(range(1, operations + 1), KINDS, (False, True))
    return [
        Point(first, kind, for_good and kind != "killed", 1 + first % 37 if number % 10 == 0 else 0)
        for number, (first, kind, for_good) in enumerate(sweep)
        if not (kind == "killed" and for_good)
    ]


def reference(photos: Path, home: Path) -> tuple[bytes, int]:
    """The weights of a run that nothing happens to, and its number of operations."""
    os.environ["DECOUPE_CACHE"] = str(home / "cache")
    rig = Rig()
    told = attempt(photos, home / "run", rig, False)
    if told is not None:
        raise RuntimeError(told)
    return bytes_of(home / "run"), rig.seen


def main() -> None:
    """Run the sweep, print what became of the runs, and fail if one was lost or wrong."""
    from decoupe.data.synthetic import write

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--after", type=int, default=0, help="points that were done before")
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no further point after that")
    parser.add_argument("--photos", type=int, default=12)
    parser.add_argument("--json")
    given = parser.parse_args()
    ends = time.monotonic() + 60 * given.minutes
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        write(home / "photos", "objects", given.photos, 40, 0)
        photos = home / "photos" / "images"
        expected, operations = reference(photos, home / "reference")
        found: Counter[str] = Counter()
        sweep = points(operations)[:: given.every]
        random.Random(0).shuffle(sweep)
        for number, point in enumerate(sweep[given.after :]):
            if time.monotonic() > ends:
                break
            told = verdict(photos, home / str(number), point, expected)
            found[told if told in ("went on", "began anew", "not hit") else f"{point}: {told}"] += 1
            shutil.rmtree(home / str(number), ignore_errors=True)
    for told, count in found.most_common():
        print(f"{count:6d}  {told}", flush=True)
    if given.json:
        content = {"operations": operations, "planned": len(sweep), "found": dict(found)}
        Path(given.json).write_text(json.dumps(content, indent=1))
    if set(found) - {"went on", "began anew", "not hit"}:
        sys.exit(1)


if __name__ == "__main__":
    main()
