"""`decoupe evaluate RUN`, `decoupe compare RUN RUN...`, `decoupe report RUN`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from decoupe import console
from decoupe.cli.parser import Parser, Verb, filled, one_of
from decoupe.errors import UsageFault

MATCHING = ("hungarian", "majority", "per-image-flip", "fit-on-train", "named")


def layout(flag: str) -> Any:
    """Reader of NAME:PATH."""

    def read(text: str) -> str:
        name, colon, path = text.partition(":")
        if not (name and colon and path):
            raise UsageFault(
                f"{flag} NAME:PATH", repr(text), f"write {flag} masks:FOLDER for images/ and masks/ of equal stems"
            )
        return text

    return read


def evaluate_flags(parser: Parser) -> None:
    """Arguments of `evaluate`."""
    add = parser.add_argument
    add("run", metavar="RUN", type=filled("RUN"), help="run folder that `decoupe fit` made")
    add(
        "--data",
        metavar="NAME:PATH",
        type=layout("--data"),
        required=True,
        help="labelled images, such as masks:FOLDER",
    )
    add(
        "--protocol", metavar="P", type=filled("--protocol"), help="which classes count and how (default: the layout's)"
    )
    add("--split", metavar="NAME", type=filled("--split"), help="default: test if it has labels, else val, else all")
    add(
        "--fit-on",
        metavar="NAME:PATH",
        type=layout("--fit-on"),
        help="labelled images on which regions are matched to classes",
    )
    add(
        "--matching",
        metavar="MODE",
        type=one_of("--matching", MATCHING),
        help=f"{', '.join(MATCHING)} (default: the protocol's)",
    )
    add("--json", metavar="FILE", type=filled("--json"), help="write the rows here too")


def evaluate_run(given: argparse.Namespace) -> None:
    """Score the run, print its rows."""
    from decoupe.evaluate.run import evaluate

    with console.counting("evaluate") as progress:
        content = evaluate(
            given.run,
            given.data,
            protocol=given.protocol,
            split=given.split,
            fit_on=given.fit_on,
            matching=given.matching,
            progress=progress,
        )
    _save(given.json, content)
    show(content["results"])
    things(content["results"])
    console.line(f"  {content['about']}")


def compare_flags(parser: Parser) -> None:
    """Arguments of `compare`."""
    parser.add_argument(
        "runs", metavar="RUN", nargs="+", type=filled("RUN"), help="run folders evaluated on the same data"
    )
    parser.add_argument("--json", metavar="FILE", type=filled("--json"), help="write the rows here too")


def compare_run(given: argparse.Namespace) -> None:
    """Lay the results of several runs side by side."""
    if len(given.runs) < 2:
        raise UsageFault("two runs or more", "one", "write decoupe compare RUN RUN")
    from decoupe.evaluate.compare import compare

    content = compare(given.runs)
    _save(given.json, content)
    show(content["results"])
    for row in content["results"]:
        if (difference := row.get("difference")) is not None:
            low, high = (f"{end:+.3f}" for end in difference["interval"])
            name = f"{row['row']} minus {difference['to']}"
            console.line(f"  {name}: {difference['metric']} {difference['value']:+.3f} (95 % interval {low} to {high})")


def report_flags(parser: Parser) -> None:
    """Arguments of `report`."""
    parser.add_argument("run", metavar="RUN", type=filled("RUN"), help="run folder that `decoupe fit` made")


def report_run(given: argparse.Namespace) -> None:
    """Write the report anew."""
    from decoupe.report import report

    console.line(f"look   {report(given.run)}")


def show(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the rows, each with its own title."""
    titles = [str(row.get("row") or row["selection"]) for row in rows]
    console.table(console.score_table(rows, titles, ""))


def things(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print how well things were told apart and counted, where that was scored."""
    for row in rows:
        scores = row["metrics"]
        if scores.get("instance_f1_median") is not None:
            f1, ap = (console.share(scores[name]) for name in ("instance_f1_median", "instance_ap50"))
            error = (
                "no count to compare" if (e := scores["count_error_median"]) is None else f"count {100 * e:.0f} % off"
            )
            console.line(f"  {row['row']}: instances F1 {f1}, {error} (medians over images), AP50 {ap}")


def _save(path: str | None, content: Mapping[str, Any]) -> None:
    if path is not None:
        from decoupe.engine.files import dump_json, write_atomic

        write_atomic(Path(path), dump_json(content))


EVALUATE = Verb(
    "evaluate", "scores against labels you have",
    "RUN --data NAME:PATH [--protocol P] [--split NAME] [--fit-on NAME:PATH] [--matching MODE] [--json FILE]",
    evaluate_flags, evaluate_run,
)  # fmt: skip
COMPARE = Verb("compare", "several runs side by side", "RUN RUN... [--json FILE]", compare_flags, compare_run)
REPORT = Verb("report", "write report.html of a run anew", "RUN", report_flags, report_run)
