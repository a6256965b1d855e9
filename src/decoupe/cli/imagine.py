"""`decoupe imagine RUN --out DIR`."""

from __future__ import annotations

import argparse

from decoupe import console
from decoupe.cli.parser import Parser, Verb, filled, number, one_of, whole
from decoupe.errors import UsageFault

STEP = 0.1
"""Step of a walk, unless told otherwise."""


def flags(parser: Parser) -> None:
    """Arguments of `imagine`."""
    add = parser.add_argument
    add("run", metavar="RUN", type=filled("RUN"), help="run folder of `decoupe fit scene_vae`, a model of images too")
    add("--out", metavar="DIR", type=filled("--out"), required=True, help="new folder: images/, masks/, classes.txt")
    add("--n", metavar="N", type=whole("--n", 1, 10**7), help="pairs of an image and its mask (default: 16)")
    add("--mask", metavar="FILE", type=filled("--mask"), help="imagine images for this mask of the run's classes")
    add("--tags", metavar="NAMES", type=filled("--tags"), help="imagine scenes with just these classes: cat,person")
    add("--walk", metavar="N", type=whole("--walk", 2, 10**7), help="a random walk in the latent space of N pairs")
    add("--step", metavar="S", type=number("--step", 1e-4, 1), help=f"length of a walk's steps (default: {STEP})")
    add(
        "--from",
        dest="start",
        metavar="data|prior",
        type=one_of("--from", ("data", "prior")),
        help="without mask and tags: around the scenes that were learned (default), or from N(0, I)",
    )
    add("--seed", metavar="S", type=whole("--seed", 0, 2**31 - 1), default=0, help="seed of the draws (default: 0)")


def run(given: argparse.Namespace) -> None:
    """Imagine, then say what was written."""
    if given.walk is not None and given.n is not None:
        raise UsageFault("--n or --walk", "both", "leave out one: a walk of N has N pairs")
    if given.step is not None and given.walk is None:
        raise UsageFault("--walk N with --step", "none", "add it, or leave out --step")
    if given.start is not None and (given.mask or given.tags):
        raise UsageFault("--from without --mask and --tags", "both", "leave out --from: the latent is inferred")
    from decoupe.imagine import imagine

    tags = None if given.tags is None else [part for part in given.tags.split(",") if part.strip()]
    with console.counting("pairs") as progress:
        done = imagine(
            given.run, given.out, given.walk or given.n or 16, mask=given.mask, tags=tags, start=given.start or "data",
            walk=(given.step or STEP) if given.walk is not None else None, seed=given.seed, progress=progress,
        )  # fmt: skip
    observed = f"given {' and '.join(done['observed'])}" if done["observed"] else "nothing given"
    console.line(f"{done['n']:,} pairs, {observed}")
    console.line(f"look   {done['out']}/overview.png")
    console.following("fit", "scene_vae", "--model", "unet", "--images", done["out"], "--masks", f"{done['out']}/masks")


VERB = Verb(
    "imagine",
    "new images with their masks",
    "RUN --out DIR [--n N | --walk N] [--mask FILE] [--tags NAMES]",
    flags,
    run,
)
