"""The masks that `scene_vae` learns from: found, matched to the images, shrunk to the size of the training squares."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from decoupe.data.catalogue import LAYOUTS, open_dataset
from decoupe.data.decode import image_size, read_mask
from decoupe.data.layouts.base import HELD_OUT, Missing, above_half, images, with_keys
from decoupe.data.layouts.folders import class_names, values_of
from decoupe.data.sources import Item
from decoupe.engine.files import sha256
from decoupe.errors import Fault
from decoupe.evaluate.protocols import protocol_of
from decoupe.export.readers.folders import png_names
from decoupe.types import VOID, Labels

if TYPE_CHECKING:
    from decoupe.methods.scene_vae.config import Config

Translate = Callable[[Labels], Labels]


@dataclass(frozen=True)
class Found:
    """One mask: a file, or a folder of files where the layout keeps several for one image."""

    file: Path
    key: str
    """Safe relative stem, as images have."""
    image: Path | None
    """Its image, where a layout says so."""
    read: Callable[[Path], Labels]


@dataclass(frozen=True)
class Folder:
    """All masks of one place, and the names of their classes (() = numbers only)."""

    names: tuple[str, ...]
    masks: tuple[Found, ...]
    highest: int
    """Highest class number seen, where classes have no names."""


@dataclass(frozen=True)
class Masks:
    """Masks of some training images."""

    rows: NDArray[np.int64]
    """(M,) positions among the training images, ascending."""
    labels: NDArray[np.uint8]
    """(M, S, S) class numbers, 255 = void."""
    weights: NDArray[np.float32]
    """(M,) 1 for a real mask, the setting `pseudo_weight` for a pseudo-mask."""

    @property
    def real(self) -> int:
        """How many masks are real ones."""
        return int((self.weights == 1).sum())


# ------------------------------------------------------------------ finding


def find_masks(source: str) -> Folder:
    """The masks of NAME:PATH (without its val and test splits) or of a folder. Fault if there are none."""
    name, colon, _ = source.partition(":")
    if colon and name in LAYOUTS:
        dataset = open_dataset(source)
        kept = [s for s in dataset.samples if s.truth is not None and s.split not in HELD_OUT]
        if not kept:
            raise Fault(f"masks in {source}", "none outside of val and test", "name other masks")
        found = [Found(s.truth, s.key, s.image, s.reader) for s in kept if s.truth is not None]
        return Folder(dataset.classes, tuple(found), len(dataset.classes) - 1)
    return _plain(Path(source))


def _plain(root: Path) -> Folder:
    try:
        files = images(root) if root.is_dir() else {}
        if not files:
            raise Fault("a folder of masks", f"none at {root}", "check the path")
        values = values_of(list(files.values()))
        names = class_names(root) or png_names(next(iter(files.values()))) or class_names(root.parent) or ()
    except Missing as missing:
        raise Fault(f"masks in {root}", str(missing), "name a folder of indexed or grey PNGs") from None
    two = VOID in values and values <= {0, VOID}
    if two:
        names = names if len(names) == 2 else ("background", "object")
    pairs = zip(files.values(), with_keys(files), strict=True)
    reader = above_half if two else read_mask
    highest = 1 if two else max(values - {VOID}, default=0)
    names = names or (("background", "object") if highest <= 1 else ())
    return Folder(tuple(names), tuple(Found(path, key, None, reader) for path, key in pairs), highest)


def describe(config: Config) -> tuple[tuple[str, ...], str]:
    """Names of the classes to learn, and the SHA-256 of all masks. Fault where the two kinds of masks disagree."""
    places = [find_masks(source) for source in (config.masks, config.pseudo_masks) if source is not None]
    names = _learned(config, places[0])
    for place in places[1:]:
        _onto(config, place, names)
    total = hashlib.sha256()
    for place in places:
        for mask in place.masks:
            parts = [mask.file] if mask.file.is_file() else sorted(p for p in mask.file.rglob("*") if p.is_file())
            for part in parts:
                total.update(f"{mask.key}:{sha256(part)};".encode(errors="surrogatepass"))
    return names, total.hexdigest()


def _learned(config: Config, place: Folder) -> tuple[str, ...]:
    named = place.names or tuple(f"class {i}" for i in range(max(2, place.highest + 1)))
    return named if config.protocol is None else protocol_of(config.protocol, named).classes


def _onto(config: Config, place: Folder, names: tuple[str, ...]) -> Translate:
    """How class numbers of this place become those of `names`."""
    if not place.names:
        return _checked(len(names))
    index = {name.casefold(): number for number, name in enumerate(names)}
    table = np.full(256, VOID, np.int64)
    for number, name in enumerate(place.names):
        if name.casefold() not in index and config.protocol is None:
            known = f"classes among {', '.join(names)}"
            raise Fault(known, f"{name!r} in the pseudo-masks", "rename it with decoupe name, or give --protocol")
        table[number] = index.get(name.casefold(), 0)
    return lambda labels: table[np.where((labels >= 0) & (labels < VOID), labels, VOID)]


def _checked(classes: int) -> Translate:
    def same(labels: Labels) -> Labels:
        wrong = labels[(labels != VOID) & ((labels < 0) | (labels >= classes))]
        if wrong.size:
            raise Fault(f"masks of the classes 0 to {classes - 1}, 255 for void", str(wrong[0]), "repair that mask")
        return labels

    return same


# ------------------------------------------------------------------ reading


def read_masks(config: Config, source: Any) -> Masks:
    """The masks of the training images `source` (with `.items`, as the cache has them), real ones before pseudo-masks.

    Fault if no image has one, or one has not the size of its image.
    """
    items: Sequence[Item] = source.items
    chosen: dict[int, tuple[NDArray[np.uint8], float]] = {}
    if config.masks is not None:
        place = find_masks(config.masks)
        named = place.names or config.names
        translate = protocol_of(config.protocol, named).translate if config.protocol else _checked(len(config.names))
        pairs = _limited(_matched(place, items), config.labelled)
        chosen |= {row: (_square(found, items[row], config.size, translate), 1.0) for row, found in pairs}
    if config.pseudo_masks is not None:
        place = find_masks(config.pseudo_masks)
        translate = _onto(config, place, config.names)
        for row, found in _matched(place, items):
            if row not in chosen:
                chosen[row] = (_square(found, items[row], config.size, translate), config.pseudo_weight)
    if not chosen:
        raise Fault(
            "masks with the names of the images",
            f"none that fits ({items[0].key}...)",
            "give images and masks equal names",
        )
    rows = sorted(chosen)
    return Masks(
        np.array(rows, np.int64),
        np.stack([chosen[row][0] for row in rows]),
        np.array([chosen[row][1] for row in rows], np.float32),
    )


def _matched(place: Folder, items: Sequence[Item]) -> list[tuple[int, Found]]:
    """(row, mask): by the image a layout names, else by the whole relative name, else by a file name that is unique."""
    by_image = {mask.image.resolve(): mask for mask in place.masks if mask.image is not None}
    if by_image:
        found = [(row, by_image.get(item.path.resolve())) for row, item in enumerate(items)]
        return [(row, mask) for row, mask in found if mask is not None]
    by_key = {mask.key: mask for mask in place.masks}
    by_name: dict[str, list[Found]] = defaultdict(list)
    for mask in place.masks:
        by_name[mask.key.rpartition("/")[2]].append(mask)
    pairs = []
    for row, item in enumerate(items):
        alike = by_name.get(item.key.rpartition("/")[2], [])
        found_here = by_key.get(item.key) or (alike[0] if len(alike) == 1 else None)
        if found_here is not None:
            pairs.append((row, found_here))
    return pairs


def _limited(pairs: list[tuple[int, Found]], limit: int | None) -> list[tuple[int, Found]]:
    if limit is None:
        return pairs
    return sorted(pairs, key=lambda pair: hashlib.sha256(pair[1].key.encode(errors="surrogatepass")).digest())[:limit]


def _square(found: Found, item: Item, size: int, translate: Translate) -> NDArray[np.uint8]:
    """(S, S) uint8: the mask in the frame of the training square, each pixel that of the mask at its centre."""
    labels = found.read(found.file)
    height, width = image_size(item.path)
    if labels.shape != (height, width):
        got = f"mask {labels.shape[1]}x{labels.shape[0]} for {item.path} ({width}x{height})"
        raise Fault("masks the size of their images", got, "resize it, or drop it from the masks")
    if item.box is not None:
        x0, y0, x1, y1 = item.box
        labels = labels[max(0, math.floor(y0)) : math.ceil(y1), max(0, math.floor(x0)) : math.ceil(x1)]
    rows, columns = (((np.arange(size) + 0.5) * side / size).astype(np.int64) for side in labels.shape)
    return np.asarray(translate(labels[rows[:, None], columns[None]]), np.uint8)
