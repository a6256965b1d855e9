"""What a person drew on photos, masks or scribbles, and which regions of a run it stands for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from decoupe.data import prepare
from decoupe.errors import Fault
from decoupe.model import Model
from decoupe.naming import labelled_spec, shown
from decoupe.types import VOID, Labels


@dataclass(frozen=True)
class Given:
    """One photo and what a person says of it."""

    path: Path
    frame: int
    labels: Callable[[], Labels]
    """(H, W) classes, or regions as they are shown; `VOID` where nothing is known."""


@dataclass(frozen=True)
class Drawn:
    """Photos with classes drawn on them, as their file or folder has it."""

    names: tuple[str, ...]
    """By class; empty: classes are numbers without names."""
    photos: tuple[Given, ...]
    ground: bool
    """Whether class 0 is what no object covers rather than drawn: in COCO, CVAT and Label Studio."""


def drawn(source: Any, images: Any) -> Drawn:
    """Read what was drawn: a folder with images/, NAME:PATH, or masks of a tool beside the photos `images`. Fault if
    nothing fits a photo."""
    from decoupe.data.catalogue import LAYOUTS, open_dataset
    from decoupe.export.readers import read_masks
    from decoupe.export.readers.pairs import pairs

    path = Path(source)
    layout = str(source).partition(":")[0] in LAYOUTS and not path.exists()
    if layout or (path / "images").is_dir():
        dataset = open_dataset(labelled_spec(str(source)))
        unnamed = dataset.classes[1:] == tuple(map(numbered, range(1, len(dataset.classes))))
        samples = dataset.split(None if layout else "all")[1]
        photos = tuple(Given(sample.image, 0, sample.mask) for sample in samples)
        of_tool = any(sample.truth is not None and _objects(sample.truth) for sample in samples[:1])
        return Drawn(() if unnamed else tuple(dataset.classes), photos, of_tool)
    masks = read_masks(path)
    found = pairs(masks, prepare.items_of(images))
    return Drawn(masks.names, tuple(Given(i.path, i.frame, one.labels) for i, one in found), _objects(path))


def _objects(path: Path) -> bool:
    return path.suffix.lower() in (".json", ".xml")


def given_masks(model: Model, source: Any, images: Any, sparse: bool) -> Iterator[Given]:
    """Photos and their masks in the run's regions. Fault if a class is unknown, or nothing fits a photo or is drawn.

    source: "accepted" (the masks kept in the review), or as for `drawn`. sparse: what is not drawn is unknown, and
    photos without a stroke are left out.
    """
    if str(source) == "accepted":
        yield from _accepted(model, images)
        return
    found = drawn(source, images)
    table, some = _table(model, found, sparse), False
    for one in found.photos:
        labels = _translated(one.labels, table)
        if sparse and (labels() == VOID).all():
            continue
        some = True
        yield Given(one.path, one.frame, labels)
    if sparse and not some:
        raise nothing_drawn()


def nothing_drawn() -> Fault:
    """What is said of scribbles without a stroke."""
    return Fault("scribbles with something drawn", "only unknown pixels", "draw a stroke of each class")


def _accepted(model: Model, images: Any) -> Iterator[Given]:
    from decoupe.review.kept import kept

    groups = shown(len(model.run.names), model.run.merges)
    table = {index: place for place, group in enumerate(groups) for index in group}
    for one in kept(model.run.path, images if isinstance(images, str) else None):
        yield Given(Path(one.photo.path), one.photo.frame, _translated(one.labels, table))


def _table(model: Model, found: Drawn, sparse: bool) -> dict[int, int]:
    """Class of the masks -> region as shown. Fault on a class that is no region.

    Without names classes are the regions called "class N", or else the method's own region numbers. Class 0 of a tool
    is whatever no object covers, which is unknown where the run has no background, and in scribbles. Names that
    no scribble uses are left out: tools list all their classes.
    """
    if not found.names:
        if numbered := {
            n: at for n, at in ((numeral(name), at) for at, name in enumerate(model.names)) if n is not None
        }:
            return numbered
        groups = shown(len(model.room.regions), model.run.merges)
        return {index: place for place, group in enumerate(groups) for index in group}
    own = {plain(name): index for index, name in enumerate(model.names)}
    table: dict[int, int] = {}
    used = _used(found) if sparse else range(len(found.names))
    for index, name in enumerate(found.names):
        if index not in used:
            continue
        place = own.get(plain(name))
        if index == 0 and found.ground and (sparse or place is None):
            continue
        if place is None:
            known = ", ".join(model.names)
            raise Fault(f"classes that are regions of the run ({known:.80})", f"{name!r:.60}", "decoupe name RUN --set")
        table[index] = place
    return table


def _used(found: Drawn) -> set[int]:
    """Classes that some pixel has."""
    return {value for one in found.photos for value in np.unique(one.labels()).tolist()}


def plain(name: str) -> str:
    """A name as it is compared."""
    return name.strip().casefold()


def _translated(read: Callable[[], Labels], table: Mapping[int, int]) -> Callable[[], Labels]:
    def labels() -> Labels:
        found = read()
        values, where = np.unique(found, return_inverse=True)
        unknown = [value for value in values.tolist() if value not in table and value not in (0, VOID)]
        if unknown:
            raise Fault(f"classes {sorted(table)} in masks", str(unknown[0]), "correct the mask, or name its classes")
        return np.asarray([table.get(v, VOID) for v in values.tolist()], np.int64)[where].reshape(found.shape)

    return labels


def numbered(index: int) -> str:
    """What a class without a name is called."""
    return f"class {index}"


def numeral(name: str) -> int | None:
    """The N of "class N", else None."""
    word, _, digits = plain(name).partition(" ")
    return int(digits) if word == "class" and digits.isdecimal() and len(digits) < 6 else None
