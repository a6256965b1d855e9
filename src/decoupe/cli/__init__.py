"""The command line: the table of verbs, and how errors become one line and an exit code.

Exit codes: 0 done, 1 failed or stopped, 2 wrong usage. Nothing here imports torch or numpy: verbs do when they run.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from decoupe import __version__, console
from decoupe.cli import (
    bench,
    count,
    crf,
    data,
    distill,
    doctor,
    embed,
    evaluate,
    export,
    fit,
    imagine,
    refine,
    remove,
    reproduce,
    review,
    segment,
    serve,
    start,
)
from decoupe.cli.parser import Verb, unknown
from decoupe.errors import Fault, Interrupted, UsageFault

VERBS: dict[str, Verb] = {
    verb.name: verb
    for verb in (
        start.DEMO,
        start.METHODS,
        data.CHECK,
        data.SYNTH,
        data.PACK,
        fit.VERB,
        distill.VERB,
        refine.VERB,
        segment.SEGMENT,
        segment.NAME,
        crf.FIT,
        count.VERB,
        remove.VERB,
        imagine.VERB,
        evaluate.EVALUATE,
        evaluate.COMPARE,
        embed.VERB,
        evaluate.REPORT,
        review.VERB,
        export.VERB,
        serve.VERB,
        doctor.VERB,
        reproduce.REPRODUCE,
        bench.VERB,
    )
}
"""Every verb, in the order of `decoupe --help`."""

GROUPS = {name.split()[0] for name in VERBS if " " in name}


def help_text() -> str:
    """What `decoupe --help` prints."""
    rows = [f"  {verb.name:<12}{verb.line}" for verb in VERBS.values()]
    head = [f"decoupe {__version__}: segment images without pixel labels", "", "usage: decoupe VERB ...", ""]
    tail = ["", "decoupe VERB --help shows the options of one. The first thing to run: decoupe demo"]
    return "\n".join([*head, *rows, *tail])


def find_verb(words: Sequence[str]) -> tuple[Verb, list[str]]:
    """The verb that `words` begin with and the words after it. UsageFault if there is none."""
    name, rest = words[0], list(words[1:])
    if name in GROUPS:
        within = [known.split()[1] for known in VERBS if known.startswith(f"{name} ")]
        if not rest or rest[0].startswith("-"):
            raise UsageFault(f"decoupe {name} {'|'.join(within)}", "neither", f"see decoupe {name} {within[0]} --help")
        if f"{name} {rest[0]}" not in VERBS:
            raise unknown(f"decoupe {name} {'|'.join(within)}", rest[0], within, "decoupe --help")
        name, rest = f"{name} {rest[0]}", rest[1:]
    if name not in VERBS:
        raise unknown("a verb", name, [*VERBS, *GROUPS], "decoupe --help")
    return VERBS[name], rest


def run(words: Sequence[str]) -> None:
    """Do what the command line says."""
    shown = [word for word in words if word != "--debug"]
    if not shown or shown[0] in ("-h", "--help", "help"):
        console.raw(help_text())
        return
    if shown[0] in ("-V", "--version"):
        console.line(f"decoupe {__version__}")
        return
    verb, rest = find_verb(shown)
    given = verb.read(rest) if verb.read is not None else verb.parser().read(rest)
    if given.help:
        console.raw(getattr(given, "text", None) or verb.parser().format_help())
        return
    verb.run(given)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (default: this process's) and return the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        run(words)
        return 0
    except BrokenPipeError:
        _close_output()
        return 1
    except KeyboardInterrupt:
        console.line("^C stopped", sys.stderr)
        return 1
    except Interrupted as stop:
        console.line(f"^C {stop}", sys.stderr)
        return 1
    except Exception as failure:
        if "--debug" in words:
            raise
        code, text = explain(failure)
        console.error(text)
        return code


def explain(failure: Exception) -> tuple[int, str]:
    """Exit code and the line of an exception."""
    if isinstance(failure, Fault):
        return failure.code, str(failure)
    if isinstance(failure, MemoryError):
        return 1, "expected enough memory, got none left; use a smaller --size or --batch"
    if isinstance(failure, OSError):
        where = f" for {failure.filename}" if failure.filename else ""
        return (
            1,
            f"expected the system to allow it, got {failure.strerror or failure}{where}; check path, rights and space",
        )
    kind = f"{type(failure).__name__}: {failure}"
    return 1, f"expected decoupe to work, got a defect of it ({kind}); add --debug and report what it prints"


def _close_output() -> None:
    """The reader of our output has gone: let nothing be written at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
