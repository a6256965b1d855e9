"""Reading command lines: argparse that speaks decoupe's one-line errors and suggests what was probably meant."""

from __future__ import annotations

import argparse
import difflib
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from decoupe.errors import UsageFault


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word most like `word`, if any is like it."""
    by_fold = {name.casefold(): name for name in known}
    found = difflib.get_close_matches(word.casefold(), by_fold, n=1, cutoff=0.6)
    return by_fold[found[0]] if found else None


def unknown(kind: str, word: str, known: Sequence[str], see: str) -> UsageFault:
    """The error for a word that is none of `known`."""
    like = nearest(word, known)
    remedy = f"did you mean {like}? See {see}" if like else f"see {see}"
    return UsageFault(kind, repr(word), remedy)


class Parser(argparse.ArgumentParser):
    """One verb's command line. Every misuse is a UsageFault; abbreviations are not taken."""

    def __init__(self, verb: str, line: str) -> None:
        super().__init__(
            prog=f"decoupe {verb}", description=line, allow_abbrev=False, add_help=False, formatter_class=_Help
        )
        self.verb = verb
        self.add_argument("-h", "--help", action="store_true", help="show this and exit")
        self.add_argument("--debug", action="store_true", help="show where an error arose")

    @property
    def flags(self) -> list[str]:
        """All long options."""
        return [name for action in self._actions for name in action.option_strings if name.startswith("--")]

    def read(self, arguments: Sequence[str]) -> argparse.Namespace:
        """The parsed arguments; UsageFault on anything unexpected."""
        if "-h" in arguments or "--help" in arguments:
            return argparse.Namespace(help=True)
        parsed, extra = self.parse_known_args(arguments)
        self.refuse(extra)
        return parsed

    def refuse(self, extra: Sequence[str], more: Sequence[str] = ()) -> None:
        """UsageFault if any argument is left over; `more` = further options that exist."""
        see = f"decoupe {self.verb} --help"
        for word in extra:
            if word.startswith("-") and word != "-":
                name = word.split("=")[0]
                raise unknown(f"an option of decoupe {self.verb}", name, [*self.flags, *more], see)
        if extra:
            raise UsageFault(f"nothing more after decoupe {self.verb} ...", repr(extra[0]), f"see {see}")

    def error(self, message: str) -> NoReturn:
        """Turn argparse's own complaints into ours."""
        see = f"see decoupe {self.verb} --help"
        if found := re.match(r"the following arguments are required: (.*)", message):
            raise UsageFault(found[1], "none", see)
        if found := re.match(r"argument ([^:]*): expected (at least )?one argument", message):
            raise UsageFault(f"a value after {found[1]}", "none", see)
        if found := re.match(r"argument ([^:]*): ignored explicit argument (.*)", message):
            raise UsageFault(f"{found[1]} alone", found[2], see)
        raise UsageFault(f"a command line for decoupe {self.verb}", message, see)


class _Help(argparse.HelpFormatter):
    """Help as wide as a line of text, options in one column."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=100)


def whole(flag: str, low: int = 0, high: int = 10**12) -> Callable[[str], int]:
    """Reader of a whole number in [low, high]; thousands may be written 10_000 or 10,000."""

    def read(text: str) -> int:
        try:
            value = int(text.replace(",", ""))
        except ValueError:
            raise UsageFault(f"a whole number after {flag}", repr(text), f"write {flag} {max(low, 1)}") from None
        if not low <= value <= high:
            raise UsageFault(f"{flag} between {low:,} and {high:,}", f"{value:,}", "choose one in that range")
        return value

    return read


def number(flag: str, low: float, high: float) -> Callable[[str], float]:
    """Reader of a finite number in [low, high]."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise UsageFault(f"a number after {flag}", repr(text), f"write {flag} 10") from None
        if not math.isfinite(value) or not low <= value <= high:
            raise UsageFault(f"{flag} between {low:g} and {high:,.10g}", text, "choose one in that range")
        return value

    return read


def one_of(flag: str, known: Sequence[str]) -> Callable[[str], str]:
    """Reader of one of `known`."""

    def read(text: str) -> str:
        if text not in known:
            like = nearest(text, known)
            remedy = f"did you mean {like}?" if like else "choose one of these"
            raise UsageFault(f"{flag} {'|'.join(known)}", repr(text), remedy)
        return text

    return read


def filled(flag: str) -> Callable[[str], str]:
    """Reader of a path or name that is not empty."""

    def read(text: str) -> str:
        if not text.strip() or "\0" in text:
            raise UsageFault(f"a path or name after {flag}", repr(text), "write one (is a shell variable empty?)")
        return text

    return read


@dataclass(frozen=True)
class Verb:
    """One row of the table of verbs."""

    name: str
    """As it is typed: `fit`, `data check`."""
    line: str
    """What it does, in one line."""
    usage: str
    """Its arguments, as in the README."""
    flags: Callable[[Parser], None]
    """Adds its arguments to a parser."""
    run: Callable[[argparse.Namespace], None]
    """Does it; the heavy imports are in here."""
    read: Callable[[Sequence[str]], argparse.Namespace] | None = None
    """Reads the arguments itself (fit, whose options depend on the room); None: `parser().read`."""

    def parser(self) -> Parser:
        """Its command line."""
        parser = Parser(self.name, self.line)
        parser.usage = f"decoupe {self.name} {self.usage}"
        self.flags(parser)
        return parser
