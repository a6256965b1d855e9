"""`decoupe data check PATH`, `decoupe data synth --out DIR`, `decoupe data pack PATH --out DIR`."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from decoupe import console
from decoupe.cli.parser import Parser, Verb, filled, one_of, whole
from decoupe.cli.photos import largest, size_flag
from decoupe.errors import Fault, UsageFault
from decoupe.methods import ROOMS

KINDS = ("scenes", "objects", "cluster", "aerial")


def check_flags(parser: Parser) -> None:
    """Arguments of `data check`."""
    add = parser.add_argument
    add("path", metavar="PATH", type=filled("PATH"), help="images: folder, glob, file, CSV manifest or NAME:PATH")
    size_flag(parser, "name larger images")


def check_run(given: argparse.Namespace) -> None:
    """Read every file once; name each one that is broken or odd, and what happens to it."""
    from decoupe.data.checks import survey
    from decoupe.data.prepare import items_of

    items = items_of(given.path)
    with console.counting("files") as progress:
        found = survey(items, max_pixels=largest(given), progress=progress)
    console.line(found.sentence())
    console.table([(p.path, p.reason, "kept" if p.kept else "skipped") for p in found.problems])
    if not found.items:
        raise Fault("at least one usable image", "none", "see the reasons above")
    console.line(f"rooms: {', '.join(ROOMS)} (decoupe methods says what each needs)")
    console.following("fit", next(iter(ROOMS)), "--images", given.path)


def synth_flags(parser: Parser) -> None:
    """Arguments of `data synth`."""
    add = parser.add_argument
    add("--out", metavar="DIR", type=filled("--out"), required=True, help="a new or empty folder")
    add("--n", metavar="N", type=whole("--n", 1, 10**7), default=200, help="images (default: 200)")
    add(
        "--kind",
        metavar="KIND",
        type=one_of("--kind", KINDS),
        default="objects",
        help=f"{', '.join(KINDS)} (default: objects)",
    )
    add("--size", metavar="PX", type=whole("--size", 32, 8192), default=64, help="side in pixels (default: 64)")
    add("--seed", metavar="S", type=whole("--seed", 0, 2**31 - 1), default=0, help="seed (default: 0)")
    add("--channels", metavar="C", type=whole("--channels", 1, 64), help="bands (default: 3; aerial 4)")


def synth_run(given: argparse.Namespace) -> None:
    """Write images with their exact truth."""
    from decoupe.data.synthetic import write

    out = Path(given.out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageFault("--out to be a new or empty folder", f"{out} with content", "choose another name")
    write(out, given.kind, given.n, given.size, given.seed, channels=given.channels)
    console.line(f"{given.n:,} {given.kind}, {given.size} px, with masks, layers, boxes and tags in {out}/")
    console.following("fit", "independence", "--images", f"{out}/images")
    console.line(f"       decoupe evaluate RUN --data {shlex.quote(f'synth:{out}')}")


def pack_flags(parser: Parser) -> None:
    """Arguments of `data pack`."""
    add = parser.add_argument
    add("path", metavar="PATH", type=filled("PATH"), help="images: folder, glob, file, CSV manifest or NAME:PATH")
    add("--out", metavar="DIR", type=filled("--out"), required=True, help="a new or empty folder for the shards")
    add(
        "--shard-mb",
        metavar="MB",
        type=whole("--shard-mb", 1, 100_000),
        default=256,
        help="size of a shard in megabytes (default: 256)",
    )


def pack_run(given: argparse.Namespace) -> None:
    """Write tar shards that every command reads like a folder."""
    from decoupe.data.pack import pack
    from decoupe.data.prepare import items_of

    items = items_of(given.path)
    with console.counting("images") as progress:
        done = pack(items, Path(given.out), given.shard_mb * 1_000_000, progress)
    console.table([(p.path, p.reason, "left out") for p in done.problems])
    console.line(f"{done.images:,} images in {len(done.shards):,} shard{'s' * (len(done.shards) != 1)} in {given.out}/")
    console.following("fit", next(iter(ROOMS)), "--images", given.out)


CHECK = Verb("data check", "read every image once and name what is broken or odd", "PATH", check_flags, check_run)
SYNTH = Verb(
    "data synth", "make built-in images with exact masks, layers, boxes, tags",
    "--out DIR [--n N] [--kind KIND] [--size PX] [--seed S]", synth_flags, synth_run,
)  # fmt: skip
PACK = Verb(
    "data pack", "copy images into tar shards, for very many small files", "PATH --out DIR [--shard-mb MB]",
    pack_flags, pack_run,
)  # fmt: skip
