"""The photos under review: a sorted list, each with the key under which its mask is stored."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from decoupe.data.sources import Item, find
from decoupe.errors import Fault

Source = str | list[str]
"""Where photos are: one place or several."""


@dataclass(frozen=True)
class Photo:
    """One photo."""

    key: str
    """Unique safe relative stem: its mask is masks/<key>.png."""
    path: Path
    frame: int
    """Frame of an animation or page of a TIFF."""
    file: str
    """Name as its owner knows it, relative to the folder of all photos."""


@dataclass(frozen=True)
class Album:
    """All photos of a review, by number."""

    source: Source
    """What was asked for: an absolute path, a glob, NAME:PATH of a layout, or a list of paths."""
    photos: tuple[Photo, ...]

    @classmethod
    def open(cls, source: str | Path | Sequence[str]) -> Album:
        """Photos of a folder, glob, file, CSV manifest, a list of these, or of a layout as NAME:PATH. Fault if none."""
        if not isinstance(source, str | Path):
            several = [one if "://" in one else os.path.abspath(one) for one in source]
            items = list(find(several))
            return cls(several, tuple(Photo(i.key, i.path, i.frame, i.key + i.path.suffix) for i in items))
        text = os.fspath(source)
        items, root = _layout(text) if _is_layout(text) else (list(find(text)), _root(Path(text)))
        photos = tuple(Photo(item.key, item.path, item.frame, _name(item, root)) for item in items)
        return cls(text if _is_layout(text) or "://" in text else os.path.abspath(text), photos)

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, number: int) -> Photo:
        if not 0 <= number < len(self.photos):
            raise Fault(f"a photo from 0 to {len(self.photos) - 1}", str(number), "load the page again")
        return self.photos[number]


def _is_layout(text: str) -> bool:
    name, _, place = text.partition(":")
    return (
        bool(place)
        and not place.startswith("//")
        and name.replace("-", "_").isidentifier()
        and not os.path.exists(text)
    )


def _layout(text: str) -> tuple[list[Item], Path]:
    from decoupe.data.catalogue import open_dataset

    samples = open_dataset(text).samples
    return [Item(sample.image, sample.key) for sample in samples], Path(text.partition(":")[2])


def _root(path: Path) -> Path:
    if path.is_dir() and (path / "images").is_dir() and (path / "masks").is_dir():
        return path / "images"
    return path if path.is_dir() else path.parent


def _name(item: Item, root: Path) -> str:
    shown = item.path.relative_to(root).as_posix() if item.path.is_relative_to(root) else item.path.name
    return f"{shown}#{item.frame}" if item.frame else shown


def recorded(settings: object) -> Source:
    """The photos a run was trained on. Fault if it does not say."""
    source = settings.get("images") if isinstance(settings, dict) else None
    if isinstance(source, list) and source and all(isinstance(one, str) for one in source):
        return list(source)
    if isinstance(source, str) and source:
        return source
    raise Fault("--images PATH", "none, and the run does not say which photos it learned from", "add --images PATH")
