"""Count the things of images by a run that finds single things: the number, how sure it is, and the sizes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from decoupe.data.decode import MAX_PIXELS, BadImage, read_image
from decoupe.data.sources import find
from decoupe.engine.files import write_atomic
from decoupe.errors import Fault
from decoupe.export.jobs import Job, names_of
from decoupe.pipeline import Decoded, Pipeline
from decoupe.types import Image, Regions

if TYPE_CHECKING:
    from decoupe.model import Model

BINS = 10
"""Bars of the histogram of sizes."""


@dataclass(frozen=True)
class Tally:
    """The count of one image."""

    name: str
    count: int
    spread: float
    """Standard deviation of the count, as the method estimates it."""
    views: tuple[int, ...]
    areas: tuple[int, ...]
    """Pixels of each thing."""

    def content(self) -> dict[str, Any]:
        """As it is written to JSON."""
        sizes = np.array(self.areas, np.float64)
        diameters = np.sqrt(4 * sizes / np.pi)
        return {
            "image": self.name, "count": self.count, "uncertainty": round(self.spread, 2), "views": list(self.views),
            "median_area_px": float(np.median(sizes)) if len(sizes) else None,
            "median_diameter_px": round(float(np.median(diameters)), 2) if len(sizes) else None,
            "areas_px": list(self.areas), "histogram": histogram(sizes),
        }  # fmt: skip


def histogram(areas: NDArray[np.float64]) -> dict[str, list[float]]:
    """{"edges_px": BINS + 1 diameters, "things": BINS numbers} over the disks of these areas; empty lists for none."""
    if not len(areas):
        return {"edges_px": [], "things": []}
    diameters = np.sqrt(4 * areas / np.pi)
    low, high = math.floor(diameters.min()), max(math.ceil(diameters.max()), math.floor(diameters.min()) + 1)
    numbers, edges = np.histogram(diameters, BINS, (low, high))
    return {"edges_px": [round(float(e), 2) for e in edges], "things": [int(n) for n in numbers]}


def counts(model: Model) -> bool:
    """Whether a run finds single things."""
    return bool(model.room.WHOLE)


def count_image(model: Model, image: Image, name: str = "image") -> Tally:
    """The things of (H, W, C) uint8.

    Raises:
        Fault: a run that finds regions, not things.
    """
    if not counts(model):
        raise Fault(
            "a run that finds single things", f"one of {model.room.NAME} that finds regions",
            "make one: decoupe fit independence --task cluster --images ONE",
        )  # fmt: skip
    found = model.count(image)
    return Tally(name, found.count, found.spread, tuple(found.views), tuple(found.areas))


def count(
    run: Any,
    source: str | Path | Sequence[str | Path],
    out: str | Path | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
    max_pixels: int = MAX_PIXELS,
) -> dict[str, Any]:
    """Count the things of every image of `source`.

    run: a loaded `Model`, a run, or its path. source: folder, glob, file, CSV manifest or list. out: JSON file to
    write. progress: called with (done, total).

    Returns {"images": [one `Tally.content` each], "problems": [{"path", "reason"}], "total"}.

    Raises:
        Fault: no image could be read, or the run finds no things.
    """
    from decoupe.model import loaded

    model, items = loaded(run), find(source)
    tallies, problems = [], []
    for done, (item, name) in enumerate(zip(items, names_of(source, items), strict=True), start=1):
        try:
            tallies.append(count_image(model, read_image(item.path, max_pixels=max_pixels, frame=item.frame), name))
        except BadImage as fault:
            problems.append({"path": str(item.path), "reason": fault.reason})
        if progress is not None:
            progress(done, len(items))
    if not tallies:
        raise Fault("at least one image that can be read", problems[0]["path"], "run decoupe data check")
    content = {
        "images": [tally.content() for tally in tallies], "problems": problems,
        "total": sum(tally.count for tally in tallies), "run": model.run.path.name,
    }  # fmt: skip
    if out is not None:
        write_atomic(Path(out), (json.dumps(content, indent=1) + "\n").encode())
    return content


class Things(Pipeline):
    """Segments photos whole, one at a time, by a room that finds single things: `Pipeline` for such rooms."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.batch, self.workers = 1, 1

    def _read(self, job: Job) -> Decoded | None:
        """The photo in full: such a room looks at all of it."""
        try:
            image = read_image(job.item.path, max_pixels=self.max_pixels, frame=job.item.frame)
        except Fault as fault:
            self.problems.append({"path": str(job.item.path), "reason": getattr(fault, "reason", fault.got)})
            self.progress(1)
            return None
        return Decoded(job, np.zeros((0, 0, 0), np.uint8), (image.shape[0], image.shape[1]), image)

    def _finish(self, group: list[Decoded]) -> None:
        for decoded in group:
            if self._stop or decoded.image is None:
                return
            regions: Regions = self.model.look(decoded.image)
            if self.crf is not None:
                from decoupe.crf import sharpen

                plain = Regions(regions.probs, regions.names)
                regions = replace(regions, probs=sharpen(plain, decoded.image, self.crf, self._device).probs)
            self._deliver(decoded, regions)
