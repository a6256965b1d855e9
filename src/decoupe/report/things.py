"""What a report shows of a run that finds single things: each numbered, how many, how sure, how large."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from decoupe.counting import count_image
from decoupe.data.decode import read_image
from decoupe.data.sources import find
from decoupe.engine.runfolder import Run
from decoupe.errors import Fault
from decoupe.export.overlay import number
from decoupe.export.palette import chosen
from decoupe.model import Model
from decoupe.report.charts import Bars, bars
from decoupe.report.photos import Card, Gallery, pane

MOST = 4
"""Images shown."""
SIDE = 1600
"""Longest side in pixels of a numbered picture."""
ROWS = {
    "photo": "patches of the image",
    "mask": "the segmenter's masks of them",
    "composite": "composites it learns from",
    "instance": "things the generator invents",
    "its mask": "their masks",
    "carved": "both together",
    "from z to z": "a walk from one z to another",
}
"""Rows of a sheet of samples, in words."""


def things(model: Model, source: Any) -> tuple[Gallery, list[Bars]]:
    """The images a run was made on with their things numbered, and the sizes of the things as bars."""
    try:
        places = find(source)[:MOST]
    except Fault as fault:
        return Gallery(problem=f"The image is not where it was ({fault.got}), so it is not shown."), []
    cards, sizes = [], []
    for item in places:
        image = read_image(item.path, frame=item.frame)
        tally = count_image(model, image, item.path.name)
        content = tally.content()
        told = f"{tally.count:,} things, give or take {tally.spread:.0f}"
        panes = [pane("numbered", _numbered(model, image), f"{item.path.name}: {told}, outlined and numbered")]
        cards.append(Card(item.path.name, told, panes, full=True))
        about = f"{item.path.name}: diameter in pixels of the disk of each thing's area"
        histogram = content["histogram"]
        if histogram["things"]:
            sizes.append(bars("Sizes", about, histogram["edges_px"], histogram["things"]))
    by = (
        "Every number is one thing found. The uncertainty is made from how much turned and mirrored views of the image "
        "disagree; it says nothing of things that all views miss."
    )
    return Gallery([("Things", cards), *_samples(model)], by), sizes


def _numbered(model: Model, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    found = model.look(image)
    palette = chosen(model.names, model.colours)
    picture = Pillow.fromarray(number(image, found.labels, model.names, palette, found.instances, tint=0.0))
    picture.thumbnail((SIDE, SIDE), Pillow.Resampling.LANCZOS)
    return np.asarray(picture)


def _samples(model: Model) -> list[tuple[str, list[Card]]]:
    """The last sheet of samples, one pane per row, so that each says what it shows."""
    sheets = sorted((model.run.path / "samples").glob("*.png"))
    if not sheets:
        return []
    try:
        sheet = read_image(sheets[-1])
    except Fault:
        return []
    names = list(ROWS) if _invents(model.run) else list(ROWS)[:3]
    rows = np.array_split(sheet, len(names)) if len(sheet) % len(names) == 0 else [sheet]
    if len(rows) == 1:
        names = ["samples"]
    cards = [
        Card(ROWS.get(name, name), "", [pane(name, row, f"{ROWS.get(name, name)}, {len(names)} rows in all")])
        for name, row in zip(names, rows, strict=True)
    ]
    return [("What it learned from and what it makes", cards)]


def _invents(run: Run) -> bool:
    return (run.info.get("config") or {}).get("source") == "provider"
