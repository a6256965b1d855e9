"""`cluster`: many things of one sort, touching and overlapping, with exact instance ids.

The sort goes by the image's index, in turn: coins, rice, cells, berries, sweets, beans, nuclei. Things that do not
meet share a layer, so that L stays small however many there are; no thing has more than `piles.OVERLAP` of itself
hidden.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from decoupe.data.synthetic.canvas import Canvas, Field, downsample, edge, noise, smoothstep
from decoupe.data.synthetic.looks import Look
from decoupe.data.synthetic.piles import LEVELS, SORTS, Thing, place
from decoupe.data.synthetic.scene import GRAIN, Layer, paint

CLASSES = ("background", "object")
BANDS = 3
VARIANTS = ("coins", "rice", "cells", "berries", "sweets", "beans", "nuclei")


def variant(index: int) -> str:
    """The sort of thing in image `index`."""
    return VARIANTS[index % len(VARIANTS)]


def render_layers(rng: np.random.Generator, canvas: Canvas, index: int) -> list[Layer]:
    """The ground, then the levels of things."""
    name = variant(index)
    back, lay, look = rng.spawn(3)
    shine = Look(look, name)
    rgba, solid = paint(canvas, shine.ground(back, canvas), None)
    layers = [Layer("background", rgba, solid, 0)]
    things = place(lay, canvas, SORTS[name])
    detail = 0.5 + 0.5 * noise(look, canvas, 40, octaves=2)
    light = (-0.55, -0.6)
    number = 0
    for level in range(LEVELS):
        sheet = np.zeros((*canvas.shape, BANDS + 1), np.float32)
        cover = np.zeros(canvas.shape, np.float32)
        ids = np.zeros(canvas.shape, np.uint16)
        parts = []
        for thing in things:
            if thing.level == level:
                number += 1
                parts.append((number, 1, "object"))
                _stamp(canvas, thing, shine, SORTS[name].shadow, light, detail, (sheet, cover, ids), number)
        if parts:
            layers.append(_level(sheet, cover, ids, parts))
    return layers


def _level(sheet: Field, cover: Field, ids: NDArray[np.uint16], parts: list[tuple[int, int, str]]) -> Layer:
    """The things of one level as a layer."""
    corners = (ids[0::2, 0::2], ids[0::2, 1::2], ids[1::2, 0::2], ids[1::2, 1::2])
    merged = np.maximum(np.maximum(corners[0], corners[1]), np.maximum(corners[2], corners[3]))
    return Layer("object", downsample(sheet), downsample(cover), 1, parts, merged)


def _stamp(
    canvas: Canvas,
    thing: Thing,
    look: Look,
    strength: float,
    light: tuple[float, float],
    detail: Field,
    sheets: tuple[Field, Field, NDArray[np.uint16]],
    number: int,
) -> None:
    """Paint one thing, and its shadow, into the sheets of its level."""
    seen = canvas.window(thing.x, thing.y, thing.a * 1.5)
    if seen is None:
        return
    sheet, cover, ids = sheets
    at = (seen.rows, seen.columns)
    u, v, depth = thing.frame(seen.x, seen.y)
    alpha = edge(canvas, depth * np.float32(thing.b))
    c, s = np.cos(thing.turn), np.sin(thing.turn)
    towards = (light[0] * c + light[1] * s, light[1] * c - light[0] * s)
    rgb = look.colours(thing, u, v, depth, towards, detail[at])
    rgb = np.clip(rgb + canvas.grain[at] * np.float32(GRAIN), 0, 1)
    free = cover[at] < 0.5
    alpha = alpha * free
    total = alpha
    if strength:
        shift = thing.b * 0.16
        _, _, below = thing.frame(seen.x - np.float32(shift), seen.y - np.float32(shift))
        total = alpha + np.float32(strength) * smoothstep(-0.18, 0.12, below) * (1 - alpha)
    sheet[(*at, slice(0, BANDS))] += rgb * alpha[..., None]
    sheet[(*at, BANDS)] = np.maximum(sheet[(*at, BANDS)], total)
    cover[at] = np.maximum(cover[at], alpha)
    ids[at] = np.where(alpha > 0.25, np.uint16(number), ids[at])
