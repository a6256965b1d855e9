"""`decoupe report`: one self-contained HTML page about a run, without scripts."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from decoupe.engine.files import write_atomic
from decoupe.engine.runfolder import Run
from decoupe.errors import Fault
from decoupe.export.palette import Colour, chosen, is_background
from decoupe.report import charts, story
from decoupe.report.montage import TITLE, montage
from decoupe.report.photos import Gallery, gallery
from decoupe.report.scores import tables
from decoupe.report.words import figure, without_folders

HERE = Path(__file__).parent
NAME = "report.html"
MEANING = {
    "D": "discriminator",
    "G": "mask network against the discriminator",
    "area": "penalty on the area of masks",
    "object": "share of the image that is object",
    "student": "distillation",
    "prior coverage": "share of the latent's prior that the posteriors of training scenes cover",
    "active units": "share of the latent's dimensions that say something of the image",
}
"""What common scalars are, in words."""


def report(run: str | Path | Run) -> Path:
    """Write RUN/report.html and return its path.

    Any run will do: finished, still training, collapsed, with or without its photos and results. Fault if it is no run.
    """
    opened = run if isinstance(run, Run) else Run.open(run, verify=False)
    page = render(opened)
    try:
        with opened.lock():
            fresh = Run.open(opened.path, verify=False)
            fresh.write_text(NAME, page)
            opened.info = fresh.info
    except Fault:  # a training run holds the folder: leave its manifest alone
        write_atomic(opened.path / NAME, page.encode())
    return opened.path / NAME


def render(run: Run) -> str:
    """The page as text."""
    rows, results = run.metrics(), _results(run)
    scores = tables(run, results)
    names, palette, photos, sizes = _photos(run, results)
    shares = photos.shares or _areas(run, rows)
    told = story.verdict(run, names, shares, scores)
    sentence, events = story.health(run, rows)
    style = (HERE / "style.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["figure"] = figure
    return environment.get_template("page.html.j2").render(
        title=f"{run.path.resolve().name}: {run.info.get('room')}",
        style=Markup(style),
        policy=f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'",
        verdict=told,
        regions=_legend(names, palette, shares),
        photos=photos,
        sizes=sizes,
        scores=scores,
        losses=_losses(rows),
        curves=_curves(run, rows, names),
        health=sentence,
        events=events,
        checks=[row for row in rows if "areas" in row],
        made=story.made(run),
        config=sorted((key, without_folders(str(value))) for key, value in (run.info.get("config") or {}).items()),
        away=run.path.is_absolute(),
        onward=story.onward(run, told, names, bool(scores)),
        version=str((run.info.get("versions") or {}).get("decoupe", "")),
    )


def _results(run: Run) -> list[tuple[str, dict[str, Any]]]:
    try:
        return [(name, content) for name, content in run.results() if content.get("results")]
    except Fault:
        return []


def _photos(
    run: Run, results: list[tuple[str, dict[str, Any]]]
) -> tuple[tuple[str, ...], tuple[Colour, ...], Gallery, list[charts.Bars]]:
    """Names and colours of the regions, the photos, and the sizes of single things; without weights no photos."""
    from decoupe.model import load

    try:
        model = load(run, device="cpu")
    except Fault as fault:
        known = run.names if "names.json" in run.info.get("files", {}) else ()
        palette = chosen(known, run.colours if known and len(run.colours) == len(known) else ())
        return known, palette, Gallery(problem=f"There are no masks to show yet: {fault.got}."), []
    palette = chosen(model.names, model.colours)
    source = (run.info.get("settings") or {}).get("images")
    if source is None:
        untold = "The run does not say which photos it was trained on, so none are shown."
        return model.names, palette, Gallery(problem=untold), []
    if model.room.WHOLE:
        from decoupe.report.things import things

        return model.names, palette, *things(model, source)
    shown = gallery(model, source, results)
    crops = [] if shown.problem else montage(model, source, (run.info.get("settings") or {}).get("split"))
    return model.names, palette, replace(shown, groups=[*shown.groups, *([(TITLE, crops)] if crops else [])]), []


def _areas(run: Run, rows: list[dict[str, Any]]) -> tuple[float, ...]:
    """Region areas at the check of the chosen snapshot; () where unknown."""
    chosen = (run.info.get("selection") or {}).get("images")
    return next((tuple(row["areas"]["hard"]) for row in rows if row.get("areas") and row["images"] == chosen), ())


def _legend(names: tuple[str, ...], palette: tuple[Colour, ...], known: Sequence[float]) -> list[dict[str, Any]]:
    shares = list(known) if len(known) == len(names) else [None] * len(names)
    return [
        {
            "name": name,
            "colour": "#{:02x}{:02x}{:02x}".format(*colour),
            "tinted": not is_background(name),
            "share": share,
        }
        for name, colour, share in zip(names, palette, shares, strict=True)
    ]


def _losses(rows: list[dict[str, Any]]) -> list[charts.Chart]:
    """One small chart per logged scalar, in the order of their first appearance."""
    series: dict[str, tuple[list[float], list[float], list[str]]] = {}
    for row in rows:
        for name, value in (row.get("losses") or {}).items():
            x, y, stage = series.setdefault(str(name), ([], [], []))
            x.append(float(row["images"]))
            y.append(float(value) if isinstance(value, int | float) else float("nan"))
            stage.append(str(row.get("stage", "")))
    drawn = [charts.draw(name, MEANING.get(name, ""), [charts.Series(name, *found)]) for name, found in series.items()]
    return [chart for chart in drawn if chart is not None]


def _curves(run: Run, rows: list[dict[str, Any]], names: tuple[str, ...]) -> list[charts.Chart]:
    """Region areas, and the label-free score with the picked moment marked."""
    checks = [row for row in rows if row.get("areas")]
    x = [float(row["images"]) for row in checks]
    stage = [str(row.get("stage", "")) for row in checks]
    hard = [row["areas"].get("hard") or [] for row in checks]
    regions = max((len(values) for values in hard), default=0)
    labels = names if len(names) == regions else tuple(f"region {k}" for k in range(regions))
    areas = [
        charts.Series(labels[k], x, [float(v[k]) if len(v) > k else float("nan") for v in hard], stage)
        for k in range(regions)
    ]
    scored = [(a, row["score"], s) for a, row, s in zip(x, checks, stage, strict=True) if row.get("score") is not None]
    chosen = run.info.get("selection") or {}
    mark = (float(chosen["images"]), f"picked: image {chosen['images']:,}") if chosen.get("images") else None
    score = charts.Series("score", [s[0] for s in scored], [float(s[1]) for s in scored], [s[2] for s in scored])
    drawn = [
        charts.draw("Region areas", "share of the validation photos' pixels", areas, (0.0, 1.0), percent=True),
        charts.draw("Label-free score", "no labels pick the snapshot; this does", [score], mark=mark)
        if scored
        else None,
    ]
    return [chart for chart in drawn if chart is not None]
