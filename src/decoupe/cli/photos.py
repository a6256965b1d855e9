"""What verbs that read images share: the limit of their size, and the list of those that were left out."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping

from decoupe import console
from decoupe.cli.parser import Parser, whole


def size_flag(parser: Parser, does: str = "leave out larger images") -> None:
    """Add `--max-pixels`; `does`: what the verb does with larger ones."""
    flag = "--max-pixels"
    parser.add_argument(flag, metavar="N", type=whole(flag, 1), help=f"{does} (default: 178,956,970)")


def largest(given: argparse.Namespace) -> int:
    """Pixels of the largest image that is read."""
    from decoupe.data.decode import MAX_PIXELS

    return int(given.max_pixels or MAX_PIXELS)


def left_out(problems: Iterable[Mapping[str, str]]) -> None:
    """One line for each image that was not used, with the reason."""
    for problem in problems:
        console.line(f"  {problem['path']}   {problem['reason']}   left out")
