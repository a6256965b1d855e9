"""What every reader of masks gives: label maps, painted one at a time when asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decoupe.data.decode import MAX_PIXELS
from decoupe.engine.files import strict_json
from decoupe.errors import Fault
from decoupe.export.outlines import fill, points
from decoupe.types import Labels

Crop = tuple[NDArray[np.bool_], int, int]
"""A mask cut to a box, its top row and its left column."""
REMEDY = "export the masks again"


@dataclass(frozen=True)
class Annotated:
    """One image of a file of masks."""

    name: str
    """Its file name as the file of masks has it; for folders of masks, relative and without suffix."""
    labels: Callable[[], Labels]
    """Gives the (H, W) int64 label map: indices into `Masks.names`; 255 is void only where the format has it."""


@dataclass(frozen=True)
class Masks:
    """The content of a file or folder of masks."""

    names: tuple[str, ...]
    """Class names by label; empty where the format has none."""
    images: tuple[Annotated, ...]


@dataclass
class Names:
    """Class names by index while a file is read; 0 is the background."""

    found: dict[str, int]

    @classmethod
    def start(cls) -> Names:
        """The background alone."""
        return cls({"background": 0})

    def index(self, name: str) -> int:
        """Index of a class, new or known; any spelling of "background" is 0."""
        plain = name.strip()
        return self.found.setdefault("background" if plain.casefold() == "background" else plain, len(self.found))

    def all(self) -> tuple[str, ...]:
        """The names in order."""
        return tuple(self.found)


def size_of(height: object, width: object, name: str) -> tuple[int, int]:
    """(H, W), made sure to be whole numbers of at least 1 with no more pixels than an image may have. Fault if not."""
    if isinstance(height, str) and isinstance(width, str) and height.isdecimal() and width.isdecimal():
        height, width = int(height[:12]), int(width[:12])
    if type(height) is not int or type(width) is not int or min(height, width) < 1:
        raise Fault("a width and a height in pixels", f"{width!r:.40} and {height!r:.40} for {name:.80}", REMEDY)
    if height * width > MAX_PIXELS:
        raise Fault(f"images up to {MAX_PIXELS:,} pixels", f"{width}x{height} for {name:.80}", "cut them into tiles")
    return height, width


def polygon(rings: Sequence[Any], size: tuple[int, int]) -> Callable[[], Crop]:
    """The mask of rings of x, y pairs, checked now and filled later. BadPolygon if they are malformed."""
    checked = [points(ring) for ring in rings]
    return lambda: fill(checked, size)


def painted(
    path: Path, name: str, size: tuple[int, int], shapes: Sequence[tuple[int, Callable[[], Crop]]]
) -> Annotated:
    """An image whose label map is 0 with each (label, mask) put on it in turn. Faults name the file `path`."""

    def labels() -> Labels:
        out = np.zeros(size, np.int64)
        for label, shape in shapes:
            with refusing("masks", path):
                mask, top, left = shape()
            box = out[top : top + mask.shape[0], left : left + mask.shape[1]]
            box[mask] = label
        return out

    return Annotated(name, labels)


def load_json(path: Path) -> Any:
    """The content of a JSON file. Fault if it is none, nested too deeply, or holds NaN."""
    try:
        return strict_json(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise Fault("JSON", f"{path.name}: {reason}", REMEDY) from None


@contextmanager
def refusing(kind: str, path: Path) -> Iterator[None]:
    """Turn whatever malformed content makes the code inside raise into one line that names the file."""
    try:
        yield
    except Fault as fault:
        raise Fault(fault.expected, f"{fault.got} in {path.name}", fault.do) from None
    except (KeyError, TypeError, AttributeError, IndexError, ValueError, OverflowError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise Fault(f"{kind}", f"{reason:.120} in {path.name}", REMEDY) from None
