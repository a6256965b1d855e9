"""`decoupe count RUN IMAGE`."""

from __future__ import annotations

import argparse
from typing import Any

from decoupe import console
from decoupe.cli.parser import Parser, Verb, filled
from decoupe.cli.photos import largest, left_out, size_flag

WIDTH = 40
"""Characters of the longest bar of the histogram."""


def flags(parser: Parser) -> None:
    """Arguments of `count`."""
    add = parser.add_argument
    add("run", metavar="RUN", type=filled("RUN"), help="run folder that `decoupe fit independence --task cluster` made")
    add("path", metavar="IMAGE", type=filled("IMAGE"), help="image: file, folder, glob or CSV manifest")
    add("--json", metavar="FILE", type=filled("--json"), help="write counts, sizes and their histogram to FILE")
    size_flag(parser)


def run(given: argparse.Namespace) -> None:
    """Count, then say how many, how sure, and how large."""
    from decoupe.counting import count

    with console.counting("images") as progress:
        found = count(given.run, given.path, given.json, progress=progress, max_pixels=largest(given))
    left_out(found["problems"])
    images = found["images"]
    console.table([_row(one) for one in images])
    if len(images) == 1:
        for text in bars(images[0]["histogram"]):
            console.line(text)
    else:
        console.line(f"{found['total']:,} things in {len(images):,} images")
    if given.json:
        console.line(f"look   {given.json}")


def _row(one: dict[str, Any]) -> tuple[str, str, str]:
    size = "" if one["median_diameter_px"] is None else f"median {one['median_diameter_px']:.0f} px across"
    return one["image"], f"{one['count']:,} +- {one['uncertainty']:.1f}", size


def bars(histogram: dict[str, list[float]]) -> list[str]:
    """The histogram of sizes as lines of text."""
    edges, numbers = histogram["edges_px"], histogram["things"]
    most = max(numbers, default=0)
    return [
        f"  {low:6.0f} - {high:.0f} px  {'#' * round(WIDTH * number / most)} {int(number)}"
        for low, high, number in zip(edges, edges[1:], numbers, strict=False)
        if most
    ]


VERB = Verb("count", "how many things an image shows, and how sure that is", "RUN IMAGE [--json FILE]", flags, run)
