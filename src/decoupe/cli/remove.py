"""`decoupe remove RUN IMAGE --layer NAME --out FILE`."""

from __future__ import annotations

import argparse

from decoupe import console
from decoupe.cli.parser import Parser, Verb, filled


def flags(parser: Parser) -> None:
    """Arguments of `remove`."""
    add = parser.add_argument
    add("run", metavar="RUN", type=filled("RUN"), help="run folder of a room that finds layers (layer_disposal)")
    add("image", metavar="IMAGE", type=filled("IMAGE"), help="the photo")
    add("--layer", metavar="NAME", type=filled("--layer"), required=True, help="the layer to take away, or its number")
    add("--out", metavar="FILE", type=filled("--out"), required=True, help="PNG, JPEG, TIFF or NPY to write")
    add(
        "--as-rebuilt",
        action="store_true",
        help="leave the colours of what lies behind as they were rebuilt (default: shifted to continue the photo)",
    )


def run(given: argparse.Namespace) -> None:
    """Take a layer away, then say how much of the photo changed."""
    from decoupe.layers import remove

    done = remove(given.run, given.image, given.layer, given.out, seamless=not given.as_rebuilt)
    console.line(f"{done['out']}: without {done['layer']}; {done['changed']:.1%} of the photo's pixels were rebuilt")


VERB = Verb("remove", "a photo without one of its layers", "RUN IMAGE --layer NAME --out FILE", flags, run)
