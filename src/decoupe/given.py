"""What is known of photos beside their pixels, for runs that can use it: `decoupe segment RUN PHOTOS --tags CSV`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decoupe.data.sources import Item
from decoupe.data.tags import read_tags
from decoupe.errors import Fault, UsageFault
from decoupe.export.palette import is_background
from decoupe.methods.room import Room

Row = NDArray[np.float32]


@dataclass(frozen=True)
class Given:
    """Tags by photo."""

    rows: Mapping[str, Row]
    """Key of a photo -> (K,) 1 for each class that is in it, 0 for the others."""
    unknown: Row
    """(K,) NaN: a photo of which nothing is known."""

    @property
    def digest(self) -> str:
        """Stands for all tags."""
        parts = sorted((key, row.tobytes().hex()) for key, row in self.rows.items())
        return hashlib.sha256(repr(parts).encode(errors="surrogatepass")).hexdigest()

    def of(self, keys: Sequence[str], count: int) -> Row:
        """(count, K): the rows of these photos, the last one repeated."""
        found = [self.rows.get(key, self.unknown) for key in keys]
        return np.stack(found + [found[-1]] * (count - len(found)))


def given_tags(model: Any, source: str | Path, items: Sequence[Item], tiled: bool = False) -> Given:
    """The tags of `items` in the classes of a run. Fault if it cannot use them, or no tag is a class of it."""
    if type(model.room).infer_masks is Room.infer_masks:
        raise UsageFault("a run of scene_vae with --tags", f"one of {model.room.NAME}", "leave out --tags")
    if tiled:
        raise UsageFault("--tags without --tile", "both", "leave out one: tags are of whole photos")
    classes: tuple[str, ...] = model.room.regions
    tagged = read_tags(source, items)
    known = {name.casefold(): number for number, name in enumerate(classes)}
    if not any(name.casefold() in known for name in tagged.names):
        raise Fault(f"tags among {', '.join(classes)}", ", ".join(tagged.names)[:80], "use the names of the classes")
    rows = {}
    for key, tags in tagged.tags.items():
        row = np.array([is_background(name) for name in classes], np.float32)
        for tag in tags:
            if tag.casefold() in known:
                row[known[tag.casefold()]] = 1
        rows[key] = row
    return Given(rows, np.full(len(classes), np.nan, np.float32))
