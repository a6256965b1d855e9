"""Scores for the report: the run's rows and, beside them, the baselines scored on the same images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decoupe.engine.runfolder import Run
from decoupe.errors import Fault
from decoupe.report.words import figure, number, without_folders

BESIDE = 60
"""Neighbouring run folders looked into for baselines."""
TITLES = {
    "selected": "this run (chosen without labels)",
    "last": "last snapshot",
    "oracle": "oracle (chosen by labels)",
}
BASELINES = {
    "kmeans-lab": "k-means in Lab",
    "kmeans-1x1": "k-means on pixels",
    "kmeans-7x7": "k-means on patches",
    "otsu": "Otsu",
    "grabcut": "GrabCut",
    "ellipse": "centre ellipse",
    "average-mask": "average mask",
}
WORDS = {"iou": "IoU of the object", "miou": "mean IoU", "accuracy": "accuracy", "ap": "AP", "f1": "F1"}
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Bar:
    """One row of a score table."""

    title: str
    kind: str
    """own, other or baseline: how it is drawn."""
    value: float | None
    low: float | None
    high: float | None
    cells: list[str]
    note: str


@dataclass(frozen=True)
class Table:
    """All scores on one labelled set."""

    title: str
    about: str
    metric: str
    columns: list[str]
    bars: list[Bar]
    command: str

    @property
    def own(self) -> Bar | None:
        """The row of the run's own choice."""
        return next((bar for bar in self.bars if bar.kind == "own"), None)

    @property
    def rival(self) -> Bar | None:
        """The best baseline that saw no labels."""
        others = [bar for bar in self.bars if bar.kind == "baseline" and bar.value is not None and not bar.note]
        return max(others, key=lambda bar: bar.value or 0.0, default=None)


def _bar(row: Row, title: str, kind: str, metric: str, columns: Sequence[str], note: str) -> Bar:
    scores, interval = row.get("metrics") or {}, (row.get("interval") or {}).get(metric) or [None, None]
    value, low, high = number(scores.get(metric)), number(interval[0]), number(interval[1])
    return Bar(title, kind, value, low, high, [figure(scores.get(column)) for column in columns], note)


def _set(content: Row) -> tuple[str, ...]:
    place, rows = Path(str(content.get("data"))).name, content["results"]
    return tuple(str(part) for part in (place, content.get("protocol"), content.get("split"), rows[0].get("n_images")))


def _same(a: Row, b: Row) -> bool:
    """Whether two results are of one protocol, split and set of images."""
    return _set(a) == _set(b)


def _baselines(run: Run) -> Iterator[tuple[str, Row]]:
    """(title, result content) of the baseline runs that lie beside this run."""
    here = run.path.resolve()
    folders = [here.parent, here.parent / "baselines"]
    seen = 0
    for folder in folders:
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            if seen >= BESIDE or path.resolve() == here or path.is_symlink() or not (path / "run.json").is_file():
                continue
            seen += 1
            try:
                other = Run.open(path, verify=False)
                if other.info.get("room") == "baselines":
                    kind = str((other.info.get("config") or {}).get("kind", path.name))
                    title = BASELINES.get(kind, kind)
                    yield from ((title, content) for _, content in other.results())
            except (Fault, KeyError, TypeError):
                continue


def tables(run: Run, results: Sequence[tuple[str, Row]]) -> list[Table]:
    """One table for each stored result."""
    beside = list(_baselines(run)) if results else []
    found = []
    for _, content in results:
        rows = {row.get("selection"): row for row in content.get("results") or []}
        if "selected" not in rows:
            continue
        metric = "iou" if number((rows["selected"].get("metrics") or {}).get("iou")) is not None else "miou"
        columns = [name for name in ("iou", "miou", "accuracy", "ap", "f1") if name in rows["selected"]["metrics"]]
        columns = [name for name in columns if name != metric]
        alone = rows["selected"].get("uses_labels")
        bars = [_bar(rows["selected"], TITLES["selected"], "own", metric, columns, "uses labels" if alone else "")]
        for selection in ("last", "oracle"):
            if selection in rows and rows[selection].get("snapshot") is not None:
                note = "uses labels, only to know what selection costs" if selection == "oracle" else ""
                bars.append(_bar(rows[selection], TITLES[selection], "other", metric, columns, note))
        for title, other in beside:
            row = next((r for r in other.get("results") or [] if r.get("selection") == "selected"), None)
            if row is not None and _same(content, other):
                note = "uses labels" if row.get("uses_labels") else ""
                bars.append(_bar(row, title, "baseline", metric, columns, note))
        tail = sorted(bars[1:], key=lambda bar: -(bar.value or 0) if bar.kind == "baseline" else -2)
        layout, _, place = str(content.get("data", "")).partition(":")
        name = layout if Path(place).name in ("", layout) else f"{layout}: {Path(place).name}"
        found.append(
            Table(
                f"{name}, {rows['selected'].get('n_images', 0):,} images ({content.get('split', 'all')})",
                without_folders(str(content.get("about", ""))),
                WORDS[metric],
                [WORDS[column] for column in columns],
                [bars[0], *tail],
                str(content.get("command", "")),
            )
        )
    return found
