"""`decoupe fit --seeds N`: the same fit from several seeds, and what that tells of the method.

A first collapse counts against the method whether or not a restart recovered the run: how robust the method is and
how much the restarts help are two figures, and both are given.
"""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import torch

from decoupe.engine import launch
from decoupe.engine.files import dump_json, write_atomic
from decoupe.engine.keeper import RESTARTS
from decoupe.engine.progress import Reporter, Silent
from decoupe.engine.runfolder import Run
from decoupe.errors import Collapsed, Fault, Interrupted, UsageFault
from decoupe.evaluate.metrics import wilson
from decoupe.fit import Images, _portable, fit
from decoupe.methods.config import in_range

NAMED = (
    *("images", "tags", "boxes", "backgrounds", "split", "size"),
    *("images_seen", "minutes", "preset", "max_pixels", "restarts"),
)
"""Settings that runs of one study share, beside the options of the room."""
OVER = ("done", "collapsed")


def fit_seeds(
    room: str,
    images: Images,
    *,
    seeds: int,
    run: str | Path,
    seed: int = 0,
    command: str | None = None,
    reporter: Reporter | None = None,
    **arguments: Any,
) -> dict[str, Any]:
    """Fit `room` with seeds `seed` ... `seed + seeds - 1` into the folders `run`-s<seed>; the rest is as for `fit`.

    One after another, or one per CUDA device where there are several (and `devices` is 1). Called again with the same
    arguments it skips the runs that are over and resumes the others. The first run's precision holds for all.

    Returns and writes to `run`-seeds.json, after every run and when it is stopped: {"room", "command", "date", "runs":
    [{"seed", "run", "status", "healthy", "restarts", "collapsed_at", "images_seen", "seconds", "score"}], "summary"}
    (`summary` says what is in there).
    Fault if a folder holds a run of other settings; Interrupted after Ctrl-C or SIGTERM (everything is saved).
    """
    in_range("seeds", seeds, 1, 10_000)
    if launch.world().size > 1:
        raise UsageFault("one process with --seeds", f"{launch.world().size}", "start it without torchrun")
    talk = reporter or Silent()
    folders = {seed + n: Path(f"{run}-s{seed + n}") for n in range(seeds)}
    given = arguments | {"images": images}
    again = command or f"decoupe.seeds.fit_seeds({room!r}, ..., seeds={seeds}, run={str(run)!r}, seed={seed})"
    waiting = [number for number, folder in folders.items() if not _over(folder, room, given, number)]
    if len(waiting) < seeds:
        talk.note(f"{seeds - len(waiting)} of {seeds} runs are over already")
    places = _places(int(arguments.get("devices", 1)))

    def write() -> dict[str, Any]:
        return _write(run, room, again, folders)

    try:
        if len(places) > 1 and len(waiting) > 1:
            _spread(room, given, folders, places, waiting, command, talk, write)
        else:
            for number in waiting:
                talk.note(f"seed {number}: {list(folders).index(number) + 1} of {seeds}")
                _one(room, given, number, folders, command, reporter)
                write()
    except Interrupted as stop:
        write()
        raise Interrupted(stop.images, again) from None
    return write()


def _over(folder: Path, room: str, given: Mapping[str, Any], seed: int) -> bool:
    """Whether the run in `folder` needs no more work. Fault if it is one of another method or other settings."""
    if not (folder / "run.json").exists():
        return False
    info = Run.open(folder, verify=False).info
    if "settings" not in info:  # stopped before it wrote anything of its own
        (folder / "run.json").unlink()
        return False
    now = {name: given.get(name, RESTARTS if name == "restarts" else None) for name in NAMED}
    now = {name: _portable(value) if name in NAMED[:3] else value for name, value in now.items()}
    options = {k: v for k, v in given.items() if k not in (*NAMED, "precision", "devices")}
    now |= {"room": room, "seed": seed, "options": options}
    before = {"restarts": RESTARTS} | info["settings"] | {"room": info["room"]}
    for name, value in json.loads(json.dumps(now)).items():
        if before.get(name) != value:
            was = f"{name} {before.get(name)!r} there, {value!r} now"
            raise Fault(
                f"{folder} to hold a run of this command", was, "repeat the same command, or choose another --run"
            )
    return info["status"] in OVER


def _one(
    room: str, given: Mapping[str, Any], seed: int, folders: Mapping[int, Path], command: str | None, reporter: Any
) -> None:
    """One run, begun or gone on with."""
    try:
        fit(**_job(room, given, seed, folders, command), reporter=reporter)
    except Collapsed as collapsed:
        (reporter or Silent()).warn(f"seed {seed}: {collapsed.got}")


def _job(
    room: str, given: Mapping[str, Any], seed: int, folders: Mapping[int, Path], command: str | None
) -> dict[str, Any]:
    """The arguments of `fit` for one seed; the precision that another run has measured holds for it too."""
    begun = (folders[seed] / "run.json").exists()
    own = {"room": room, "seed": seed, "run": str(folders[seed]), "resume": begun, "command": command}
    precision = given.get("precision")
    if precision is None:
        precision = next((p for folder in folders.values() if (p := _info(folder).get("precision"))), None)
    return {**given, **own, "precision": precision}


def _info(folder: Path) -> dict[str, Any]:
    return Run.open(folder, verify=False).info if (folder / "run.json").exists() else {}


def _places(devices: int) -> list[dict[str, str]]:
    """The environment of each process that may run at the same time: one for each device that this one may use."""
    count = torch.cuda.device_count() if devices == 1 else 1
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    names = [name.strip() for name in visible.split(",")] if visible.strip() else [str(n) for n in range(count)]
    return [{"CUDA_VISIBLE_DEVICES": name} for name in names[:count]] if count > 1 else [{}]


def _spread(
    room: str,
    given: Mapping[str, Any],
    folders: Mapping[int, Path],
    places: Sequence[dict[str, str]],
    waiting: Sequence[int],
    command: str | None,
    talk: Reporter,
    write: Callable[[], Any],
) -> None:
    """The runs of the seeds `waiting`, as many at a time as there are places. Interrupted after a signal.

    Nobody begins before the first has measured which precision is faster: all runs compute in one.
    """
    given = {k: _portable(v) if k in NAMED[:3] else v for k, v in given.items()}
    over: set[int] = set()

    def job(index: int) -> dict[str, Any] | None:
        one = _job(room, given, waiting[index], folders, command)
        return one if one["precision"] is not None or index == 0 or 0 in over else None

    def ended(index: int, code: int) -> None:
        over.add(index)
        talk.note(f"seed {waiting[index]}: {_info(folders[waiting[index]]).get('status', 'stopped')}")
        write()

    if launch.spread(len(waiting), job, places, ended):
        saved = [
            _info(folder).get("checkpoint", "/0-").split("/")[1].split("-")[0]
            for folder in (folders[n] for n in waiting)
        ]
        raise Interrupted(max(map(int, saved)), "")


# ------------------------------------------------------------------ what came out


def _write(run: str | Path, room: str, command: str, folders: Mapping[int, Path]) -> dict[str, Any]:
    rows = [_row(seed, folder) for seed, folder in folders.items() if (folder / "run.json").exists()]
    about = {"room": room, "command": command, "date": date.today().isoformat()}
    content = about | {"runs": rows, "summary": summary(rows)}
    write_atomic(Path(f"{run}-seeds.json"), dump_json(content))
    return content


def _row(seed: int, folder: Path) -> dict[str, Any]:
    info = _info(folder)
    health = info.get("health") or {}
    return {
        "seed": seed,
        "run": str(folder),
        "status": info["status"],
        "healthy": health.get("healthy"),
        "restarts": len(health.get("restarts") or []),
        "collapsed_at": health.get("collapsed_at"),
        "images_seen": info.get("images_seen"),
        "seconds": info.get("seconds"),
        "score": (info.get("selection") or {}).get("score"),
    }


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of the runs that are over: how often the method collapsed, how often restarts did not help, and the scores.

    {"runs", "method": {"collapsed", "rate", "interval"} (a first collapse, recovered or not), "lost": the same of runs
    that ended collapsed, "unhealthy" (ended, but without one healthy snapshot), "images_to_collapse": {"mean", "min",
    "max"} or None, "score": {"n", "mean", "deviation"} of the selected snapshots of healthy runs, or None}. Intervals
    are Wilson's at 95 %; the deviation is that of a sample, None for a single run.
    """
    over = [row for row in rows if row["status"] in OVER]
    first = [row["collapsed_at"] for row in over if row["collapsed_at"] is not None]
    scores = [row["score"] for row in over if row["status"] == "done" and row["healthy"] and row["score"] is not None]
    lost = sum(row["status"] == "collapsed" for row in over)

    def rate(count: int) -> dict[str, Any]:
        share = count / len(over) if over else None
        return {"collapsed": count, "rate": share, "interval": list(wilson(count, len(over)))}

    return {
        "runs": len(over),
        "method": rate(len(first)),
        "lost": rate(lost),
        "unhealthy": sum(row["status"] == "done" and not row["healthy"] for row in over),
        "images_to_collapse": {"mean": statistics.fmean(first), "min": min(first), "max": max(first)}
        if first
        else None,
        "score": {
            "n": len(scores),
            "mean": statistics.fmean(scores),
            "deviation": statistics.stdev(scores) if len(scores) > 1 else None,
        }
        if scores
        else None,
    }


def lines(content: Mapping[str, Any]) -> tuple[list[tuple[str, ...]], list[str]]:
    """(rows of a table, sentences) for people."""
    table: list[tuple[str, ...]] = [("seed", "status", "restarts", "collapse at image", "label-free score")]
    for row in content["runs"]:
        status = "not healthy" if row["status"] == "done" and not row["healthy"] else str(row["status"])
        at = "" if row["collapsed_at"] is None else f"{row['collapsed_at']:,}"
        score = "" if row["score"] is None else f"{row['score']:.3f}"
        table.append((str(row["seed"]), status, str(row["restarts"]), at, score))
    told, found = content["summary"], []
    for name, what in (("method", "the method collapsed"), ("lost", "restarts did not help")):
        one = told[name]
        low, high = one["interval"]
        found.append(f"{what} in {one['collapsed']} of {told['runs']} runs (95 % interval {low:.0%} to {high:.0%})")
    if told["unhealthy"]:
        found.append(f"{told['unhealthy']} ended without one healthy snapshot: train longer")
    if times := told["images_to_collapse"]:
        found.append(f"first collapse at image {times['mean']:,.0f} on average ({times['min']:,} to {times['max']:,})")
    if score := told["score"]:
        spread = "" if score["deviation"] is None else f" ± {score['deviation']:.3f}"
        found.append(f"label-free score {score['mean']:.3f}{spread} over {score['n']} runs")
    return table, found
