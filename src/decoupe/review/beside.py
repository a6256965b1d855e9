"""Another run of the same photos beside this one: found among its neighbours, its regions matched to ours."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decoupe.clustering import hungarian
from decoupe.engine.runfolder import Run
from decoupe.errors import Fault, UsageFault
from decoupe.export.palette import colours
from decoupe.review.album import Photo
from decoupe.review.regions import Shown, read
from decoupe.review.studio import Labels8, Studio, check_run

MOST = 60
"""Neighbouring folders looked into."""
LOOKED = 24
"""Photos on which regions are matched."""
SIDE = 128
"""Side at which two masks are compared."""


@dataclass(frozen=True)
class Other:
    """A run beside ours: its studio, and its regions in our colours."""

    studio: Studio
    regions: tuple[Shown, ...]
    table: NDArray[np.int64]
    """Of each of its region numbers, the number of ours that it matches, -1 for none."""

    def labels(self, photo: Photo, size: tuple[int, int]) -> Labels8:
        """(H, W) its region numbers."""
        return self.studio.found(photo, read(self.studio.model.run.path), size)


def neighbours(run: Path) -> list[dict[str, str]]:
    """Finished runs in the folder that holds a run: name and method, by name."""
    here, found = run.resolve(), list[dict[str, str]]()
    for path in sorted(here.parent.iterdir()):
        if len(found) >= MOST or path.resolve() == here or path.is_symlink() or not (path / "run.json").is_file():
            continue
        try:
            info = Run.open(path, verify=False).info
        except Fault:
            continue
        if "weights.safetensors" in info["files"] and info.get("room"):
            found.append({"name": path.name, "room": str(info["room"])})
    return found


def put_beside(studio: Studio, name: str) -> Other:
    """The neighbour of that name, its regions matched to ours. UsageFault if there is none such."""
    run = studio.model.run.path
    if name not in [row["name"] for row in neighbours(run)]:
        raise UsageFault("a run beside this one", repr(name)[:60], "choose one from the list")
    model = check_run(run.resolve().parent / name)
    if model.spec.channels != studio.model.spec.channels:
        raise Fault(f"a run of {studio.model.spec.channels} bands", str(model.spec.channels), "choose another run")
    other = Studio(model, studio.album, studio.book)
    ours, theirs = read(run), read(model.run.path)
    counts = np.zeros((256, 256), np.int64)
    numbers = np.unique(np.linspace(0, len(studio.album) - 1, LOOKED).astype(int))
    for number in numbers:
        photo = studio.album[int(number)]
        try:
            pair = [one.found(photo, naming, (SIDE, SIDE)) for one, naming in ((studio, ours), (other, theirs))]
        except Fault:
            continue
        np.add.at(counts, (pair[1].ravel(), pair[0].ravel()), 1)
    return _matched(other, theirs.shown(), ours.shown(), counts)


def _matched(other: Studio, theirs: list[Shown], ours: list[Shown], counts: NDArray[np.int64]) -> Other:
    block = counts[np.ix_([r.index for r in theirs], [r.index for r in ours])]
    match = hungarian(block)
    spare = colours([f"region {i}" for i in range(len(ours) + len(theirs))])[len(ours) :]
    table = np.full(256, -1, np.int64)
    regions = []
    for row, region in enumerate(theirs):
        own = ours[match[row]] if match[row] >= 0 else None
        if own is not None:
            table[region.index] = own.index
        background = own.background if own is not None else region.background
        colour = own.colour if own is not None else spare[row]
        regions.append(Shown(region.index, region.members, region.name, colour, background))
    return Other(other, tuple(regions), table)


def agreement(studio: Studio, other: Other, photo: Photo) -> float:
    """Share of a photo's pixels on which both runs agree, in [0, 1]."""
    ours = studio.found(photo, read(studio.model.run.path), (SIDE, SIDE))
    return float((other.table[other.labels(photo, (SIDE, SIDE))] == ours).mean())


def rows(regions: tuple[Shown, ...] | list[Shown]) -> list[dict[str, Any]]:
    """Regions as the page shows them in a legend."""
    return [
        {"name": r.name, "colour": "#{:02x}{:02x}{:02x}".format(*r.colour), "background": r.background} for r in regions
    ]
