"""`decoupe fit ROOM`: the options of every fit here, those of the room from its Config."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, get_type_hints

from decoupe import console
from decoupe.cli.parser import Parser, Verb, filled, number, one_of, unknown, whole
from decoupe.cli.photos import size_flag
from decoupe.errors import Fault, UsageFault
from decoupe.methods import ROOMS

if TYPE_CHECKING:
    from decoupe.engine.progress import Reporter

LINE = "train a method on images without pixel labels"
USAGE = "ROOM --images PATH [--split train] [--run DIR] [--minutes M] [room options]"
RECORDED = (
    *("images", "split", "tags", "boxes", "backgrounds"),
    *("seed", "preset", "precision", "max_pixels", "restarts"),
)
"""Settings that a run keeps: on --resume they are read from it."""


def flags(parser: Parser) -> None:
    """The options that every room shares."""
    add = parser.add_argument
    add(
        "--images",
        metavar="PATH",
        type=filled("--images"),
        help="folder, glob, file, CSV manifest, or NAME:PATH of a known layout (its labels are not read)",
    )
    add(
        "--split",
        metavar="NAME",
        type=filled("--split"),
        help="of NAME:PATH: train leaves out its val and test images, or a split by name (default: all images)",
    )
    add(
        "--tags",
        metavar="FILE",
        type=filled("--tags"),
        help="what is in each photo, for rooms that learn from that: CSV (image,tags), or NAME:PATH of a layout",
    )
    add(
        "--boxes",
        metavar="FILE",
        type=filled("--boxes"),
        help="boxes around the objects: CSV, COCO JSON, CUB or CelebA list; each box becomes one training image",
    )
    add(
        "--backgrounds",
        metavar="PATH",
        type=filled("--backgrounds"),
        help="images without the object; without it they are taken from the photos, and the log says how",
    )
    drawn = "few pixels drawn, 255 elsewhere: after training they name the regions and correct them, as refine does"
    add("--scribbles", metavar="DIR", type=filled("--scribbles"), help=drawn)
    add("--run", metavar="DIR", type=filled("--run"), help="run folder (default: runs/ROOM-1, -2, ...)")
    add("--images-seen", metavar="N", type=whole("--images-seen", 1), help="stop after N images")
    add(
        "--minutes",
        metavar="M",
        type=number("--minutes", 1e-3, 1e6),
        help="stop after M minutes; the first limit counts",
    )
    add("--seed", metavar="S", type=whole("--seed", 0, 2**31 - 1), help="seed of everything random (default: 0)")
    add(
        "--seeds",
        metavar="N",
        type=whole("--seeds", 1, 10_000),
        help="N runs with the seeds S, S+1, ... in the folders RUN-sS, ...; the same command again goes on with them",
    )
    add("--preset", metavar="NAME", type=filled("--preset"), help="settings by name; other options override it")
    add(
        "--precision",
        metavar="bf16|fp32",
        type=one_of("--precision", ("bf16", "fp32")),
        help="arithmetic of the networks (default: whichever a short measurement finds faster)",
    )
    add(
        "--devices",
        metavar="N",
        type=whole("--devices", 1, 1024),
        default=1,
        help="processes on this machine (default: 1)",
    )
    add(
        "--nodes",
        metavar="N",
        type=whole("--nodes", 1, 65536),
        default=1,
        help="machines; start the command on each by torchrun or Slurm (default: 1)",
    )
    size_flag(parser)
    add(
        "--restarts",
        metavar="N",
        type=whole("--restarts", 0, 1000),
        help="new attempts after a collapse; 0: a collapse ends the run (default: 3)",
    )
    add("--resume", action="store_true", help="go on with the run at --run, with its recorded settings")


def read(arguments: Sequence[str]) -> argparse.Namespace:
    """Room, shared settings and room options from the command line; UsageFault on misuse."""
    parser = Parser("fit", LINE)
    flags(parser)
    wants_help = "-h" in arguments or "--help" in arguments
    plain = [word for word in arguments if word not in ("-h", "--help")]
    given, extra = parser.parse_known_args(plain)
    room = next((word for word in extra if word in ROOMS), None)
    if room is None:
        word = next((word for word in extra if not word.startswith("-")), None)
        if wants_help:
            return argparse.Namespace(help=True, text=help_text(parser, None))
        if word is None:
            raise UsageFault(f"a room ({', '.join(ROOMS)})", "none", "write decoupe fit ROOM --images PATH")
        raise unknown(f"a room ({', '.join(ROOMS)})", word, list(ROOMS), "decoupe methods")
    extra.remove(room)
    parser.verb = f"fit {room}"
    if wants_help:
        return argparse.Namespace(help=True, text=help_text(parser, room))
    given.room, given.options = room, room_options(parser, room, given.preset, extra)
    return given


def help_text(parser: Parser, room: str | None) -> str:
    """What `decoupe fit [ROOM] --help` prints."""
    parser.usage = f"decoupe fit {room or 'ROOM'} --images PATH [options]"
    rooms = "\n".join(f"  {entry.name:<14}{entry.line}" for entry in ROOMS.values())
    text = parser.format_help()
    if room is None:
        return f"{text}\nrooms (decoupe fit ROOM --help shows the options of one):\n{rooms}"
    presets = ", ".join(ROOMS[room].presets()) or "none"
    return f"{text}\noptions of {room} (presets: {presets}):\n{room_help(room)}"


def room_help(room: str, leave_out: Sequence[str] = ()) -> str:
    """The options of a room with their docstrings and defaults, as tyro shows them, without its frame.

    `leave_out`: fields of the Config that are not the user's to set, or are explained elsewhere.
    """
    import tyro

    caught = io.StringIO()
    with contextlib.redirect_stdout(caught), contextlib.suppress(SystemExit):
        tyro.cli(ROOMS[room].config(), args=["--help"], prog=f"decoupe fit {room}", add_help=True)
    body = [text.strip("│|").rstrip() for text in caught.getvalue().splitlines()]
    first = next((i for i, text in enumerate(body) if set(text.strip()) <= {"-", "─", "╭", "╮"} and text.strip()), -1)
    hidden = {"help", *(name.replace("_", "-") for name in leave_out)}
    keep, shown = True, list[str]()
    for text in body[first + 1 :]:
        if found := re.match(r"\s{0,4}(?:-h, )?--([a-z0-9-]+)", text):
            keep = found[1] not in hidden
        if keep:
            shown.append(text)
    return "\n".join(shown)


def preset_of(room: str, name: str | None) -> Any:
    """The room's Config of that name, or its default. UsageFault on an unknown name."""
    if name is None:
        return ROOMS[room].config()()
    presets = ROOMS[room].presets()
    if name not in presets:
        known = ", ".join(presets) or "it has none"
        raise unknown(f"a preset of {room} ({known})", name, list(presets), f"decoupe fit {room} --help")
    return presets[name]


def room_options(parser: Parser, room: str, preset: str | None, words: Sequence[str]) -> dict[str, Any]:
    """The room's options that differ from its preset. UsageFault names the option that is wrong."""
    base = preset_of(room, preset)
    names = [f"--{field.name.replace('_', '-')}" for field in dataclasses.fields(base)]
    switches = [f"--no-{name[2:]}" for name in names if isinstance(getattr(base, _field(name)), bool)]
    known = {*names, *switches}
    parser.refuse([w for w in words if w.startswith("--") and w.split("=")[0] not in known], [*names, *switches])
    if words and not words[0].startswith("--"):
        parser.refuse(words[:1])
    try:
        config = _parse(base, words)
    except SystemExit:
        raise _wrong_option(base, words, room) from None
    except Fault as fault:
        raise UsageFault(fault.expected, fault.got, fault.do) from None
    return {
        field.name: getattr(config, field.name)
        for field in dataclasses.fields(base)
        if getattr(config, field.name) != getattr(base, field.name)
    }


def _field(flag: str) -> str:
    return flag.lstrip("-").split("=")[0].replace("-", "_")


def _parse(base: Any, words: Sequence[str]) -> Any:
    """`base` with the options in `words`, read by tyro; SystemExit, and nothing printed, if it cannot read them."""
    import tyro

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return tyro.cli(type(base), args=list(words), default=base, console_outputs=False, add_help=False)


def _wrong_option(base: Any, words: Sequence[str], room: str) -> UsageFault:
    """Find the one option that cannot be read, by reading each alone."""
    starts = [i for i, word in enumerate(words) if word.startswith("--")]
    hints = get_type_hints(type(base))
    for first, after in zip(starts, [*starts[1:], len(words)], strict=True):
        part = list(words[first:after])
        try:
            _parse(base, part)
        except SystemExit:
            name = part[0].split("=")[0]
            got = part[0].partition("=")[2] or " ".join(part[1:])
            words_for = _in_words(hints[_field(name)]) if _field(name) in hints else "nothing"
            return UsageFault(f"{name} {words_for}", repr(got) if got else "none", f"see decoupe fit {room} --help")
        except Fault as fault:
            return UsageFault(fault.expected, fault.got, fault.do)
    return UsageFault(f"options of {room}", " ".join(words), f"see decoupe fit {room} --help")


def _in_words(hint: Any) -> str:
    """A type as the user should read it."""
    names = {int: "a whole number", float: "a number", str: "a text", bool: "(no value)", type(None): "None"}
    if hint in names:
        return names[hint]
    parts = [part for part in getattr(hint, "__args__", ()) if part is not Ellipsis]
    if all(isinstance(part, str) for part in parts):
        return "|".join(parts)
    return " or ".join(_in_words(part) for part in parts) if parts else str(hint)


def run(given: argparse.Namespace) -> None:
    """Train, then say where the result is and what to do next."""
    if given.resume and given.run is None:
        raise UsageFault("--run DIR with --resume", "none", "name the run to go on with")
    if not given.resume and given.images is None:
        raise UsageFault("--images PATH", "none", "name a folder of photos, a glob, a CSV manifest or NAME:PATH")
    _check_nodes(given.nodes)
    if given.seeds is not None:
        _check_seeds(given)
    if given.scribbles is not None:
        _check_scribbles(given)
    reporter = console.reporter()
    try:
        if given.resume:
            _say_what_is_ignored(given, reporter)
        from decoupe.engine.keeper import RESTARTS
        from decoupe.engine.launch import world
        from decoupe.fit import fit, shell_command

        shared: dict[str, Any] = dict(
            run=given.run, split=given.split, tags=given.tags, boxes=given.boxes, backgrounds=given.backgrounds,
            images_seen=given.images_seen, minutes=given.minutes, seed=given.seed or 0, preset=given.preset,
            precision=given.precision, devices=given.devices, max_pixels=given.max_pixels,
            command=shell_command(), reporter=reporter,
            restarts=RESTARTS if given.restarts is None else given.restarts, **given.options,
        )  # fmt: skip
        if given.seeds is not None:
            from decoupe.seeds import fit_seeds

            _show_seeds(given.run, fit_seeds(given.room, given.images, seeds=given.seeds, **shared))
            return
        if given.scribbles is not None:
            from decoupe.scribbled import fit_scribbled

            shared |= {"scribbles": given.scribbles}
            model = fit_scribbled(given.room, given.images, resume=given.resume, **shared)
        else:
            model = fit(given.room, given.images, resume=given.resume, **shared)
    finally:
        if isinstance(reporter, console.Bars):
            reporter.close()
    if not world().first:
        return
    report = model.run.path / "report.html"
    console.line(f"look   {report if report.exists() else model.run.path}")
    console.following("segment", model.run.path, "NEW_PHOTOS", "--out", "masks")


def _check_seeds(given: argparse.Namespace) -> None:
    if given.resume:
        raise UsageFault("--seeds without --resume", "both", "repeat the same command: it goes on with its runs")
    if given.run is None:
        raise UsageFault("--run NAME with --seeds", "none", "name the runs: NAME-s0, NAME-s1, ... are made")
    if given.nodes > 1:
        raise UsageFault("--seeds on one machine", f"--nodes {given.nodes}", "leave --nodes out")


def _check_scribbles(given: argparse.Namespace) -> None:
    if given.seeds is not None:
        raise UsageFault("--scribbles or --seeds", "both", "repeat the command with another --seed and --run")
    if given.run is None:
        raise UsageFault("--run DIR with --scribbles", "none", "name the run: DIR and DIR-unlabelled are made")
    if given.nodes > 1:
        raise UsageFault("--scribbles on one machine", f"--nodes {given.nodes}", "leave --nodes out")


def _show_seeds(run: str, content: dict[str, Any]) -> None:
    """The table of a study over seeds."""
    from decoupe.seeds import lines

    rows, sentences = lines(content)
    console.table(rows)
    for sentence in sentences:
        console.line(f"  {sentence}")
    console.line(f"look   {run}-seeds.json, {run}-s*/report.html")


def _say_what_is_ignored(given: argparse.Namespace, reporter: Reporter) -> None:
    names = [name for name in RECORDED if getattr(given, name) is not None] + list(given.options)
    if names:
        flags_given = ", ".join(f"--{name.replace('_', '-')}" for name in names)
        reporter.note(f"resuming with the settings recorded in {given.run}; not read again: {flags_given}")


def _check_nodes(nodes: int) -> None:
    from decoupe.engine.launch import world

    here = world()
    if nodes > 1 and here.nodes != nodes:
        raise UsageFault(
            f"{nodes} machines started together",
            f"{here.nodes}",
            f"run the command on each by torchrun --nnodes {nodes} -m -- decoupe ... or by Slurm",
        )


VERB = Verb("fit", LINE, USAGE, flags, run, read=read)
