"""`decoupe distill RUN --run NEW`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from decoupe import console
from decoupe.cli.fit import room_help, room_options
from decoupe.cli.parser import Parser, Verb, filled, number, one_of, whole
from decoupe.errors import UsageFault
from decoupe.methods import ROOMS

LINE = "train a small fast network on a run's masks, sharpened"
GIVEN = ("images", "size", "rounds", "seed", "precision")
"""Settings that a run keeps: on --resume they are read from it."""
FILLED_IN = ("teacher", "digest", "names")
"""Fields of the student's Config that come from RUN."""


def flags(parser: Parser) -> None:
    """Arguments of `distill`; the other settings of the room `student` are read as `fit` reads a room's."""
    add, rounds = parser.add_argument, ROOMS["student"].config()().rounds
    add("teacher", metavar="RUN", type=filled("RUN"), help="run folder with masks, of any method")
    add("--run", metavar="NEW", type=filled("--run"), help="the new run (default: runs/student-1, -2, ...)")
    add("--images", metavar="PATH", type=filled("--images"), help="photos to learn on (default: those of RUN)")
    add("--size", metavar="PX", type=whole("--size", 32, 512), help="side of the student's images (default: RUN's)")
    add("--images-seen", metavar="N", type=whole("--images-seen", 1), help="stop after N images")
    add(
        "--minutes",
        metavar="M",
        type=number("--minutes", 1e-3, 1e6),
        help="stop after M minutes; the first limit counts",
    )
    add(
        "--rounds",
        metavar="R",
        type=whole("--rounds", 1, 16),
        help=f"rounds, each of --round-images images (default: {rounds})",
    )
    add("--seed", metavar="S", type=whole("--seed", 0, 2**31 - 1), help="seed of everything random (default: 0)")
    add(
        "--precision",
        metavar="bf16|fp32",
        type=one_of("--precision", ("bf16", "fp32")),
        help="arithmetic of the student (default: whichever a short measurement finds faster)",
    )
    add("--resume", action="store_true", help="go on with the run at --run, with its recorded settings")


def read(arguments: Sequence[str]) -> argparse.Namespace:
    """Arguments of `distill` and further options of the room `student`; UsageFault on misuse."""
    parser = VERB.parser()
    if "-h" in arguments or "--help" in arguments:
        return argparse.Namespace(help=True, text=f"{parser.format_help()}\noptions of the student:\n{student_help()}")
    given, extra = parser.parse_known_args(arguments)
    given.options = room_options(parser, "student", None, extra)
    for name in FILLED_IN:
        if name in given.options:
            raise UsageFault("the teacher as RUN", f"--{name}", "write decoupe distill RUN --run NEW")
    return given


def student_help() -> str:
    """The options of the room `student` that are not filled in by RUN or listed among the shared ones."""
    return room_help("student", (*FILLED_IN, "size", "rounds"))


def run(given: argparse.Namespace) -> None:
    """Train the student, then say where it is and what to do next."""
    reporter = console.reporter()
    try:
        from decoupe.distill import distill
        from decoupe.fit import shell_command

        ignored = [f"--{name}" for name in GIVEN if getattr(given, name) is not None]
        ignored += [f"--{name.replace('_', '-')}" for name in given.options]
        if given.resume and ignored:
            told = ", ".join(ignored)
            reporter.note(f"resuming with the settings recorded in {given.run}; not read again: {told}")
        options = given.options | ({} if given.rounds is None else {"rounds": given.rounds})
        model = distill(
            given.teacher, run=given.run, images=given.images, size=given.size, images_seen=given.images_seen,
            minutes=given.minutes, seed=given.seed or 0, resume=given.resume, command=shell_command(),
            reporter=reporter, precision=given.precision, **options,
        )  # fmt: skip
    finally:
        if isinstance(reporter, console.Bars):
            reporter.close()
    console.line(f"look   {model.run.path}/report.html")
    console.following("segment", model.run.path, "NEW_PHOTOS", "--out", "masks", note=f"{given.teacher} is not needed")


VERB = Verb("distill", LINE, "RUN --run NEW [--images PATH] [--rounds R] [student options]", flags, run, read=read)
