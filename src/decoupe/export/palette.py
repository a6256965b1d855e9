"""Colours of regions: told apart under every common colour blindness, background always quiet."""

from __future__ import annotations

import colorsys
import re
from collections.abc import Sequence

Colour = tuple[int, int, int]
HEX = re.compile(r"#[0-9a-fA-F]{6}")

BACKGROUND: Colour = (0, 0, 0)
OKABE_ITO: tuple[Colour, ...] = (
    (86, 180, 233),
    (230, 159, 0),
    (0, 158, 115),
    (204, 121, 167),
    (213, 94, 0),
    (0, 114, 178),
    (240, 228, 66),
)
"""Okabe & Ito's palette without black, sky blue first: it is rare in what people photograph."""


def is_background(name: str) -> bool:
    """Whether a region of this name is the background: not tinted, not exported as an object."""
    return name.strip().casefold() == "background"


def _more(index: int) -> Colour:
    """Further colours: hue by the golden ratio, three levels of lightness in turn."""
    r, g, b = colorsys.hls_to_rgb(index * 0.618034 % 1.0, (0.35, 0.55, 0.75)[index % 3], 0.65)
    return round(r * 255), round(g * 255), round(b * 255)


def colours(names: Sequence[str]) -> tuple[Colour, ...]:
    """One (r, g, b) in 0-255 per region: black for the background, the palette in order for the others."""
    found, used = [], 0
    for name in names:
        if is_background(name):
            found.append(BACKGROUND)
            continue
        found.append(OKABE_ITO[used] if used < len(OKABE_ITO) else _more(used))
        used += 1
    return tuple(found)


def given(text: str) -> Colour | None:
    """The colour that "#rrggbb" stands for, or None."""
    return (int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)) if HEX.fullmatch(text) else None


def chosen(names: Sequence[str], choices: Sequence[str]) -> tuple[Colour, ...]:
    """`colours`, but what a person chose ("#rrggbb") where there is a choice; `choices` per name, or none at all."""
    picked = [given(text) for text in choices] or [None] * len(names)
    return tuple(mine or usual for mine, usual in zip(picked, colours(names), strict=True))
