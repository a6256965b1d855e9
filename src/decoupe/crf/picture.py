"""A grid of CRF parameters as a picture: mean IoU over two of them, red high and blue low, panels for the others.

The text's Figure 9 is such a one.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw

from decoupe.crf.learning import WEIGHTS, WIDTHS, Fitted

CELL = 72
"""Pixels of a cell."""
DARK = 100
"""Green of a cell below which figures are white."""
TEXT_NAMES = ("theta_alpha px", "theta_beta")
"""What the text calls the widths of the appearance kernel."""
Values = Mapping[tuple[float, float], float]
"""(row, column) -> mean IoU."""


def colour(share: float) -> tuple[int, int, int]:
    """0 blue, 0.5 white, 1 red."""
    ends = np.array([[59, 76, 192], [242, 240, 235], [180, 4, 38]], float)
    place = min(max(share, 0.0), 1.0) * 2
    first = min(int(place), 1)
    mixed = ends[first] + (place - first) * (ends[first + 1] - ends[first])
    red, green, blue = (int(round(value)) for value in mixed)
    return red, green, blue


def png(image: Image.Image) -> bytes:
    """The bytes of a PNG."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def heat_map(
    values: Values,
    rows: Sequence[float],
    columns: Sequence[float],
    names: tuple[str, str] = TEXT_NAMES,
    limits: tuple[float, float] | None = None,
    best: tuple[float, float] | None = None,
) -> Image.Image:
    """A cell per (row, column) with its value. `limits`: what blue and red stand for (None: least and most of these).

    `names`: of rows and of columns. `best`: the cell with a frame.
    """
    low, high = limits or (min(values.values()), max(values.values()))
    image = Image.new("RGB", (CELL * (len(columns) + 1), CELL * (len(rows) + 1)), "white")
    draw = ImageDraw.Draw(image)
    draw.text((6, CELL // 2 - 14), "\n".join(names), fill="black")
    for j, column in enumerate(columns):
        draw.text(((j + 1) * CELL + 20, CELL // 2), f"{column:g}", fill="black")
    for i, row in enumerate(rows):
        draw.text((10, (i + 1) * CELL + CELL // 2 - 6), f"{row:g}", fill="black")
        for j, column in enumerate(columns):
            value = values[row, column]
            box = ((j + 1) * CELL, (i + 1) * CELL, (j + 2) * CELL - 1, (i + 2) * CELL - 1)
            fill = colour((value - low) / (high - low) if high > low else 0.5)
            draw.rectangle(box, fill=fill)
            ink = "white" if fill[1] < DARK else "black"
            draw.text((box[0] + 20, box[1] + CELL // 2 - 6), f"{value:.3f}".removeprefix("0"), fill=ink)
            if (row, column) == best:
                draw.rectangle(box, outline="black", width=3)
    return image


def grid_picture(found: Fitted) -> bytes:
    """PNG of a search: rows and columns are the two fields with most values, widths first; panels for the others.

    The best cell has a frame; colours mean the same in all panels.
    """
    fields = (*WIDTHS, *WEIGHTS)
    values = {name: sorted({getattr(point, name) for point, _ in found.table}) for name in fields}
    varied = sorted((name for name in fields if len(values[name]) > 1), key=lambda name: -len(values[name]))
    row, column = [*varied, *(name for name in fields if name not in varied)][:2]
    rest = [name for name in varied if name not in (row, column)]
    scores = [score for _, score in found.table]
    panels = []
    for key in itertools.product(*(values[name] for name in rest)):
        own = [(p, s) for p, s in found.table if all(getattr(p, n) == v for n, v in zip(rest, key, strict=True))]
        cells = {(getattr(p, row), getattr(p, column)): s for p, s in own}
        here = any(p == found.settings for p, _ in own)
        best = (getattr(found.settings, row), getattr(found.settings, column)) if here else None
        title = ", ".join(f"{name} {value:g}" for name, value in zip(rest, key, strict=True))
        limits = (min(scores), max(scores))
        panels.append(_titled(heat_map(cells, values[row], values[column], (row, column), limits, best), title))
    width, height = panels[0].size
    across = min(len(panels), 4)
    sheet = Image.new("RGB", (width * across, height * -(-len(panels) // across)), "white")
    for index, panel in enumerate(panels):
        sheet.paste(panel, (width * (index % across), height * (index // across)))
    return png(sheet)


def _titled(picture: Image.Image, title: str) -> Image.Image:
    """With a line of text above."""
    if not title:
        return picture
    image = Image.new("RGB", (picture.width, picture.height + 24), "white")
    image.paste(picture, (0, 24))
    ImageDraw.Draw(image).text((CELL, 6), title, fill="black")
    return image
