"""`decoupe bench [WHAT ...]`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from typing import Any

from decoupe import console
from decoupe.cli.parser import Parser, Verb, filled, whole

PARTS = ("crf", "gradcam", "data", "segment")


def flags(parser: Parser) -> None:
    """Arguments of `bench`."""
    add = parser.add_argument
    add(
        "what",
        metavar="WHAT",
        nargs="*",
        type=filled("WHAT"),
        help=f"rooms (their training step) or {', '.join(PARTS)} (default: all of them)",
    )
    add("--rounds", metavar="N", type=whole("--rounds", 1, 1000), default=5, help="repetitions (default: 5)")
    add("--preset", metavar="NAME", type=filled("--preset"), help="settings of the rooms (default: their own)")
    add("--json", metavar="FILE", type=filled("--json"), help="write all figures there too")


def run(given: argparse.Namespace) -> None:
    """Measure, then show a table."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler would announce itself
    from decoupe.bench import bench

    found = bench(given.what, given.rounds, given.preset, given.json, lambda name: console.line(f"  {name} ..."))
    console.table(table(found["rows"]))
    about = found["machine"]
    console.line(f"{about['device']}, {about['threads']} threads, load {about['load']}, torch {about['torch']}")
    if given.json:
        console.line(f"look   {given.json}")


def table(rows: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """One line per row, under a head."""
    head = ("", "ms", "images/s", "peak MB", "networks' share", "")
    return [head, *(_line(row) for row in rows)]


def _line(row: Mapping[str, Any]) -> tuple[str, ...]:
    if "left_out" in row:
        return (str(row["what"]), "", "", "", "", f"left out: {row['left_out']}")
    beside = [
        f"{value:g}x {key.removeprefix('faster_than_')}" for key, value in row.items() if key.startswith("faster_than_")
    ]
    if "batch" in row:
        beside = [f"batch {row['batch']}, {row['precision']}"]
    share = row.get("network_share")
    return (
        str(row["what"]),
        f"{row['ms']:,.1f}",
        f"{row['images_per_s']:,.0f}" if "images_per_s" in row else "",
        f"{row['peak_mb']:,.0f}",
        "" if share is None else f"{100 * share:.0f} %",
        ", ".join(beside),
    )


VERB = Verb(
    "bench",
    "how fast steps and parts are on this machine, beside what bounds them",
    "[WHAT ...] [--rounds N] [--json FILE]",
    flags,
    run,
)
