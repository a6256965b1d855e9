"""`decoupe reproduce TABLE`: the tables of the source texts, our figure beside theirs."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from decoupe import console
from decoupe.cli.evaluate import layout
from decoupe.cli.parser import Parser, Verb, filled, one_of, unknown, whole
from decoupe.errors import UsageFault
from decoupe.reproduce import SCALES, TABLES
from decoupe.reproduce.sheet import sheet, verdict

GIVEN = ("photos", "tags", "weights")
"""What tables of rooms that learn from tags, or through a network, may be given."""


def flags(parser: Parser) -> None:
    """Arguments of `reproduce`."""
    add = parser.add_argument
    add("table", metavar="TABLE", nargs="?", type=filled("TABLE"), help="a table; --list names them")
    add("--list", action="store_true", help="name the tables, what each answers and where it stands")
    add(
        "--data",
        metavar="NAME:PATH",
        type=layout("--data"),
        help="labelled images: trained on without labels (val and test left out), scored on the test split",
    )
    add(
        "--scale",
        metavar="|".join(SCALES),
        type=one_of("--scale", SCALES),
        default=SCALES[0],
        help="cpu: small networks and images; paper: the text's settings (default: cpu)",
    )
    add(
        "--out",
        metavar="DIR",
        type=filled("--out"),
        help="the study's folder; tables in one folder share their runs (default: runs/reproduce/SCALE)",
    )
    add("--seeds", metavar="N", type=whole("--seeds", 1, 1000), help="runs of each row (default: the row's own)")
    add(
        "--images-seen",
        metavar="N",
        type=whole("--images-seen", 1),
        help="length of each run (default: the table's, else the preset's of the scale)",
    )
    add("--size", metavar="PX", type=whole("--size", 32, 4096), help="side of the images (default: the preset's)")
    add(
        "--labelled",
        metavar="N",
        type=whole("--labelled", 1),
        help="images that get a label, in tables of nearest neighbours (default: the table's, 200)",
    )
    add("--protocol", metavar="P", type=filled("--protocol"), help="which classes count (default: the layout's)")
    add(
        "--photos",
        metavar="PATH",
        type=filled("--photos"),
        help="in tables of tags: photos to train on in place of those of --data",
    )
    add("--tags", metavar="FILE", type=filled("--tags"), help="their tags (default: those of the layout of --data)")
    add(
        "--weights",
        metavar="FILE",
        type=filled("--weights"),
        help="in tables of tags: the backbone's first weights; in layers-projected NAME:FILE of the network that it "
        "looks through",
    )
    add("--json", metavar="FILE", type=filled("--json"), help="write the rows here too")


def run(given: argparse.Namespace) -> None:
    """List the tables, or run one and print it."""
    if given.list:
        if given.table is not None:
            raise UsageFault("decoupe reproduce --list alone", repr(given.table), "leave out one of them")
        show_list()
        return
    if given.table is None:
        raise UsageFault("a table", "none", "see decoupe reproduce --list")
    if given.table not in TABLES:
        raise unknown("a table", given.table, list(TABLES), "decoupe reproduce --list")
    if given.data is None:
        raise UsageFault(
            "--data NAME:PATH",
            "none",
            "give --data flowers17:PATH or flowers102:PATH, or synth:PATH of built-in images",
        )
    content = _reproduce(given)
    if given.json is not None:
        from decoupe.engine.files import dump_json, write_atomic

        write_atomic(Path(given.json), dump_json(content))
    show(content)
    console.line(f"look   {_folder(given) / given.table / 'report.html'}")


def show_list() -> None:
    """One block per table."""
    for table in TABLES.values():
        rows = ", ".join(row.name for row in table.rows)
        console.line(table.name)
        console.table([("", table.line), ("from", table.source), ("rows", rows)])
    console.line("")
    console.line("decoupe reproduce TABLE --data flowers17:PATH runs one; tables in one --out share their runs")


def _folder(given: argparse.Namespace) -> Path:
    return Path(given.out) if given.out is not None else Path("runs/reproduce") / given.scale


def _reproduce(given: argparse.Namespace) -> dict[str, Any]:
    from decoupe.reproduce.study import command_line, reproduce

    named = ("scale", "out", "seeds", "images_seen", "size", "labelled", "protocol", *GIVEN, "json")
    again = command_line(given.table, given.data, **{name: getattr(given, name) for name in named})
    reporter = console.reporter()
    try:
        return reproduce(
            given.table, given.data, scale=given.scale, out=given.out, seeds=given.seeds,
            images_seen=given.images_seen, size=given.size, labelled=given.labelled, protocol=given.protocol,
            given={name: getattr(given, name) for name in GIVEN if getattr(given, name) is not None},
            command=again, reporter=reporter, counting=console.counting,
        )  # fmt: skip
    finally:
        if isinstance(reporter, console.Bars):
            reporter.close()


def show(content: Mapping[str, Any]) -> None:
    """Our figures beside the text's, what they rest on, and which conclusions hold."""
    found = sheet(content)
    names = ["", *(row[0] for row in found.rows)]
    rows = [["" if row[0] == before else row[0], *row[1:]] for before, row in zip(names, found.rows, strict=False)]
    console.table([found.head, *rows])
    for note in found.notes:
        console.line(f"  {note}")
    for claim in content["claims"]:
        console.line(f"  {verdict(claim['holds']):<15}{claim['claim']}")
        if why := claim.get("why"):
            console.line(f"  {'':<15}{why}")
    console.line(f"  {content['about']}")
    console.line(f"  {content['trained_on']}")
    if words := (content.get("length") or {}).get("words"):
        console.line(f"  {words}")


REPRODUCE = Verb(
    "reproduce", "a table of a source text: our figure beside theirs",
    "TABLE --data NAME:PATH [--scale cpu|paper] [--out DIR] [--seeds N] [--images-seen N] [--size PX] "
    "[--labelled N] [--protocol P] [--photos PATH --tags FILE] [--weights FILE] [--json FILE] | --list",
    flags, run,
)  # fmt: skip
