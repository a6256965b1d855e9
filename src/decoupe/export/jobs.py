"""What `segment` has to do: the images that lack a file, and an output folder that can hurt nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decoupe.data.paths import MARKER
from decoupe.data.sources import Item
from decoupe.errors import Fault
from decoupe.export import FORMATS, Place
from decoupe.export.ledger import Ledger, signature


@dataclass(frozen=True)
class Job:
    """One image to do."""

    item: Item
    name: str
    source: str
    """Signature of the file as it is now."""
    formats: tuple[str, ...]
    """Formats still missing."""


def check_out(out: Path, items: Sequence[Item]) -> None:
    """Fault if writing to `out` could touch or hide files that are not ours."""
    resolved = out.resolve()
    for folder in {item.path.parent for item in items}:
        parent = folder.resolve()
        if parent == resolved or resolved in parent.parents:
            raise Fault(
                "--out apart from the photos", f"{out}, which holds {folder}", "choose a new folder, such as masks/"
            )
    if out.exists() and not (out / MARKER).is_file():
        if not out.is_dir():
            raise Fault("--out to be a folder", f"the file {out}", "choose a new folder")
        if any(entry.is_file() and not entry.name.startswith(".") for entry in out.iterdir()):
            raise Fault(
                "--out to be new, empty or made by segment",
                f"{out} with files of another origin",
                "choose a new folder",
            )


def names_of(source: Any, items: Sequence[Item]) -> list[str]:
    """Of each item, its file name as users know it: relative to their folder where it is in one, never absolute."""
    root = Path(source) if isinstance(source, str | Path) and Path(source).is_dir() else None
    names = []
    for item in items:
        if root is not None and item.path.is_relative_to(root):
            name = item.path.relative_to(root).as_posix()
        else:
            name = item.key + item.path.suffix
        names.append(name + (f"#{item.frame}" if item.frame else ""))
    return names


def missing_jobs(
    place: Place, ledger: Ledger, items: Sequence[Item], names: Sequence[str], wanted: Sequence[str]
) -> list[Job]:
    """What is not complete yet: recorded, made from the same file, and on disk with the recorded size."""
    jobs = []
    for item, name in zip(items, names, strict=True):
        source = signature(item.path, item.frame)
        done = ledger.done(item.key, source)
        missing = []
        for kind in wanted:
            writer, complete = FORMATS[kind], kind in done
            if complete and writer.SUFFIX is not None:
                path = writer.path(place, item.key)
                complete = path.is_file() and path.stat().st_size == done[kind]
            if not complete:
                missing.append(kind)
        if missing:
            jobs.append(Job(item, name, source, tuple(missing)))
    return jobs
