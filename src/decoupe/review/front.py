"""What the overview says: whether to trust the run, its curves and scores, and where it is least sure of itself."""

from __future__ import annotations

from typing import Any

from decoupe.engine.runfolder import Run
from decoupe.errors import Fault
from decoupe.report import charts, story
from decoupe.report.scores import tables
from decoupe.report.words import figure
from decoupe.review.desk import Desk


def overview(desk: Desk) -> dict[str, Any]:
    """Values of the template `overview`."""
    run = Run.open(desk.run, verify=False)
    rows = run.metrics()
    try:
        results = [(name, content) for name, content in run.results() if content.get("results")]
    except Fault:
        results = []
    scores = tables(run, results)
    naming = desk.naming
    names = [region.name for region in naming.shown()]
    checks = [row for row in rows if row.get("areas")]
    sentence, events = story.health(run, rows)
    return {
        "verdict": story.verdict(run, names, (), scores),
        "health": sentence,
        "events": events,
        "scores": scores,
        "curves": [chart for chart in (_score(run, checks), _areas(checks, naming.names)) if chart is not None],
        "made": story.made(run),
        "figure": figure,
        "regions": [(region.name, "#{:02x}{:02x}{:02x}".format(*region.colour)) for region in naming.shown()],
    }


def _score(run: Run, checks: list[dict[str, Any]]) -> charts.Chart | None:
    scored = [row for row in checks if row.get("score") is not None]
    if not scored:
        return None
    x, y = [float(row["images"]) for row in scored], [float(row["score"]) for row in scored]
    chosen = run.info.get("selection") or {}
    mark = (float(chosen["images"]), f"picked: image {chosen['images']:,}") if chosen.get("images") else None
    stages = [str(row.get("stage", "")) for row in scored]
    series = charts.Series("score", x, y, stages)
    return charts.draw("Label-free score", "no labels pick the snapshot; this does", [series], mark=mark)


def _areas(checks: list[dict[str, Any]], names: tuple[str, ...]) -> charts.Chart | None:
    hard = [row["areas"].get("hard") or [] for row in checks]
    x, stages = [float(row["images"]) for row in checks], [str(row.get("stage", "")) for row in checks]
    series = [
        charts.Series(name, x, [float(v[k]) if len(v) > k else float("nan") for v in hard], stages)
        for k, name in enumerate(names)
    ]
    about = "share of the validation photos' pixels"
    return charts.draw("Region areas", about, series, (0.0, 1.0), percent=True) if series else None
