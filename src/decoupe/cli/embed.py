"""`decoupe embed RUN PATH --out FILE.npz`."""

from __future__ import annotations

import argparse

from decoupe import console
from decoupe.cli.parser import Parser, Verb, filled
from decoupe.cli.photos import largest, left_out, size_flag


def flags(parser: Parser) -> None:
    """Arguments of `embed`."""
    add = parser.add_argument
    add("run", metavar="RUN", type=filled("RUN"), help="run folder that `decoupe fit` made")
    add("path", metavar="PATH", type=filled("PATH"), help="images: folder, glob, file or CSV manifest")
    add(
        "--out",
        metavar="FILE",
        type=filled("--out"),
        required=True,
        help="archive to write: `files` (names) and one float32 (images, length) array per kind of embedding",
    )
    add("--kind", metavar="NAME", type=filled("--kind"), help="one kind of embedding (default: all the room has)")
    size_flag(parser)


def run(given: argparse.Namespace) -> None:
    """Embed, then say what was written and what was left out."""
    from decoupe.embed import embed

    with console.counting("images") as progress:
        done = embed(given.run, given.path, given.out, given.kind, progress=progress, max_pixels=largest(given))
    left_out(done["problems"])
    kinds = ", ".join(f"{name}: {width:,} numbers" for name, width in done["kinds"].items())
    speed = f"{done['images_per_s']:.0f} images/s"
    console.line(f"{done['written']:,} of {done['images']:,} images  {speed}  {done['out']} ({kinds})")


VERB = Verb(
    "embed", "what a run learned about each image, as numbers", "RUN PATH --out FILE.npz [--kind NAME]", flags, run
)
