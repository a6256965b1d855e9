"""The loop: damage an input, open it in a process that may die, and keep what was answered in a new way.

Guided by answers: the lines of code at which an input was refused (of all exceptions on the way) or what it was read as
are its answer; an input with an answer that was not seen before joins those that are damaged further.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import resource
import shutil
import signal
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any, NoReturn

from decoupe.errors import Fault
from tests.fuzz.doors import DOORS, Door, places

SECONDS = 10
"""Processor time one input may take."""
BYTES = 1_000_000_000
"""Memory one input may take."""
KEPT = 400
"""Inputs that are damaged further."""


class Slow(BaseException):
    """An input took more than `SECONDS` of processor time."""


@dataclass
class Tally:
    """What became of the inputs of one door."""

    inputs: int = 0
    refused: int = 0
    answers: int = 0
    cpu_s: float = 0.0
    peak_mb: float = 0.0
    """Most memory that opening took on top of the process itself."""
    findings: list[dict[str, str]] = field(default_factory=list)
    """kind (uncaught, words, slow, memory, died), what, and file, where the input was kept."""


def answer(error: BaseException | None, value: Any) -> str:
    """What tells one answer from another: places in the code, or what was read."""
    if error is None:
        return re.sub(r"(?<!py:)\b\d+", lambda found: str(len(found.group())), str(value))[:3000]
    return places(error)


def bad_words(fault: Fault) -> str | None:
    """What is wrong with the line that a user is told."""
    told = str(fault)
    if "\n" in told or "Traceback" in told:
        return "more than a line"
    return f"{len(told)} characters" if len(told) > 1000 else None


@contextmanager
def watched() -> Iterator[None]:
    """Inside, `Slow` is raised when the time is over, and where even that is not heard the process ends."""

    def over(*_: object) -> NoReturn:
        raise Slow

    before = signal.signal(signal.SIGPROF, over)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.setitimer(signal.ITIMER_VIRTUAL, 2 * SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGPROF, before)


def peak() -> int:
    """Largest resident memory of this process until now, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def attempt(door: Door, folder: Path, data: bytes) -> tuple[str, BaseException | None, Any]:
    """Open one input: (kind of finding or "", what was raised, what was read)."""
    path = folder / door.file
    path.write_bytes(data)
    try:
        with watched():
            return "", None, door.open(path)
    except Fault as fault:
        return "words" if bad_words(fault) else "", fault, None
    except Slow as slow:
        return "slow", slow, None
    except Exception as error:  # noqa: BLE001 this is what is looked for
        return "uncaught", error, None


def work(door: Door, folder: Path, seed: str, seconds: float, pipe: int) -> None:
    """Damage and open inputs for so much processor time; JSON lines through the pipe."""
    random, seeds = Random(seed), door.seeds()
    pool, seen, turn = list(seeds), set[str](), 0
    for data in seeds:  # the ways of opening are warm before memory counts
        attempt(door, folder, data)
    limit = peak() + 3 * BYTES
    resource.setrlimit(resource.RLIMIT_DATA, (limit + (1 << 30), resource.RLIM_INFINITY))
    begun = time.process_time()
    while time.process_time() - begun < seconds:
        data = seeds[turn] if turn < len(seeds) else door.mutator(random, random.choice(pool), seeds)
        before = peak()
        kind, error, value = attempt(door, folder, data)
        grown = peak() - before
        turn += 1
        if grown > BYTES:
            kind = kind or "memory"
        mark = answer(error, value)
        if mark not in seen:
            seen.add(mark)
            pool.append(data)
            if len(pool) > len(seeds) + KEPT:
                pool.pop(random.randrange(len(seeds), len(pool)))
        row = {"refused": error is not None, "new": len(seen), "grown": grown}
        if turn <= len(seeds) and error is not None and not kind:
            kind = "seed"
        if kind:
            name = hashlib.sha256(data).hexdigest()[:12]
            (folder.parent / "found" / name).write_bytes(data)
            row |= {"kind": kind, "what": f"{type(error).__name__}: {error}"[:300], "file": name, "where": mark[-300:]}
        os.write(pipe, json.dumps(row).encode() + b"\n")
        if grown > BYTES:
            return  # the next process starts small again


def drill(name: str, home: Path, seed: int, seconds: float) -> Tally:
    """One door for `seconds` of processor time, in as many processes as it takes."""
    door, tally, turn = DOORS[name], Tally(), 0
    (home / "found").mkdir(exist_ok=True)
    known: set[str] = set()
    while tally.cpu_s < seconds and turn < 200:
        folder = Path(tempfile.mkdtemp(dir=home))
        door.prepare(folder)
        (folder / door.file).parent.mkdir(exist_ok=True)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                os.close(reading)
                os.dup2(os.open(folder.parent / "said", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)  # C libraries talk
                work(door, folder, f"{name} {seed} {turn}", seconds - tally.cpu_s, writing)
                status = 0
            except BaseException:  # noqa: BLE001 a defect of the harness itself is shown, not lost
                traceback.print_exc()
            finally:
                os._exit(status)
        os.close(writing)
        with os.fdopen(reading) as lines:
            for line in lines:
                _count(tally, json.loads(line), known)
        _, status, used = os.wait4(child, 0)
        tally.cpu_s += used.ru_utime + used.ru_stime
        if status:
            last = folder / door.file
            kept = hashlib.sha256(last.read_bytes()).hexdigest()[:12] if last.exists() else "none"
            if last.exists():
                shutil.copy(last, home / "found" / kept)
            what = signal.Signals(status).name if os.WIFSIGNALED(status) else f"exit {status >> 8}"
            tally.findings.append({"kind": "died", "what": what, "file": kept, "where": ""})
        shutil.rmtree(folder)
        turn += 1
    return tally


def _count(tally: Tally, row: dict[str, Any], known: set[str]) -> None:
    """Add one input; of findings at one place the first is kept."""
    tally.inputs += 1
    tally.refused += row["refused"]
    tally.answers = max(tally.answers, row["new"])
    tally.peak_mb = max(tally.peak_mb, round(row["grown"] / 1e6, 1))
    if "kind" in row and (mark := f"{row['kind']} {row['where']}") not in known:
        known.add(mark)
        tally.findings.append({key: row[key] for key in ("kind", "what", "file", "where")})


def report(tallies: dict[str, Tally]) -> str:
    """A table, and a line for each finding."""
    rows = [f"{'door':14} {'inputs':>9} {'refused':>9} {'answers':>8} {'cpu s':>7} {'peak MB':>8} findings"]
    for name, tally in tallies.items():
        counts = f"{tally.inputs:9,} {tally.refused:9,} {tally.answers:8,} {tally.cpu_s:7.0f} {tally.peak_mb:8.0f}"
        rows.append(f"{name:14} {counts} {len(tally.findings)}")
        rows += [f"    {f['kind']}: {f['what']!r} ({f['file']}) {f['where'][-160:]}" for f in tally.findings]
    total = sum(tally.cpu_s for tally in tallies.values()) / 60
    rows.append(f"{sum(t.inputs for t in tallies.values()):,} inputs, {total:.1f} minutes of processor time")
    return "\n".join(rows)


def as_json(tallies: dict[str, Tally]) -> dict[str, Any]:
    """The tallies by door."""
    return {name: asdict(tally) for name, tally in tallies.items()}
