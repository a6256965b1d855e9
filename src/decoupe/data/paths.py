"""Where things lie: the one function that joins a folder and a name somebody else wrote, and the cache folder."""

from __future__ import annotations

import os
from pathlib import Path

from decoupe.errors import Fault

MARKER = ".decoupe-output"
"""A folder holding this file was written by decoupe and is never read as photos.

An empty marker covers the whole folder; otherwise each line names one file (relative to the folder) to leave out.
"""


def default_cache_folder() -> Path:
    """$DECOUPE_CACHE, else $XDG_CACHE_HOME/decoupe, else ~/.cache/decoupe."""
    given = os.environ.get("DECOUPE_CACHE")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "decoupe"


def inside(root: str | Path, name: str | Path) -> Path:
    """`root / name`, made sure to lie inside `root` once every link and `..` is resolved.

    Absolute names pass when they point inside `root`. The file need not exist.

    Raises:
        Fault: the name is empty, holds a NUL, is over 4,000 characters, or leads outside `root`.
    """
    text = os.fspath(name)
    shown = f"{text[:80]!r}"
    if not text.strip() or "\0" in text or len(text) > 4000:
        raise Fault("a file name", shown, f"correct the entry in {root}")
    home = os.path.realpath(root)
    target = os.path.realpath(os.path.join(home, text))
    if os.path.commonpath([home, target]) != home:
        raise Fault(f"a path inside {root}", shown, "move the file there, or correct the entry")
    return Path(os.path.normpath(os.path.join(root, text)))
