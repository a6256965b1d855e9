"""What `segment` has to do: the images that lack a file, and an output folder that can hurt nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from decoupe.data.geo import Geo, read_geo
from decoupe.data.paths import MARKER
from decoupe.data.sources import Item
from decoupe.errors import Fault
from decoupe.export import FORMATS, Place
from decoupe.export.ledger import Ledger, signature


class Placed(Protocol):
    """A photo with its key."""

    @property
    def key(self) -> str:
        """Unique name of its outputs."""

    @property
    def path(self) -> Path:
        """Its file."""

    @property
    def frame(self) -> int:
        """Which image of the file it is."""


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


def geo_of(items: Iterable[Placed]) -> Callable[[str], Geo | None]:
    """Reads the pixel size and georeference of the photo with a key; may be asked from several threads."""

    @cache
    def by_key() -> dict[str, Placed]:  # most formats never ask
        return {item.key: item for item in items}

    def geo(key: str) -> Geo | None:
        item = by_key().get(key)
        return None if item is None else read_geo(item.path, item.frame)

    return geo


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
