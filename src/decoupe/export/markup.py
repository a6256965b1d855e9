"""XML without its dangers: text that any parser takes, and a reader that refuses document types."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from decoupe.errors import Fault

_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
DEEPEST = 32
"""Elements inside each other that are still read."""


def legal(text: str) -> bool:
    """Whether XML 1.0 can hold every character."""
    return _ILLEGAL.search(text) is None


def clean(text: str) -> str:
    """`text` with characters that XML cannot hold replaced."""
    return _ILLEGAL.sub("\ufffd", text)


def text(content: str) -> str:
    """Content of an element."""
    return escape(clean(content), {"\r": "&#13;"})


def tag(name: str, attributes: Mapping[str, str | int], closed: bool = True) -> str:
    """`<name a="b"/>`, or `<name a="b">` where not closed."""
    inner = "".join(f" {key}={quoteattr(clean(str(value)))}" for key, value in attributes.items())
    return f"<{name}{inner}{'/' if closed else ''}>"


class _Refused(Exception):
    """Why a file is not read."""


def parse(
    path: Path,
    start: Callable[[tuple[str, ...], dict[str, str]], None],
    end: Callable[[tuple[str, ...], str], None],
) -> None:
    """Read `path`, calling `start(names, attributes)` and `end(names, text)` with the names from the root inwards.

    Fault on a document type, elements too deep, or anything that is not XML.
    """
    names: list[str] = []
    texts: list[list[str]] = []

    def opened(name: str, attributes: dict[str, str]) -> None:
        names.append(name)
        texts.append([])
        if len(names) > DEEPEST:
            raise _Refused("elements nested too deeply")
        start(tuple(names), attributes)

    def closed(_: str) -> None:
        end(tuple(names), "".join(texts.pop()))
        names.pop()

    def refuse(*_: object) -> None:
        raise _Refused("a document type, which may hide bombs")

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = opened, closed
    parser.CharacterDataHandler = lambda piece: texts[-1].append(piece) if texts else None
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    try:
        with path.open("rb") as file:
            parser.ParseFile(file)
    except (_Refused, expat.ExpatError, OSError, ValueError, LookupError) as error:
        if isinstance(error, Fault):
            raise
        raise Fault("plain XML", f"{path.name}: {error}", "export the masks again") from None
