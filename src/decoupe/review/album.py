"""The photos under review: a sorted list, each with the key under which its mask is stored."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from decoupe.data.sources import Item, find
from decoupe.errors import Fault


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

    source: str
    """What was asked for: an absolute path, a glob, or NAME:PATH of a layout."""
    photos: tuple[Photo, ...]

    @classmethod
    def open(cls, source: str | Path) -> Album:
        """Photos of a folder, glob, file, CSV manifest, or of a layout as NAME:PATH. Fault if there are none."""
        text = os.fspath(source)
        items, root = _layout(text) if _is_layout(text) else (find(text), _root(Path(text)))
        photos = tuple(Photo(item.key, item.path, item.frame, _name(item, root)) for item in items)
        return cls(text if _is_layout(text) else os.path.abspath(text), photos)

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, number: int) -> Photo:
        if not 0 <= number < len(self.photos):
            raise Fault(f"a photo from 0 to {len(self.photos) - 1}", str(number), "load the page again")
        return self.photos[number]


def _is_layout(text: str) -> bool:
    name, colon, place = text.partition(":")
    return bool(colon and place and name.isidentifier() or name.replace("-", "_").isidentifier() and colon) and not (
        os.path.exists(text)
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


def recorded(settings: object) -> str:
    """The photos a run was trained on. Fault if it does not say, or if they are not one place."""
    source = settings.get("images") if isinstance(settings, dict) else None
    if not isinstance(source, str):
        raise Fault("--images PATH", "none, and the run does not say which photos it learned from", "add --images PATH")
    return source
