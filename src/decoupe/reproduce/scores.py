"""Scores of a study's runs: curves over images seen, and the rows `last`, `selected`, `oracle` over seeds."""

from __future__ import annotations

import hashlib
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from decoupe import __version__
from decoupe.data.decode import read_image, resize
from decoupe.engine.files import dump_json, parse_json, write_atomic
from decoupe.engine.runfolder import Run
from decoupe.evaluate.matching import apply, assign
from decoupe.evaluate.measure import Task
from decoupe.evaluate.measure import measure as segment_all
from decoupe.evaluate.metrics import Counts, bootstrap, wilson
from decoupe.evaluate.run import interval_scores, number
from decoupe.model import Model
from decoupe.report.masks import sheet
from decoupe.reproduce.claims import student
from decoupe.reproduce.table import Rows, Spread

if TYPE_CHECKING:
    from decoupe.reproduce.study import Context

HONEST, FLIP = "hungarian", "per-image-flip"
"""One assignment of regions to classes for the whole set; the best one for each image, which only an oracle knows."""
SELECTIONS = ("last", "selected", "oracle")
SHOWN = 8
"""Images of the mask sheets."""
Score = dict[str, Any]


def score(run: Run, task: Task, cache: Path, tick: Any) -> Score:
    """Every snapshot of `run` on `task`, from `cache` where it was measured before.

    Returns {"key", "n_images", "curve": [{"images", "stage", "healthy", "score", HONEST: {...}, FLIP: {...}}]}, with
    metrics, assignment and 95 % bootstrap intervals over images under each of the two matchings.
    """
    place = cache / f"{run.path.name}.json"
    key = _key(run, task)
    if place.is_file():
        known = parse_json(place.read_bytes(), str(place))
        if known.get("key") == key:
            return known
    curve = []
    for candidate in run.candidates():
        model = Model(run, candidate.images)
        found = segment_all(model, task, tick, ranked=False)
        point: dict[str, Any] = {"images": candidate.images, "stage": candidate.stage, "healthy": candidate.healthy}
        point["score"] = candidate.score
        for matching in (HONEST, FLIP):
            point[matching] = _figures(matching, found.confusion.images, found.regions, task)
        curve.append(point)
    if not curve and run.info["status"] == "done":  # fitted in closed form: its weights are all there is
        found = segment_all(Model(run), task, tick, ranked=False)
        point = {"images": 0, "stage": "fitted", "healthy": True, "score": None}
        curve = [point | {m: _figures(m, found.confusion.images, found.regions, task) for m in (HONEST, FLIP)}]
    if curve and run.candidates():
        write_atomic(cache / f"{run.path.name}.jpg", _masks(run, task, curve[-1][HONEST]["assignment"]))
    content = {"key": key, "n_images": len(task.samples), "curve": curve}
    write_atomic(place, dump_json(content))
    return content


def _key(run: Run, task: Task) -> str:
    """Digest of the snapshots, of what they are scored on, and of the version that scores."""
    snapshots = [(c["images"], run.info["files"][c["file"]]) for c in run.info["candidates"]]
    truths = [(s.key, s.image.stat().st_size, s.truth and s.truth.stat().st_size) for s in task.samples]
    scored = [task.data.partition(":")[0], task.protocol.name, task.split, truths]
    return hashlib.sha256(json.dumps([__version__, snapshots, scored]).encode()).hexdigest()


def _figures(matching: str, images: Counts, regions: Sequence[str], task: Task) -> dict[str, Any]:
    protocol = task.protocol
    classes = assign(matching, images.sum(0), regions, protocol.classes)
    matched = apply(classes, images)
    scores = interval_scores(protocol)
    return {
        "metrics": {name: number(one(matched.sum(0))) for name, one in scores.items()},
        "interval": {name: [number(end) for end in bootstrap(matched, one)] for name, one in scores.items()},
        "assignment": None if classes is None else [int(c) for c in classes],
    }


def _masks(run: Run, task: Task, assignment: Sequence[int]) -> bytes:
    """JPEG of the last snapshot's masks on a few of the scored images, regions in the order of their classes."""
    model = Model(run, run.candidates()[-1].images)
    chosen = np.unique(np.linspace(0, len(task.samples) - 1, min(SHOWN, len(task.samples))).astype(int))
    photos = [read_image(task.samples[i].image) for i in chosen]
    squares: NDArray[np.uint8] = np.stack([model.square(photo) for photo in photos])
    side = max(64, model.spec.size)
    shown = [resize(square.transpose(1, 2, 0), side, side) for square in squares]
    order = sorted(range(len(assignment)), key=lambda region: (assignment[region] < 0, assignment[region]))
    return sheet(shown, model.predict(squares)[:, order], [model.names[region] for region in order])


# ---------------------------------------------------------------------------------------------- rows


def measure(context: Context) -> Rows:
    """The row's runs, scored: one result row for each matching and selection."""
    runs = context.fit()
    scored = [context.score(run) for run in runs]
    context.remember(runs, scored)
    return [_row(context, runs, scored, matching, selection) for matching in (HONEST, FLIP) for selection in SELECTIONS]


def chosen(run: Run, scored: Score, selection: str, key: str, matching: str = HONEST) -> Mapping[str, Any] | None:
    """The point of the curve that `selection` means; None where training collapsed or nothing was kept.

    `oracle` is the best by metric `key` under `matching`: each of the two matchings has an oracle of its own.
    """
    curve: list[dict[str, Any]] = scored["curve"]
    if run.info["status"] == "collapsed" or not curve:
        return None
    if selection == "last":
        return curve[-1]
    if selection == "selected":
        at = (run.info.get("selection") or {"images": curve[0]["images"]}).get("images")
        return next((point for point in curve if point["images"] == at), None)
    return max(curve, key=lambda point: -1.0 if (v := point[matching]["metrics"][key]) is None else v)


def _row(context: Context, runs: Sequence[Run], scored: Sequence[Score], matching: str, selection: str) -> Score:
    task = context.task
    names = list(interval_scores(task.protocol))
    points = [chosen(run, one, selection, names[0], matching) for run, one in zip(runs, scored, strict=True)]
    alive = [point[matching] for point in points if point is not None]
    columns = {name: [p["metrics"][name] for p in alive if p["metrics"][name] is not None] for name in names}
    lost = collapsed(runs)
    spread = {name: _deviation(values) for name, values in columns.items()}
    return {
        "row": context.row.name,
        "selection": selection,
        "matching": matching,
        "observed": ["image"],
        "uses_labels": selection == "oracle" or matching == FLIP,
        "status": "collapsed" if lost["n"] == lost["of"] else "partly collapsed" if lost["n"] else "done",
        "n_images": len(task.samples),
        "n_runs": len(alive),
        "metrics": {name: _mean(values) for name, values in columns.items()} | {"collapse_rate": lost["rate"]},
        "spread": spread,
        "uncertainty": {name: _doubt(values) for name, values in columns.items()},
        "interval": alive[0]["interval"] if len(alive) == 1 else {},
        "collapsed": lost,
        "text": dict(context.row.text),
        "note": context.row.note,
        "seeds": [_seed(run, point, matching) for run, point in zip(runs, points, strict=True)],
    }


def over_seeds(
    context: Context, runs: Sequence[Run], found: Sequence[Mapping[str, float]], matching: str, uses_labels: bool
) -> Score:
    """One row of figures that something else than matching regions to classes gave: `found` of each run that lasted."""
    lost = collapsed(runs)
    names = list(found[0]) if found else []
    columns = {name: [metrics[name] for metrics in found] for name in names}
    return {
        "row": context.row.name,
        "selection": "selected",
        "matching": matching,
        "observed": ["image"],
        "uses_labels": uses_labels,
        "status": "done" if found else "collapsed",
        "n_images": len(context.task.samples),
        "n_runs": len(found),
        "metrics": {name: _mean(values) for name, values in columns.items()},
        "spread": {name: _deviation(values) for name, values in columns.items()},
        "uncertainty": {name: _doubt(values) for name, values in columns.items()},
        "interval": {},
        "collapsed": lost,
        "text": dict(context.row.text),
        "note": context.row.note,
        "seeds": [{"seed": run.info["seed"], "run": f"runs/{run.path.name}"} for run in runs],
    }


def collapsed(runs: Sequence[Run]) -> dict[str, Any]:
    """How many runs collapsed, at which image, and the 95 % Wilson interval of the rate."""
    at = [collapsed_at(run) for run in runs if run.info["status"] == "collapsed"]
    low, high = wilson(len(at), len(runs))
    known = [images for images in at if images is not None]
    return {
        "n": len(at), "of": len(runs), "rate": len(at) / len(runs), "interval": [round(low, 4), round(high, 4)],
        "at": at, "median_at": statistics.median(known) if known else None,
    }  # fmt: skip


def collapsed_at(run: Run) -> int | None:
    """Images seen when training collapsed; None where it did not."""
    if run.info["status"] != "collapsed":
        return None
    at = (run.info.get("health") or {}).get("collapsed_at")
    return int(run.info.get("images_seen", 0)) if at is None else int(at)


def _seed(run: Run, point: Mapping[str, Any] | None, matching: str) -> dict[str, Any]:
    health = run.info.get("health") or {}
    return {
        "seed": run.info["seed"],
        "run": f"runs/{run.path.name}",
        "status": run.info["status"],
        "images_seen": run.info.get("images_seen"),
        "seconds": run.info.get("seconds"),
        "collapsed_at": collapsed_at(run),
        "health": health.get("sentence"),
        "snapshot": None if point is None else point["images"],
        "metrics": {} if point is None else point[matching]["metrics"],
        "assignment": None if point is None else point[matching]["assignment"],
    }


def _mean(values: Sequence[float]) -> float | None:
    return round(statistics.fmean(values), 6) if values else None


def _deviation(values: Sequence[float]) -> float | None:
    """Standard deviation over seeds (n - 1)."""
    return round(statistics.stdev(values), 6) if len(values) > 1 else None


def _doubt(values: Sequence[float]) -> float | None:
    """Half the 95 % interval of the mean over seeds: t s / sqrt(n), Student's t with n - 1 degrees of freedom.

    None for a single run: what another seed would have given is not known.
    """
    return (
        round(student(len(values)) * statistics.stdev(values) / math.sqrt(len(values)), 6) if len(values) > 1 else None
    )


def spread_over_seeds(context: Context) -> Spread:
    """Of the row's first variant over every seed that the study's folder has: column -> (deviation, runs).

    By the snapshots chosen without labels, of runs that did not collapse.
    """
    names = list(interval_scores(context.task.protocol))
    runs = context.fitting.finished(context.row.variants[0])
    points = [chosen(run, context.score(run), "selected", names[0]) for run in runs]
    alive = [point[HONEST]["metrics"] for point in points if point is not None]
    columns = {name: [metrics[name] for metrics in alive if metrics[name] is not None] for name in names}
    return {
        name: (round(statistics.stdev(values), 6), len(values)) for name, values in columns.items() if len(values) > 1
    }


def curves(runs: Sequence[Run], scored: Sequence[Score]) -> list[dict[str, Any]]:
    """For the figures: one curve per run, and what its checks saw of region areas."""
    out = []
    for run, one in zip(runs, scored, strict=True):
        checks = [row for row in run.metrics() if row.get("areas")]
        out.append(
            {
                "seed": run.info["seed"],
                "run": run.path.name,
                "status": run.info["status"],
                "collapsed_at": collapsed_at(run),
                "health": (run.info.get("health") or {}).get("sentence"),
                "points": [{"images": p["images"], **p[HONEST]["metrics"]} for p in one["curve"]],
                "areas": [{"images": row["images"], "hard": row["areas"]["hard"]} for row in checks],
            }
        )
    return out
