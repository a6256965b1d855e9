"""`decoupe evaluate`: the scores of a run, with what labels chose kept apart from what they did not.

Three rows: `last` (the last snapshot), `selected` (chosen by the room's label-free score: the run's weights) and
`oracle` (the best snapshot by these very labels; it only tells what selection costs).
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from decoupe.engine.runfolder import Run
from decoupe.errors import UsageFault
from decoupe.evaluate import instances as things
from decoupe.evaluate import metrics
from decoupe.evaluate.matching import MATCHINGS, Classes, apply, assign, check_matching
from decoupe.evaluate.measure import Pass, Task, measure, open_task
from decoupe.evaluate.metrics import Counts, Score, Scores, bootstrap
from decoupe.evaluate.protocols import Protocol
from decoupe.model import Model

STORED = 200_000
"""Largest number of per-image counts kept in a result, for paired comparison and for finding the worst images."""
THINGS = {
    "instance_ap50": "ap50", "instance_ap": "ap", "instance_f1": "f1", "instance_f1_median": "f1_median",
    "instance_pq": "pq", "count_error_mean": "count_error_mean", "count_error_median": "count_error_median",
}  # fmt: skip
"""Metrics of a protocol with instances, and what `instances.score` calls them."""
Progress = Callable[[int, int], None]


def evaluate(
    run: str | Path | Run,
    data: str,
    protocol: str | None = None,
    split: str | None = None,
    fit_on: str | None = None,
    matching: str | None = None,
    *,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Score a run on labelled images and keep the result in its results/.

    Args:
        run: the run folder.
        data: NAME:PATH of a labelled set.
        protocol: name of a protocol; None = that of the layout.
        split: None = test if it has labels, else val, else every labelled image.
        fit_on: labelled set (its training part if it has one) on which regions are matched to classes.
        matching: a mode of `matching.MATCHINGS`; None = the protocol's (fit-on-train with `fit_on`).
        progress: called with (images done, images to do).

    Returns:
        {"results": [rows last, selected, oracle], "protocol", "split", "data", "about", "command", "date"}. All scores
        come from one confusion matrix of the whole set, in the ground truth's frame, void left out; intervals are
        95 % bootstrap intervals over images with the matching held fixed. A score that is not defined is null.

    Raises:
        Fault: no run, no labels, a damaged file. UsageFault: unknown name, or options that do not go together.
    """
    opened = run if isinstance(run, Run) else Run.open(run)
    task = open_task(data, protocol, split)
    fitting = None if fit_on is None else open_task(fit_on, task.protocol.name, None, prefer="train")
    mode = matching or task.protocol.matching
    if matching is None and fit_on is not None and mode == "hungarian":
        mode = "fit-on-train"
    check_matching(mode, fit_on)
    if task.protocol.fitted and fit_on is None:
        raise UsageFault(f"--fit-on NAME:PATH with {task.protocol.name}", "none", f"add --fit-on {data}")
    scored = [_score(opened, task, fitting, mode, *one) for one in _rounds(opened, task, fitting, progress)]
    content = {
        "results": [],
        "protocol": task.protocol.name,
        "split": task.split,
        "data": data,
        "about": _about(task, mode, fitting),
        "command": _command(opened.path, data, protocol, split, fit_on, matching),
        "date": date.today().isoformat(),
    }
    rows = _three(opened, scored, task.protocol)
    images = {"images": [sample.key for sample in task.samples]} if "confusions" in rows[0] else {}
    opened.save_result(result_name(data, protocol, split, mode, task, fitting), content | images | {"results": rows})
    lean = [{key: value for key, value in row.items() if key != "confusions"} for row in rows]
    return content | {"results": lean}


def _rounds(
    run: Run, task: Task, fitting: Task | None, progress: Progress | None
) -> Iterator[tuple[int | None, Pass, Pass | None]]:
    """(snapshot or None, pass over the task, pass over the set to match on) for each set of weights, one at a time."""
    snapshots: list[int | None] = list(dict.fromkeys(candidate.images for candidate in run.candidates()))
    chosen = (run.info.get("selection") or {}).get("images")
    if chosen not in snapshots or chosen is None:
        snapshots.append(None)  # the run's own weights, where no snapshot equals them
    per_round = len(task.samples) + (0 if fitting is None else len(fitting.samples))
    done = 0

    def tick() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, per_round * len(snapshots))

    for snapshot in snapshots:
        model = Model(run, "selected" if snapshot is None else snapshot)
        other = None if fitting is None else measure(model, fitting, tick, ranked=False)
        yield snapshot, measure(model, task, tick), other


@dataclass(frozen=True)
class Scored:
    """One set of weights and its row."""

    snapshot: int | None
    row: dict[str, Any]


def _score(
    run: Run, task: Task, fitting: Task | None, mode: str, snapshot: int | None, found: Pass, other: Any
) -> Scored:
    source = (found if other is None else other).confusion.counts
    protocol = task.protocol
    classes = assign(mode, source, found.regions, protocol.classes)
    matched = apply(classes, found.confusion.images)
    names = {-1: None, **dict(enumerate(protocol.classes))}
    row: dict[str, Any] = {
        "room": run.info["room"],
        "matching": mode,
        "fit_on": None if fitting is None else f"{fitting.data} ({fitting.split})",
        "assignment": None
        if classes is None
        else [[region, names[int(c)]] for region, c in zip(found.regions, classes, strict=True)],
        "observed": ["image", "box"] if protocol.crop else ["image"],
        "uses_labels": found.uses_labels or "refined" in run.info or mode == "per-image-flip",
        "snapshot": snapshot,
        "classes": list(protocol.classes),
        "object": None if protocol.object is None else protocol.classes[protocol.object],
        "n_images": len(matched),
        "frame": "ground truth's",
        "metrics": _metrics(matched, found, classes, protocol),
        "interval": {name: _pair(bootstrap(matched, score)) for name, score in interval_scores(protocol).items()},
        "per_class": _per_class(matched, found, classes, protocol),
    }
    if matched.size <= STORED:
        row["confusions"] = matched.tolist()
    return Scored(snapshot, row)


def interval_scores(protocol: Protocol) -> dict[str, Score]:
    """The scores that get an interval: name -> function of (..., C + 1, C) matched counts."""
    scores: dict[str, Score] = {"miou": metrics.miou, "accuracy": metrics.accuracy}
    return scores if protocol.object is None else {"iou": object_iou(protocol.object)} | scores


def object_iou(class_: int) -> Score:
    """IoU of one class as a function of matched counts."""

    def score(matched: Counts) -> Scores:
        return np.asarray(metrics.iou(matched)[..., class_])

    return score


def _ap(found: Pass, classes: Classes | None, class_: int) -> float | None:
    """Average precision where exactly one region stands for the class; else there is no one probability to rank."""
    regions = [] if classes is None else np.flatnonzero(classes == class_).tolist()
    return number(found.ranking.ap(regions[0], class_)) if len(regions) == 1 else None


def _per_class(matched: Counts, found: Pass, classes: Classes | None, protocol: Protocol) -> dict[str, Any]:
    total = matched.sum(0)
    named = {name: getattr(metrics, name)(total) for name in ("iou", "precision", "recall", "f1")}
    return {
        name: {key: number(values[c]) for key, values in named.items()} | {"ap": _ap(found, classes, c)}
        for c, name in enumerate(protocol.classes)
    }


def _metrics(matched: Counts, found: Pass, classes: Classes | None, protocol: Protocol) -> dict[str, Any]:
    total = matched.sum(0)
    whole = {"miou": number(metrics.miou(total)), "accuracy": number(metrics.accuracy(total))}
    if protocol.object is None:
        return whole
    own: dict[str, Any] = _per_class(matched, found, classes, protocol)[protocol.classes[protocol.object]]
    return {"iou": own.pop("iou")} | whole | own | _things(found, classes, protocol.object)


def _things(found: Pass, classes: Classes | None, class_: int) -> dict[str, Any]:
    """Scores of instances, where the protocol asks for them; null unless exactly one region stands for the object."""
    if not found.things:
        return {}
    regions = [] if classes is None else np.flatnonzero(classes == class_).tolist()
    scores = things.score(found.things[regions[0]] if len(regions) == 1 else [])
    return {name: number(scores[key]) for name, key in THINGS.items()}


def _three(run: Run, scored: list[Scored], protocol: Protocol) -> list[dict[str, Any]]:
    """The rows `last`, `selected`, `oracle` out of those of all snapshots."""
    key = "miou" if protocol.object is None else "iou"
    chosen = run.info.get("selection") or {}
    last = next((s for s in reversed(scored) if s.snapshot is not None), scored[-1])
    selected = next((s for s in scored if s.snapshot == chosen.get("images")), scored[-1])
    oracle = max(scored, key=lambda s: s.row["metrics"][key] if s.row["metrics"][key] is not None else -1.0)
    reasons = {
        "last": "the last snapshot",
        "selected": f"by its label-free score, {chosen['score']:.3f}" if chosen else "the run's only weights",
        "oracle": f"the best {key} of {len(scored)} by these labels",
    }
    rows = []
    for name, which in (("last", last), ("selected", selected), ("oracle", oracle)):
        place = "" if which.snapshot is None else f", image {which.snapshot:,}"
        rows.append({"row": name, "selection": name, "chosen": reasons[name] + place} | which.row)
    rows[2]["uses_labels"] = True
    return rows


def _about(task: Task, mode: str, fitting: Task | None) -> str:
    where = "" if fitting is None else f" ({fitting.data}, {fitting.split})"
    parts = "; instances are the parts of the object's region, split at necks" if task.protocol.instances else ""
    return (
        f"{len(task.samples):,} images ({task.split}); {task.about}; regions matched {MATCHINGS[mode]}{where}; "
        f"scored in the ground truth's frame, void left out{parts}"
    )


def number(value: Any) -> float | None:
    """A float to six places; None where it is not a number."""
    return None if math.isnan(float(value)) else round(float(value), 6)


def _pair(interval: tuple[float, float]) -> list[float | None]:
    return [number(end) for end in interval]


def _command(path: Path, data: str, *options: str | None) -> str:
    flags = ("--protocol", "--split", "--fit-on", "--matching")
    given = [part for flag, value in zip(flags, options, strict=True) if value is not None for part in (flag, value)]
    return shlex.join(["decoupe", "evaluate", str(path), "--data", data, *given])


def result_name(data: str, protocol: str | None, split: str | None, mode: str, task: Task, fitting: Task | None) -> str:
    """Stem of the file in results/: the layout and folder, then whatever is not the default."""
    layout, _, place = data.partition(":")
    stem = Path(place).resolve().name
    extra = [part for part in (protocol, split) if part is not None]
    if mode != task.protocol.matching:
        extra.append(mode)
    if fitting is not None:
        extra.append(Path(fitting.data.partition(":")[2]).resolve().name)
    parts = [layout, *([] if stem == layout else [stem]), *extra]
    return re.sub(r"[^A-Za-z0-9._-]+", "_", "-".join(parts))[:120].lstrip(".")
