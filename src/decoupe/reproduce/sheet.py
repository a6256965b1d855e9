"""Result rows as a sheet of words, the same on the terminal and in the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

NAMES = {
    "iou": "IoU", "miou": "mIoU", "accuracy": "accuracy", "collapse_rate": "collapse rate", "deviation": "deviation",
    "mean": "mean", "f1_median": "F1", "ap50_median": "AP50", "count_error_median": "count error",
}  # fmt: skip
NAMED = ("bed", "window", "appliance", "counter", "wardrobe", "rug", "picture", "lamp", "plant", "floor", "ceiling")
"""Columns that are classes of a data set; one of which nothing is known is left out."""
NAMES |= {name: name for name in NAMED}
FLIP = "per-image-flip"
FLIPPED = ("iou", "accuracy")
"""Metrics that are also shown under the best assignment for each image."""


@dataclass(frozen=True)
class Sheet:
    """A table in words."""

    head: list[str]
    rows: list[list[str]]
    notes: list[str]


def sheet(content: Mapping[str, Any]) -> Sheet:
    """Our figures beside the text's: one line per row and selection, one where everything collapsed.

    Where rows differ in what was observed, each line says it.
    """
    results = content["results"]
    columns = [c for c in content["columns"] if c not in NAMED or any(_known(r, c) for r in results)]
    told_of = [c for c in columns if c not in NAMED or any(c in r["text"] for r in results)]
    flips = {(r["row"], r["selection"]): r for r in results if r["matching"] == FLIP}
    extra = [c for c in FLIPPED if flips and c in columns]
    several = len({tuple(r.get("observed", ())) for r in results}) > 1
    head = [
        "row",
        *(["observed"] if several else []),
        "chosen",
        *(NAMES.get(c, c) for c in columns),
        *(f"{NAMES[c]} *" for c in extra),
    ]
    head += [f"text: {NAMES.get(c, c)}" for c in told_of]
    rows, before = [], ""
    for row in (r for r in results if r["matching"] != FLIP):
        if row["status"] == "collapsed" and row["row"] == before:
            continue
        flip = flips.get((row["row"], row["selection"]))
        cells = [cell(row, column) for column in columns]
        cells += [cell(flip, column) if flip else "" for column in extra]
        text = [_text(row["text"].get(c)) if several or row["row"] != before else "" for c in told_of]
        seen = [" + ".join(row.get("observed", ()))] if several else []
        rows.append([row["row"], *seen, "" if row["status"] == "collapsed" else row["selection"], *cells, *text])
        before = row["row"]
    told = ", the text" if content.get("source") != "not in the text" else ""
    return Sheet(head, rows, _notes(results, bool(extra), told))


def _known(row: Mapping[str, Any], column: str) -> bool:
    return row["metrics"].get(column) is not None or column in row["text"]


def cell(row: Mapping[str, Any], column: str) -> str:
    """`.734 ± .012`, `collapsed`, or for the rate of collapse `3 of 10 (11-60 %)`."""
    lost = row.get("collapsed")
    if column == "collapse_rate" and lost:
        low, high = (round(100 * end) for end in lost["interval"])
        return f"{lost['n']} of {lost['of']} ({low}-{high} %)"
    value = row["metrics"].get(column)
    if value is None:
        return "collapsed" if row["status"] == "collapsed" else ""
    spread = (row.get("spread") or {}).get(column)
    return share(value) + (f" ± {share(spread)}" if spread is not None else "")


def share(value: float) -> str:
    """.734"""
    return f"{value:.3f}".removeprefix("0")


def _text(value: float | str | None) -> str:
    return "" if value is None else value if isinstance(value, str) else share(value)


def _notes(results: Sequence[Mapping[str, Any]], flips: bool, told: str) -> list[str]:
    notes = []
    seen = set()
    for row in results:
        lost = row.get("collapsed")
        if row["row"] in seen:
            continue
        seen.add(row["row"])
        if lost and lost["n"]:
            at = ", ".join("?" if images is None else f"{images:,}" for images in lost["at"])
            notes.append(f"{row['row']}: {lost['n']} of {lost['of']} runs collapsed, at image {at}")
            if lost["n"] < lost["of"]:
                notes[-1] += f"; scores are of the other {lost['of'] - lost['n']}"
        if row.get("note"):
            notes.append(f"{row['row']}{told}: {row['note']}")
        notes += [f"{row['row']} ran with {words}" for words in map(_changes, row.get("settings", ())) if words]
    if flips:
        notes.append(
            "* regions matched anew for every image, as the text's authors do: an oracle that reads each label"
        )
        notes.append(
            "chosen: selected without labels; last; oracle by these labels (each matching by its own), "
            "only to know what the choice costs"
        )
    return list(dict.fromkeys(notes))


def _changes(one: Mapping[str, Any]) -> str:
    """What a row changes in the original's settings, in words; numbers of images in steps too."""

    def said(name: str, value: Any) -> str:
        steps = f" ({value // one['batch']:,} steps)" if name.endswith("_images") and isinstance(value, int) else ""
        return f"{name} {value}{steps}"

    return ", ".join(said(name, value) for name, value in one["changes"].items())


def verdict(holds: bool | None) -> str:
    """A claim's outcome in words."""
    return "not decided" if holds is None else "holds" if holds else "does not hold"
