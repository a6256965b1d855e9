"""The page of a study: one table with its curves, and every run's masks so that a person can judge collapse by eye."""

from __future__ import annotations

import base64
import hashlib
import io
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image as Pillow

from decoupe import __version__
from decoupe.report import charts
from decoupe.report.words import without_folders
from decoupe.reproduce.sheet import NAMES, sheet, verdict

HERE = Path(__file__).parent
DRAWN = ("iou", "miou", "accuracy")
"""Metrics that get a chart, IoU of the object or else mean IoU, and accuracy."""


@dataclass(frozen=True)
class Shown:
    """One run on the page."""

    title: str
    outcome: str
    picture: str
    """data: URI of photos and masks, "" without a snapshot."""
    size: tuple[int, int]
    areas: charts.Chart | None


def page(content: Mapping[str, Any], masks: Mapping[str, bytes]) -> str:
    """The HTML of `reproduce`'s content; `masks`: JPEG bytes by the name of the run."""
    style = (HERE / "style.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    metrics = _drawn(content["curves"])
    return environment.get_template("study.html.j2").render(
        title=f"{content['table']}, scale {content['scale']}",
        style=Markup(style),
        policy=f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'",
        line=content["line"],
        source=content["source"],
        sheet=sheet(content),
        claims=[(claim["claim"], verdict(claim["holds"]), claim.get("why", "")) for claim in content["claims"]],
        curves=_present(_by_row(content["curves"], metric) for metric in metrics),
        seeds=_present(_by_seed(row, content["curves"], metrics[0]) for row in _rows(content["curves"]))
        if metrics
        else [],
        runs=[_shown(curve, masks.get(curve["run"])) for curve in content["curves"]],
        made=_made(content),
        version=__version__,
    )


def _present(found: Any) -> list[charts.Chart]:
    return [chart for chart in found if chart is not None]


def _drawn(curves: Sequence[Mapping[str, Any]]) -> list[str]:
    known = {name for curve in curves for point in curve["points"] for name in point}
    return [name for name in DRAWN if name in known and not (name == "miou" and "iou" in known)]


def _rows(curves: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(str(curve["row"]) for curve in curves))


def _by_row(curves: Sequence[Mapping[str, Any]], metric: str) -> charts.Chart | None:
    """One curve per row: the mean over its runs at each number of images seen."""
    series = []
    for row in _rows(curves):
        own = [curve for curve in curves if curve["row"] == row]
        values: dict[int, list[float]] = {}
        for point in (point for curve in own for point in curve["points"]):
            if point.get(metric) is not None:
                values.setdefault(int(point["images"]), []).append(float(point[metric]))
        x = sorted(values)
        series.append(charts.Series(str(own[0]["short"]), x, [statistics.fmean(values[at]) for at in x]))
    return charts.draw(NAMES[metric], "each row of the table", series, (0.0, 1.0))


def _by_seed(row: str, curves: Sequence[Mapping[str, Any]], metric: str) -> charts.Chart | None:
    """One curve per seed of a row; None where it has one run."""
    own = [curve for curve in curves if curve["row"] == row]
    if len(own) < 2:
        return None
    series = []
    for curve in own:
        points = [point for point in curve["points"] if point.get(metric) is not None]
        name = f"seed {curve['seed']}" + (" (c)" if curve["status"] == "collapsed" else "")
        series.append(charts.Series(name, [p["images"] for p in points], [p[metric] for p in points]))
    return charts.draw(row, f"{NAMES[metric]} of each run; (c): collapsed", series, (0.0, 1.0))


def _shown(curve: Mapping[str, Any], picture: bytes | None) -> Shown:
    checks = curve["areas"]
    x = [float(check["images"]) for check in checks]
    regions = max((len(check["hard"]) for check in checks), default=0)
    areas = [charts.Series(f"region {k}", x, [float(check["hard"][k]) for check in checks]) for k in range(regions)]
    chart = charts.draw("Region areas", "share of the validation photos' pixels", areas, (0.0, 1.0), percent=True)
    at = curve["collapsed_at"]
    last = curve["points"][-1] if curve["points"] else {}
    scores = ", ".join(f"{NAMES[m]} {last[m]:.3f}" for m in DRAWN if last.get(m) is not None and m != "miou")
    outcome = f"collapsed at image {at:,}" if at is not None else f"{curve['status']}: last {scores}"
    title = f"{curve['row']}, seed {curve['seed']}"
    if picture is None:
        return Shown(title, outcome, "", (0, 0), chart)
    with Pillow.open(io.BytesIO(picture)) as image:
        size = image.size
    return Shown(title, outcome, "data:image/jpeg;base64," + base64.b64encode(picture).decode("ascii"), size, chart)


def _settings(config: Mapping[str, Any] | None) -> str:
    """The whole configuration of the original row; what other rows change stands below the table."""
    if not config:
        return ""
    values = ", ".join(f"{name} {value}" for name, value in config["settings"].items())
    return f"{config['row']}: room {config['room']}, preset {config['preset'] or 'none'}; {values}"


def _made(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    seeds = [seed for row in content["results"] for seed in row["seeds"]]
    seconds = {seed["run"]: seed.get("seconds") or 0 for seed in seeds}
    rows = [
        ("Command", without_folders(str(content["command"]))),
        ("Trained on", content["trained_on"]),
        ("Length", (content.get("length") or {}).get("words", "")),
        ("Settings", _settings(content.get("config"))),
        ("Scored", content["about"]),
        ("Protocol", f"{content['protocol']}, split {content['split']}"),
        ("Runs", f"{len(seconds)}; {sum(seconds.values()) / 60:.1f} minutes of training" if seconds else ""),
        ("Restarts", "none: a collapse ends a run, so that rates are the method's own"),
        ("Date", content["date"]),
    ]
    return [(name, str(value)) for name, value in rows if value]
