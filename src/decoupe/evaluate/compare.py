"""`decoupe compare`: the stored results of several runs side by side, with intervals of their differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from decoupe.engine.runfolder import Run
from decoupe.errors import Fault
from decoupe.evaluate import metrics
from decoupe.evaluate.metrics import Score, bootstrap_difference
from decoupe.evaluate.run import number, object_iou

Result = Mapping[str, Any]


def compare(runs: Sequence[str | Path | Run]) -> dict[str, Any]:
    """The rows of all runs on what they were all evaluated on; run `decoupe evaluate` on each first.

    Returns:
        {"results": rows, "protocol", "split", "data", "command", "date"}. Rows are those of `evaluate` with "run",
        "data", "protocol" and "split" added; "row" is "RUN (SELECTION)". "difference" compares each `selected` row
        with that of the first run on the same images: {"to", "metric", "value", "interval"}, a paired 95 % bootstrap
        interval. Where the runs share several evaluated sets, the rows of all follow each other, each says which.

    Raises:
        Fault: a run has no results, or the runs share no evaluated set.
    """
    opened = [run if isinstance(run, Run) else Run.open(run) for run in runs]
    by_run = [{_set(content): content for _, content in run.results()} for run in opened]
    for run, found in zip(opened, by_run, strict=True):
        if not found:
            raise Fault(
                f"results in {run.path}", "none", f"score it first: decoupe evaluate {run.path} --data NAME:PATH"
            )
    shared = [key for key in by_run[0] if all(key in found for found in by_run)]
    if not shared:
        raise Fault(
            "runs evaluated on one and the same set, protocol, split and matching",
            "; ".join(f"{run.path.name}: {_told(found)}" for run, found in zip(opened, by_run, strict=True)),
            "evaluate them all on one set",
        )
    rows = [row for key in shared for row in _rows(opened, [found[key] for found in by_run], len(shared) > 1)]
    first = [by_run[0][key] for key in shared]
    joined = {name: ", ".join(dict.fromkeys(str(r[name]) for r in first)) for name in ("protocol", "split", "data")}
    command = " ".join(["decoupe compare", *(str(run.path) for run in opened)])
    return {"results": rows, **joined, "command": command, "date": date.today().isoformat()}


def _set(content: Result) -> tuple[str, ...]:
    """What makes two results comparable: layout and folder name, protocol, split, number of images, matching."""
    layout, _, place = str(content["data"]).partition(":")
    row = content["results"][0]
    parts = (layout, Path(place).name, content["protocol"], content["split"], row["n_images"], row["matching"])
    return tuple(str(part) for part in parts)


def _told(found: Mapping[tuple[str, ...], Result]) -> str:
    return ", ".join(" ".join(key) for key in found)


def _rows(runs: Sequence[Run], contents: Sequence[Result], several: bool) -> list[dict[str, Any]]:
    first = _selected(contents[0])
    rows = []
    for run, content in zip(runs, contents, strict=True):
        for row in content["results"]:
            shown = {key: value for key, value in row.items() if key != "confusions"}
            where = f", {content['protocol']} {content['split']}" if several else ""
            shown |= {"row": f"{run.path.name} ({row['selection']}{where})", "run": str(run.path)}
            shown |= {key: content[key] for key in ("data", "protocol", "split")}
            if row["selection"] == "selected" and content is not contents[0]:
                same = content.get("images") == contents[0].get("images")
                shown["difference"] = _difference(row, first, runs[0].path.name) if same else None
            rows.append(shown)
    return rows


def _selected(content: Result) -> Result:
    found: Result = next(row for row in content["results"] if row["selection"] == "selected")
    return found


def _difference(row: Result, first: Result, to: str) -> dict[str, Any] | None:
    """`row` minus `first` in IoU of the object (mIoU without one); None where per-image counts were not kept."""
    if "confusions" not in row or "confusions" not in first:
        return None
    whole = row["object"] is None
    metric = "miou" if whole else "iou"
    score: Score = metrics.miou if whole else object_iou(row["classes"].index(row["object"]))
    a, b = (np.array(r["confusions"], dtype=np.int64) for r in (row, first))
    low, high = bootstrap_difference(a, b, score)
    value = float(score(a.sum(0)) - score(b.sum(0)))
    return {"to": to, "metric": metric, "value": number(value), "interval": [number(low), number(high)]}
