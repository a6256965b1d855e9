"""Keys: for each image a unique, safe, stable relative name under which its outputs are written."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

LONGEST = 200
"""Bytes (UTF-8) a key has at most, folders included."""

_PLAIN = re.compile(r"[A-Za-z0-9_-](?:[A-Za-z0-9_. -]*[A-Za-z0-9_-])?")
"""Parts of names that need no cleaning; most are such, and a million of them are cleaned sooner."""
_UNSAFE = frozenset('<>:"|?*\\')
_DEVICES = frozenset(["con", "prn", "aux", "nul", *(f"com{i}" for i in range(10)), *(f"lpt{i}" for i in range(10))])


def keys(names: Sequence[str]) -> list[str]:
    """One key for each relative file name (with `/`), in order.

    `x/a.jpg` becomes `x/a`. Where that is not unique on every file system (`a.jpg` and `a.png`, `A.PNG` and `a.png`,
    composed and decomposed accents), all that clash carry their suffix, and if need be a short hash of their name.
    A key never is empty, absolute, hidden or longer than 200 bytes, and never holds `..`, NUL, control characters
    or what Windows forbids. Dots in folder names become `_`, so that no folder is taken for an output file.
    """
    plain = [safe(name) for name in names]
    clash = _repeated(plain)
    suffixed = [
        shorten(f"{key}_{_clean(PurePosixPath(name).suffix[1:])}", name) if key.casefold() in clash else key
        for name, key in zip(names, plain, strict=True)
    ]
    clash = _repeated(suffixed)
    out, seen = [], set[str]()
    for name, key in zip(names, suffixed, strict=True):
        choice, turn = key, 0
        while (key.casefold() in clash and turn == 0) or choice.casefold() in seen:
            choice = shorten(f"{key}_{_hash(name, turn)}", name)
            turn += 1
        seen.add(choice.casefold())
        out.append(choice)
    return out


def safe(name: str) -> str:
    """A relative file name without its suffix, with every part made harmless."""
    *folders, last = [part for part in name.split("/") if part not in ("", ".", "..")] or ["image"]
    dot = last.rfind(".")
    stem = last[:dot] if 0 < dot < len(last) - 1 else last
    parts = [_clean(folder).replace(".", "_") for folder in folders] + [_clean(stem)]
    return shorten("/".join(parts), name)


def _clean(part: str) -> str:
    if _PLAIN.fullmatch(part):
        return part + "_" if part.casefold().split(".")[0] in _DEVICES else part
    part = unicodedata.normalize("NFC", part)
    part = "".join("_" if c in _UNSAFE or unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") else c for c in part)
    part = re.sub(r"^[\s.]+|[\s.]+$", "", part.replace("/", "_")) or "_"
    return part + "_" if part.casefold().split(".")[0] in _DEVICES else part


def shorten(key: str, name: str) -> str:
    """The key itself, or when it is too long its beginning and a hash of the name."""
    raw = key.encode()
    if len(raw) <= LONGEST:
        return key
    return raw[: LONGEST - 10].decode(errors="ignore").rstrip("/ .") + "_" + _hash(name, 0)


def _hash(name: str, turn: int) -> str:
    return hashlib.sha256(f"{turn}:{name}".encode(errors="surrogatepass")).hexdigest()[:8]


def _repeated(values: Sequence[str]) -> set[str]:
    return {value for value, count in Counter(v.casefold() for v in values).items() if count > 1}
