"""`decoupe doctor`."""

from __future__ import annotations

import argparse

from decoupe import console
from decoupe.cli.parser import Parser, Verb


def flags(parser: Parser) -> None:
    """No arguments."""


def run(given: argparse.Namespace) -> None:
    """Print the block; lines that begin with `!` want mending."""
    from decoupe.doctor import rows

    trouble = 0
    for name, finding in rows():
        trouble += name == "!"
        console.line(f"! {finding}" if name == "!" else f"{name:<17} {finding}")
    console.line("nothing to mend" if not trouble else f"{trouble} to mend: lines that begin with !")


VERB = Verb("doctor", "what this machine has, as a block to paste into a question", "", flags, run)
