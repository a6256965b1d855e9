"""`decoupe crf fit RUN`: parameters of the dense CRF from a few masks."""

from __future__ import annotations

import argparse

from decoupe import console
from decoupe.cli.evaluate import layout
from decoupe.cli.parser import Parser, Verb, filled, unknown, whole
from decoupe.cli.segment import CRFS
from decoupe.errors import UsageFault

FIELDS = ("appearance", "appearance_sxy", "srgb", "smoothness", "smoothness_sxy")
START = "krahenbuhl"


def values(text: str) -> tuple[str, tuple[float, ...]]:
    """Reader of `--grid srgb=3,7,13`."""
    name, equals, rest = text.partition("=")
    if name not in FIELDS:
        raise unknown(f"--grid of {', '.join(FIELDS)}", name, FIELDS, "decoupe crf fit --help")
    try:
        found = tuple(float(part) for part in rest.split(",")) if equals else ()
    except ValueError:
        found = ()
    if not found:
        raise UsageFault("--grid FIELD=VALUE,VALUE", repr(text), "write --grid srgb=3,7,13")
    return name, tuple(dict.fromkeys(found))


def preset(text: str) -> str:
    """Reader of `--start PRESET`."""
    if text not in CRFS[1:]:
        raise unknown(f"--start of {', '.join(CRFS[1:])}", text, CRFS[1:], "decoupe crf fit --help")
    return text


def flags(parser: Parser) -> None:
    """Arguments of `crf fit`."""
    add = parser.add_argument
    add("run", metavar="RUN", type=filled("RUN"), help="run folder whose masks the CRF is to sharpen")
    add(
        "--data",
        metavar="NAME:PATH",
        type=layout("--data"),
        required=True,
        help="labelled photos, such as masks:FOLDER; a few are enough",
    )
    add("--out", metavar="FILE", type=filled("--out"), default="crf.json", help="default: crf.json, picture crf.png")
    add(
        "--grid",
        metavar="FIELD=V,V",
        type=values,
        action="append",
        default=[],
        help=f"values to try of {', '.join(FIELDS)} (again for more; default: half, once and twice the appearance "
        "kernel's weight and widths)",
    )
    add("--start", metavar="PRESET", type=preset, default=START, help=f"what --grid leaves out (default: {START})")
    add("--split", metavar="NAME", type=filled("--split"), help="default: train, else val, else as evaluate")
    add(
        "--protocol", metavar="P", type=filled("--protocol"), help="which classes count and how (default: the layout's)"
    )
    add("--images", metavar="N", type=whole("--images", 1, 100_000), default=50, help="photos at most (default: 50)")
    add(
        "--side",
        metavar="PX",
        type=whole("--side", 32, 1 << 14),
        default=512,
        help="photos with a longer side are made smaller for the search, widths with them (default: 512)",
    )


def run(given: argparse.Namespace) -> None:
    """Search, then say what was found and how to use it."""
    from decoupe.crf.fitting import fit_crf
    from decoupe.fit import shell_command

    grid = dict(given.grid)
    if len(grid) < len(given.grid):
        raise UsageFault("each field of --grid once", "one twice", "put its values together: --grid srgb=3,7,13")
    with console.counting("search") as progress:
        found = fit_crf(
            given.run, given.data, given.out, grid=grid or None, start=given.start, split=given.split,
            protocol=given.protocol, images=given.images, side=given.side, command=shell_command(), progress=progress,
        )  # fmt: skip
    shown = ", ".join(f"{name} {found['settings'][name]:g}" for name in FIELDS)
    console.line(f"  best of {len(found['grid'])}: {shown}")
    console.line(
        f"  mean IoU {found['miou']:.3f}, without a CRF {found['before']:.3f}, on the {found['images']:,} labelled "
        f"photos it was chosen on ({found['split']}): no longer label-free"
    )
    console.line(f"look   {given.out.removesuffix('.json')}.png")
    console.following("segment", given.run, "NEW_PHOTOS", "--out", "masks", "--crf", given.out)


FIT = Verb(
    "crf fit", "choose the dense CRF's parameters on a few masks",
    "RUN --data NAME:PATH [--out FILE.json] [--grid FIELD=V,V] [--start PRESET] [--split NAME] [--images N]",
    flags, run,
)  # fmt: skip
