"""`decoupe serve RUN`."""

from __future__ import annotations

import argparse

from decoupe import console
from decoupe.cli.parser import Parser, Verb, filled, whole


def flags(parser: Parser) -> None:
    """Arguments of `serve`."""
    add = parser.add_argument
    add("run", metavar="RUN", type=filled("RUN"), help="run folder with masks")
    add(
        "--images",
        metavar="DIR",
        type=filled("--images"),
        default=".",
        help="the document root of Label Studio's local files; nothing outside is read (default: this folder)",
    )
    add("--port", metavar="P", type=whole("--port", 1, 65535), help="default: 9090, or a free one where that is taken")


def run(given: argparse.Namespace) -> None:
    """Serve until Ctrl-C."""
    from decoupe.serve import Session, serve

    def ready(session: Session) -> None:
        console.line(f"Label Studio, Settings > Model: http://localhost:{session.port}")
        console.line(f"  basic authentication: any user name, password {session.token}")
        console.line("  Ctrl-C ends it; nothing is fetched, nothing outside --images is read")

    serve(given.run, given.images, given.port, ready)


VERB = Verb(
    "serve", "pre-annotations for Label Studio, on this machine only", "RUN [--images DIR] [--port P]", flags, run
)  # fmt: skip
