"""What every output format shares: where files go, how they are replaced, and the contract of a writer."""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, TextIO

import numpy as np
from numpy.typing import NDArray

from decoupe.data.geo import Geo
from decoupe.data.paths import inside
from decoupe.errors import Fault
from decoupe.export.palette import Colour
from decoupe.types import Image, Instance, Probabilities

STATE = ".decoupe-progress"
"""Folder inside every output folder: the record of what is done, and files on their way."""


AnyLabels = NDArray[np.integer[Any]]
"""(H, W) region index of any integer type."""


class Segmented(Protocol):
    """Regions of one image; `decoupe.types.Regions` is one, `segment` passes one that computes only what is asked."""

    @property
    def labels(self) -> AnyLabels:
        """(H, W) region index in [0, K)."""

    @property
    def probs(self) -> Probabilities:
        """(K, H, W) float32, sums to 1 over K."""

    @property
    def names(self) -> tuple[str, ...]:
        """K names."""


def things_of(regions: Segmented) -> Sequence[Instance]:
    """The single things that were found beside the regions; none by rooms that find regions only."""
    return getattr(regions, "instances", ())


@dataclass(frozen=True)
class Record:
    """What one format keeps of one finished image, in the order of keys."""

    key: str
    """Unique name of the image's outputs, relative to the output folder, without suffix."""
    name: str
    """The image's file name as users know it, relative to their folder."""
    size: tuple[int, int]
    """(H, W) in pixels."""
    content: Any
    """JSON that `Writer.write` returned."""


@dataclass(frozen=True)
class Place:
    """An output folder as a writer sees it."""

    out: Path
    names: tuple[str, ...]
    """K region names."""
    colours: tuple[Colour, ...]
    """K colours (r, g, b), 0-255."""
    records: Callable[[str], Iterator[Record]] = lambda name: iter(())
    """Every finished image's record of the format with that name; complete when `close` is called."""
    geo: Callable[[str], Geo | None] = lambda key: None
    """Pixel size and georeference of the photo with that key, where its file has them."""
    _folders: dict[str, Path] = field(default_factory=dict, repr=False, compare=False)
    """Folders found to be inside `out`: links are followed once per folder, files are replaced and never followed."""

    def file(self, key: str, suffix: str) -> Path:
        """Where the output of `key` goes. Fault if that is outside of the output folder."""
        folder, _, last = (key + suffix).rpartition("/")
        known = self._folders.get(folder)
        if known is None:
            known = self._folders[folder] = inside(self.out, folder) if folder else self.out
        return known / last

    def put(self, path: Path, data: bytes) -> int:
        """Replace `path` by `data` so that a kill leaves the old file or the new one; returns the size in bytes.

        Fault if the disk refuses.
        """
        temporary = self.out / STATE / f"{os.getpid()}-{threading.get_ident()}.tmp"
        try:
            try:
                temporary.write_bytes(data)
                temporary.replace(path)
            except FileNotFoundError:
                temporary.parent.mkdir(exist_ok=True)
                path.parent.mkdir(parents=True, exist_ok=True)
                temporary.write_bytes(data)
                temporary.replace(path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise Fault(
                f"to write {path}",
                error.strerror or str(error),
                "free space, then run it again: it goes on",
            ) from error
        return len(data)

    @contextmanager
    def stream(self, name: str) -> Iterator[TextIO]:
        """A text file (UTF-8, line ends as written) that takes the place of `name` in the folder once it is complete.

        Fault if the disk refuses.
        """
        temporary = self.out / STATE / f"{os.getpid()}-{threading.get_ident()}-{os.path.basename(name)}.tmp"
        path = self.file(name, "")
        try:
            temporary.parent.mkdir(exist_ok=True)
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("w", newline="", encoding="utf-8") as file:
                yield file
            temporary.replace(path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise Fault(
                f"to write {path}", error.strerror or str(error), "free space, then run it again: it goes on"
            ) from error


class Writer(ABC):
    """One output format. `write` is called from several threads, once per image; `close` once at the end."""

    NAME: ClassVar[str]
    SUFFIX: ClassVar[str | None] = None
    """Suffix of the file per image; None for formats that make one file of all."""
    FOLDER: ClassVar[str] = ""
    """Folder of the files per image, with its `/`. It holds a dot, which the folders of keys never do."""
    FILE: ClassVar[str | None] = None
    """Name of the one file of all images."""
    IMAGE: ClassVar[bool] = False
    """Whether `write` reads the image."""
    PROBS: ClassVar[bool] = False
    """Whether `write` reads `regions.probs`."""
    LAYERS: ClassVar[bool] = False
    """Whether `write` reads `regions.layers`: only of whole images, and of rooms that find layers."""
    BANDS: ClassVar[bool] = False
    """Whether `write` reads the image as bands of rows only (`image[top:bottom]`), so that it may lie in a file."""

    def __init__(self, place: Place) -> None:
        self.place = place

    @classmethod
    def path(cls, place: Place, key: str) -> Path:
        """Where the file of one image goes, for formats that make one."""
        return place.file(cls.FOLDER + key, cls.SUFFIX or "")

    @abstractmethod
    def write(self, key: str, image: Image | None, regions: Segmented) -> Any:
        """Write one image's file, or gather what the common file needs of it; returns JSON to keep.

        A format with a file per image returns its size in bytes, or {"bytes": size, ...}: the image is complete when
        that size is on disk.
        """

    def close(self) -> None:
        """Write the file of all images from the records. Default: nothing to do."""
        return
