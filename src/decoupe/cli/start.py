"""`decoupe demo`, `decoupe methods`: the two verbs to begin with."""

from __future__ import annotations

import argparse

from decoupe import console
from decoupe.cli.parser import Parser, Verb, filled, number
from decoupe.methods import ROOMS


def demo_flags(parser: Parser) -> None:
    """Arguments of `demo`."""
    add = parser.add_argument
    add("--out", metavar="DIR", type=filled("--out"), help="a new folder for all of it (default: runs/demo-1, -2, ...)")
    add(
        "--minutes",
        metavar="M",
        type=number("--minutes", 1e-3, 1e4),
        default=5.0,
        help="minutes of training (default: 5)",
    )


def demo_run(given: argparse.Namespace) -> None:
    """Built-in images from fit to report."""
    from decoupe.demo import demo

    demo(given.out, given.minutes)


def methods_flags(parser: Parser) -> None:
    """`methods` has no arguments."""


def methods_run(given: argparse.Namespace) -> None:
    """The table of rooms."""
    for entry in ROOMS.values():
        console.line(entry.name)
        console.table([("", entry.line), ("needs", entry.needs), ("gives", entry.gives)])
    console.line("")
    console.line("decoupe fit ROOM --help shows the options of one")


DEMO = Verb(
    "demo", "built-in images: fit, segment, score, report, then what to do next", "[--out DIR] [--minutes M]",
    demo_flags, demo_run,
)  # fmt: skip
METHODS = Verb("methods", "the methods and what each needs", "", methods_flags, methods_run)
