"""`decoupe review RUN`."""

from __future__ import annotations

import argparse

from decoupe import console
from decoupe.cli.parser import Parser, Verb, filled, whole


def flags(parser: Parser) -> None:
    """Arguments of `review`."""
    add = parser.add_argument
    add("run", metavar="RUN", type=filled("RUN"), help="run folder that `decoupe fit` made")
    add(
        "--images",
        metavar="PATH",
        type=filled("--images"),
        help="photos to review: folder, glob, file, CSV manifest or NAME:PATH (default: those it learned from)",
    )
    add(
        "--port", metavar="P", type=whole("--port", 1, 65535), help="port on 127.0.0.1 (default: 8642, or any free one)"
    )


def run(given: argparse.Namespace) -> None:
    """Serve the page until Ctrl-C."""
    from decoupe.review import review

    def ready(link: str) -> None:
        console.line(f"look   {link}")
        console.line(
            "       on this machine only; Ctrl-C ends it, everything decided is kept in the run's folder review/"
        )

    review(given.run, given.images, given.port, ready)
    console.line("ended; go on later with the same command")


VERB = Verb(
    "review", "see, name, judge and mend what a run found, in the browser", "RUN [--images PATH] [--port P]", flags, run
)
