"""Which photo each mask belongs to: by name, and never by guessing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from decoupe.data.sources import Item
from decoupe.errors import Fault
from decoupe.export.readers.base import Annotated, Masks

PICTURES = frozenset([".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".npy", ".npz"])


def stem_of(name: str) -> str:
    """A file name with `/` and without the suffix of an image."""
    path = PurePosixPath(name.replace("\\", "/"))
    return str(path.with_suffix("")) if path.suffix.lower() in PICTURES else str(path)


def pairs(masks: Masks, items: Sequence[Item]) -> list[tuple[Item, Annotated]]:
    """Photos and their masks, in the order of the masks.

    Names are compared as written, then without suffix, then by the last part alone, where only one photo has it.
    Masks without a photo are left out; Fault if that leaves none, or if two masks belong to one photo.
    """
    names = [_shown(item) for item in items]
    tables = [_unique(names), _unique([stem_of(name) for name in names])]
    tables += [_unique([stem_of(name).rpartition("/")[2] for name in names])]
    found: list[tuple[Item, Annotated]] = []
    seen: dict[int, str] = {}
    for one in masks.images:
        spelled = (one.name, stem_of(one.name), stem_of(one.name).rpartition("/")[2])
        at = next((t[n] for t, n in zip(tables, spelled, strict=True) if t.get(n, -1) >= 0), None)
        if at is None:
            continue
        if at in seen:
            raise Fault("one mask for each photo", f"{seen[at]:.60} and {one.name:.60}", "remove one of them")
        seen[at] = one.name
        found.append((items[at], one))
    if not found:
        some = f"{masks.images[0].name:.60}" if masks.images else "no mask"
        raise Fault(f"masks named like their photos ({names[0] if names else 'none'}...)", some, "rename them alike")
    return found


def _shown(item: Item) -> str:
    """The photo's name as tools write it: its key and suffix."""
    return item.key + Path(item.path).suffix


def _unique(names: Sequence[str]) -> dict[str, int]:
    """Position of each name; -1 where several photos have it."""
    table: dict[str, int] = {}
    for index, name in enumerate(names):
        table[name] = -1 if name in table else index
    return table
