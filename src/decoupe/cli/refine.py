"""`decoupe refine RUN --masks DIR|accepted --run NEW`."""

from __future__ import annotations

import argparse

from decoupe import console
from decoupe.cli.parser import Parser, Verb, filled, number, whole


def flags(parser: Parser) -> None:
    """Arguments of `refine`."""
    add = parser.add_argument
    add("source", metavar="RUN", type=filled("RUN"), help="run folder with masks, of any method; it stays as it is")
    add(
        "--masks",
        metavar="DIR",
        type=filled("--masks"),
        help="masks you trust: a folder with images/ and masks/, masks of an annotation tool or of segment, NAME:PATH, "
        "or accepted (those of the review)",
    )
    add(
        "--scribbles",
        metavar="DIR",
        type=filled("--scribbles"),
        help="the same with few pixels drawn and 255 elsewhere; they are spread along the photo's colours",
    )
    add("--run", metavar="NEW", type=filled("--run"), help="the new run (default: runs/ROOM-refined-1, -2, ...)")
    add(
        "--images",
        metavar="PATH",
        type=filled("--images"),
        help="photos on which the run's own masks are kept (default: those of RUN)",
    )
    add("--images-seen", metavar="N", type=whole("--images-seen", 1), help="stop after N images (default: 1,600)")
    add(
        "--minutes",
        metavar="M",
        type=number("--minutes", 1e-3, 1e6),
        help="stop after M minutes; the first limit counts",
    )
    add("--keep", metavar="W", type=number("--keep", 0, 100), help="weight of the run's own masks (default: 0.1)")
    add("--lr", metavar="R", type=number("--lr", 1e-7, 1), help="highest learning rate (default: 0.0005)")
    add("--seed", metavar="S", type=whole("--seed", 0, 2**31 - 1), help="seed of everything random (default: 0)")
    add("--resume", action="store_true", help="go on with the run at --run, with its recorded settings")


def run(given: argparse.Namespace) -> None:
    """Refine, then say where the new run is and what to do next."""
    reporter = console.reporter()
    try:
        from decoupe.fit import shell_command
        from decoupe.refine import refine

        options = {key: value for key in ("keep", "lr") if (value := getattr(given, key)) is not None}
        model = refine(
            given.source, given.masks, scribbles=given.scribbles, run=given.run, images=given.images,
            images_seen=given.images_seen, minutes=given.minutes, seed=given.seed or 0, resume=given.resume,
            command=shell_command(), reporter=reporter, **options,
        )  # fmt: skip
    finally:
        if isinstance(reporter, console.Bars):
            reporter.close()
    console.line(f"look   {model.run.path}/report.html")
    console.following("segment", model.run.path, "NEW_PHOTOS", "--out", "masks")


VERB = Verb(
    "refine", "teach a run a few corrected masks or scribbles", "RUN --masks DIR|accepted --run NEW [--scribbles DIR]",
    flags, run,
)  # fmt: skip
