"""The text's Figure 9 as a picture: mean IoU over the two widths of the appearance kernel, red high and blue low."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw

CELL = 72
"""Pixels of a cell."""


def colour(share: float) -> tuple[int, int, int]:
    """0 blue, 0.5 white, 1 red."""
    ends = np.array([[59, 76, 192], [242, 240, 235], [180, 4, 38]], float)
    place = min(max(share, 0.0), 1.0) * 2
    first = min(int(place), 1)
    mixed = ends[first] + (place - first) * (ends[first + 1] - ends[first])
    red, green, blue = (int(round(value)) for value in mixed)
    return red, green, blue


def heat_map(values: Mapping[tuple[float, float], float], rows: Sequence[float], columns: Sequence[float]) -> bytes:
    """PNG bytes: a cell per (row, column) with its value; rows are theta_alpha in pixels, columns theta_beta."""
    low, high = min(values.values()), max(values.values())
    image = Image.new("RGB", (CELL * (len(columns) + 1), CELL * (len(rows) + 1)), "white")
    draw = ImageDraw.Draw(image)
    draw.text((6, CELL // 2 - 14), "theta_alpha px\ntheta_beta", fill="black")
    for j, column in enumerate(columns):
        draw.text(((j + 1) * CELL + 20, CELL // 2), f"{column:g}", fill="black")
    for i, row in enumerate(rows):
        draw.text((10, (i + 1) * CELL + CELL // 2 - 6), f"{row:g}", fill="black")
        for j, column in enumerate(columns):
            value = values[row, column]
            box = ((j + 1) * CELL, (i + 1) * CELL, (j + 2) * CELL - 1, (i + 2) * CELL - 1)
            draw.rectangle(box, fill=colour((value - low) / (high - low) if high > low else 0.5))
            draw.text((box[0] + 20, box[1] + CELL // 2 - 6), f"{value:.3f}".removeprefix("0"), fill="black")
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
