"""`cluster`: many things of one sort, touching and overlapping, with exact instance ids.

The sort goes by the image's index, in turn: coins, rice, cells, berries, sweets, beans, nuclei. Things that do not meet
share a layer, so that L stays small however many there are; no thing has more than `OVERLAP` of itself hidden.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decoupe.data.synthetic.canvas import Canvas, Field, Window, colour, downsample, edge, noise, noise_at, ramp, smoothstep
from decoupe.data.synthetic.scene import GRAIN, Layer, paint
from decoupe.data.synthetic.textures import TEXTURES

CLASSES = ("background", "object")
BANDS = 3
VARIANTS = ("coins", "rice", "cells", "berries", "sweets", "beans", "nuclei")

OVERLAP = 0.4
"""Largest hidden share of a thing."""

_COARSE = 192
"""Cells for one unit of the grid on which things are placed (the same at every size)."""
_LEVELS = 5


@dataclass(frozen=True)
class Sort:
    """How one sort of thing is shaped and laid."""

    aspect: tuple[float, float]
    """Range of length to width."""
    bend: float
    """How far it is bent, like a bean."""
    lumps: float
    """Depth of the irregular outline, as a share of the radius."""
    spread: float
    """Relative deviation of the size."""
    shadow: float
    """Strength of the cast shadow."""


SORTS = {
    "coins": Sort((1, 1), 0, 0, 0.12, 0.45), "rice": Sort((2.5, 3.4), 0.06, 0.02, 0.1, 0.4),
    "cells": Sort((1, 1.25), 0, 0.08, 0.15, 0), "berries": Sort((1, 1.08), 0, 0.015, 0.14, 0.45),
    "sweets": Sort((1, 1.05), 0, 0, 0.03, 0.4), "beans": Sort((1.5, 1.9), 0.22, 0.02, 0.1, 0.42),
    "nuclei": Sort((1, 1.5), 0.05, 0.07, 0.2, 0),
}


@dataclass
class Thing:
    """One placed thing: centre and half-axes in units, turn in radians, level (0 lowest) and its own random stream."""

    x: float
    y: float
    a: float
    b: float
    turn: float
    level: int
    bend: float
    lumps: tuple[float, float, float, float]
    rng: np.random.Generator

    def frame(self, x: Field, y: Field) -> tuple[Field, Field, Field]:
        """Normalised coordinates u, v and depth 1 - r (positive inside) at x (1, w), y (h, 1)."""
        c, s = np.float32(np.cos(self.turn)), np.float32(np.sin(self.turn))
        dx, dy = x - np.float32(self.x), y - np.float32(self.y)
        u = (dx * c + dy * s) * np.float32(1 / self.a)
        v = (dy * c - dx * s) * np.float32(1 / self.b)
        if self.bend:
            v = v + np.float32(self.bend) * (u * u - np.float32(0.4)) * 2
        r = np.sqrt(u * u + v * v)
        k, p, l, q = self.lumps
        if k or l:
            angle = np.arctan2(v, u)
            r = r * (1 + np.float32(k) * np.sin(3 * angle + np.float32(p)) + np.float32(l) * np.sin(5 * angle + np.float32(q)))
        return np.asarray(u), np.asarray(v), np.asarray(1 - r)


def variant(index: int) -> str:
    """The sort of thing in image `index`."""
    return VARIANTS[index % len(VARIANTS)]


def render_layers(rng: np.random.Generator, canvas: Canvas, index: int) -> list[Layer]:
    """The ground, then the levels of things."""
    name = variant(index)
    back, lay, look = rng.spawn(3)
    shine = _Look(look, name)
    rgba, solid = paint(canvas, shine.ground(back, canvas), None)
    layers = [Layer("background", rgba, solid, 0)]
    things = place(lay, canvas, SORTS[name])
    detail = 0.5 + 0.5 * noise(look, canvas, 40, octaves=2)
    light = (-0.55, -0.6)
    number = 0
    for level in range(_LEVELS):
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


def _stamp(canvas: Canvas, thing: Thing, look: _Look, strength: float, light: tuple[float, float], detail: Field,
           sheets: tuple[Field, Field, NDArray[np.uint16]], number: int) -> None:
    """Paint one thing, and its shadow, into the sheets of its level."""
    place = canvas.window(thing.x, thing.y, thing.a * 1.5)
    if place is None:
        return
    sheet, cover, ids = sheets
    at = (place.rows, place.columns)
    u, v, depth = thing.frame(place.x, place.y)
    alpha = edge(canvas, depth * np.float32(thing.b))
    c, s = np.cos(thing.turn), np.sin(thing.turn)
    towards = (light[0] * c + light[1] * s, light[1] * c - light[0] * s)
    rgb = look.colours(thing, u, v, depth, towards, detail[at], place)
    rgb = np.clip(rgb + canvas.grain[at] * np.float32(GRAIN), 0, 1)
    free = cover[at] < 0.5
    alpha = alpha * free
    total = alpha
    if strength:
        shift = thing.b * 0.16
        _, _, below = thing.frame(place.x - np.float32(shift), place.y - np.float32(shift))
        total = alpha + np.float32(strength) * smoothstep(-0.18, 0.12, below) * (1 - alpha)
    sheet[(*at, slice(0, BANDS))] += rgb * alpha[..., None]
    sheet[(*at, BANDS)] = np.maximum(sheet[(*at, BANDS)], total)
    cover[at] = np.maximum(cover[at], alpha)
    ids[at] = np.where(alpha > 0.25, np.uint16(number), ids[at])


def place(rng: np.random.Generator, canvas: Canvas, sort: Sort) -> list[Thing]:
    """Where the things lie: random tries on a coarse grid, many beside one that lies already."""
    rows, columns = int(np.ceil(canvas.extent_y * _COARSE)), int(np.ceil(canvas.extent_x * _COARSE))
    xs = (np.arange(columns, dtype=np.float32) + 0.5) / np.float32(_COARSE)
    ys = (np.arange(rows, dtype=np.float32) + 0.5) / np.float32(_COARSE)
    top, owner = np.full((rows, columns), -1, np.int8), np.zeros((rows, columns), np.int32)
    taken = np.zeros((_LEVELS, rows, columns), bool)
    radius = rng.uniform(0.038, 0.062)
    wanted = int(rng.uniform(0.3, 0.62) * canvas.extent_x * canvas.extent_y / (np.pi * radius**2))
    together = rng.uniform(0.2, 0.7)
    limit = rng.uniform(0.1, OVERLAP)
    things: list[Thing] = []
    whole, seen = [0], [0]
    for attempt in rng.spawn(3 * wanted):
        if len(things) == wanted:
            break
        thing = _propose(attempt, canvas, sort, radius, things, together)
        low_y, high_y = np.searchsorted(ys, (thing.y - 1.5 * thing.a, thing.y + 1.5 * thing.a))
        low_x, high_x = np.searchsorted(xs, (thing.x - 1.5 * thing.a, thing.x + 1.5 * thing.a))
        at = (slice(low_y, high_y), slice(low_x, high_x))
        depth = thing.frame(xs[None, at[1]], ys[at[0], None])[2]
        stamp, apron = depth > 0, depth > -0.45
        area = int(stamp.sum())
        level = next((k for k in range(_LEVELS) if not (taken[k][at] & apron).any()), None)
        if level is None or area < 8:
            continue
        visible = stamp & (top[at] < level)
        lost = np.bincount(owner[at][visible], minlength=len(whole))
        lost[0] = 0
        hurt = np.flatnonzero(lost)
        count = int(visible.sum())
        if count < (1 - limit) * area or any(seen[k] - lost[k] < (1 - limit) * whole[k] for k in hurt):
            continue
        for k in hurt:
            seen[k] -= int(lost[k])
        whole.append(area)
        seen.append(count)
        thing.level = level
        things.append(thing)
        taken[level][at] |= stamp
        top[at][visible] = level
        owner[at][visible] = len(things)
    return things


def _propose(rng: np.random.Generator, canvas: Canvas, sort: Sort, radius: float, things: list[Thing], together: float) -> Thing:
    """A thing somewhere, or beside one of those that lie already."""
    aspect = rng.uniform(*sort.aspect)
    size = radius * float(np.exp(rng.normal(0, sort.spread)))
    a, b = size * aspect**0.5, size / aspect**0.5
    x, y = rng.uniform(0, canvas.extent_x), rng.uniform(0, canvas.extent_y)
    if things and rng.random() < together:
        other = things[int(rng.integers(0, len(things)))]
        angle, gap = rng.uniform(0, 2 * np.pi), rng.uniform(0.62, 1.08)
        reach = gap * (size + (other.a * other.b) ** 0.5)
        x, y = other.x + reach * np.cos(angle), other.y + reach * np.sin(angle)
    lumps = tuple(float(v) for v in rng.uniform(0, 1, 4) * np.array([sort.lumps, 6.28, sort.lumps * 0.7, 6.28]))
    bend = sort.bend * rng.uniform(0.6, 1.1)
    return Thing(float(x), float(y), a, b, float(rng.uniform(0, 2 * np.pi)), 0, bend, lumps, rng)  # type: ignore[arg-type]


_Painter = Callable[["_Look", Thing, Field, Field, Field, Field, Field, Field], Field]


class _Look:
    """Colours of the things, and of the ground they lie on, in one image."""

    def __init__(self, rng: np.random.Generator, name: str) -> None:
        self.name = name
        self.hue = float(rng.uniform(0, 1))
        self.pick = float(rng.random())
        stained = rng.random() < 0.5
        self.stained = stained if name == "nuclei" else False
        self.stops = [colour(t, self.hue + 0.05 * k, 0.8) for k, t in enumerate((0.2, 0.5, 0.85))]

    def ground(self, rng: np.random.Generator, canvas: Canvas) -> Field:
        """Plain or textured; dark for the fluorescent sorts."""
        drift = 1 + np.float32(0.08) * noise(rng, canvas, 1.5)
        if self.name == "cells":
            return colour(0.05, self.hue, 0.9) * (drift + np.float32(0.3) * noise(rng, canvas, 8, 3))[..., None]
        if self.name == "nuclei":
            if not self.stained:
                return colour(0.06, 0.62, 0.9) * (drift + np.float32(0.2) * noise(rng, canvas, 5, 3))[..., None]
            field = 0.5 + 0.35 * noise(rng, canvas, 7, octaves=4, gain=0.7)
            return ramp([colour(0.62, 0.9, 0.6), colour(0.78, 0.92, 0.5), colour(0.92, 0.9, 0.3)], np.asarray(field, np.float32))
        tone = rng.uniform(0.25, 0.75) if self.name != "rice" else rng.uniform(0.12, 0.4)
        hue, saturation = rng.uniform(0, 1), rng.uniform(0.05, 0.5)
        if rng.random() < 0.45:
            grainy = 1 + np.float32(0.03) * noise(rng, canvas, 30, octaves=2)
            return colour(tone, hue, saturation) * (drift * grainy)[..., None]
        texture = TEXTURES[str(rng.choice(["clouds", "fur", "checks", "speckle", "bark", "stripes"]))](rng, canvas, 0.8)
        span = rng.uniform(0.12, 0.3)
        return ramp([colour(tone * (1 - span), hue, saturation), colour(tone * (1 + span), hue, saturation)], texture) * drift[..., None]

    def colours(self, thing: Thing, u: Field, v: Field, depth: Field, light: tuple[float, float], detail: Field,
                place: Window) -> Field:
        """Colours (h, w, 3) of one thing in its own coordinates; `light` points to the lamp in them."""
        nz = np.sqrt(np.clip(1 - (1 - depth) ** 2, 0, 1))
        lit = np.clip(u * np.float32(light[0]) + v * np.float32(light[1]) + nz * np.float32(0.6), 0, 1)
        painter = {"coins": _coin, "rice": _rice, "cells": _cell, "berries": _berry, "sweets": _sweet, "beans": _bean,
                   "nuclei": _nucleus}[self.name]
        return painter(self, thing, u, v, depth, nz, lit, detail)


def _coin(look: _Look, thing: Thing, u: Field, v: Field, depth: Field, nz: Field, lit: Field, detail: Field) -> Field:
    kind = int(thing.rng.integers(0, 3))
    metal = (colour(0.5, 0.05, 0.55), colour(0.68, 0.11, 0.55), colour(0.68, 0.6, 0.06))[kind]
    r = 1 - depth
    relief = noise_at(thing.rng, u * 4 + 8, v * 4 + 8)
    relief = relief * (1 - smoothstep(0.5, 0.62, r)) + 0.9 * np.exp(-((r - np.float32(0.86)) * 14) ** 2)
    ticks = np.sin(np.arctan2(v, u) * 36) * np.exp(-((r - np.float32(0.7)) * 16) ** 2)
    sheen = 0.82 + 0.3 * np.sin(np.arctan2(v, u) * 2 + np.float32(thing.turn)) * (0.3 + r)
    worn = 0.88 + 0.2 * detail
    tone = (sheen * worn * (0.86 + 0.16 * relief + 0.1 * ticks)) * (0.55 + 0.45 * smoothstep(0.0, 0.07, depth))
    return np.asarray(metal * tone[..., None], np.float32)


def _rice(look: _Look, thing: Thing, u: Field, v: Field, depth: Field, nz: Field, lit: Field, detail: Field) -> Field:
    base = colour(thing.rng.uniform(0.74, 0.86), 0.12, 0.3 + 0.3 * look.pick)
    chalk = smoothstep(0.2, 0.9, noise_at(thing.rng, u * 2 + 8, v * 2 + 8)) * np.float32(0.12)
    tone = 0.5 + 0.55 * lit + chalk + 0.06 * (detail - 0.5)
    return np.asarray(base * tone[..., None] + (0.25 * smoothstep(0.85, 1.0, lit))[..., None], np.float32)


def _cell(look: _Look, thing: Thing, u: Field, v: Field, depth: Field, nz: Field, lit: Field, detail: Field) -> Field:
    level = thing.rng.uniform(0.4, 0.65)
    body = colour(level, look.hue, 0.9)
    core = colour(min(level + 0.3, 0.9), look.hue + 0.12, 0.7)
    ox, oy = thing.rng.uniform(-0.25, 0.25, 2)
    nucleus = smoothstep(-0.08, 0.08, 0.38 - np.hypot(u - np.float32(ox), v - np.float32(oy)))
    wall = 0.7 + 0.5 * np.exp(-((depth - np.float32(0.08)) * 10) ** 2)
    grains = 0.75 + 0.5 * detail
    rgb = body * (wall * grains)[..., None]
    return np.asarray(rgb + (core * (0.8 + 0.4 * detail)[..., None] - rgb) * nucleus[..., None], np.float32)


def _berry(look: _Look, thing: Thing, u: Field, v: Field, depth: Field, nz: Field, lit: Field, detail: Field) -> Field:
    hue, tone = ((0.98, 0.34), (0.64, 0.28), (0.33, 0.45), (0.08, 0.5))[int(look.pick * 4)]
    base = colour(tone * thing.rng.uniform(0.85, 1.2), hue + thing.rng.normal(0, 0.015), 0.85)
    bloom = np.float32(0.12) * smoothstep(0.3, 0.9, noise_at(thing.rng, u * 2 + 8, v * 2 + 8))
    rgb = base * (0.32 + 1.05 * lit + 0.12 * (detail - 0.5))[..., None] + bloom[..., None]
    ox, oy = thing.rng.uniform(-0.35, 0.35, 2)
    du, dv = u - np.float32(ox), v - np.float32(oy)
    star = smoothstep(-0.06, 0.06, 0.2 + 0.08 * np.sin(5 * np.arctan2(dv, du)) - np.hypot(du, dv))
    rgb = rgb * (1 - 0.6 * star)[..., None]
    return np.asarray(rgb + (0.75 * smoothstep(0.93, 1.0, lit))[..., None], np.float32)


def _sweet(look: _Look, thing: Thing, u: Field, v: Field, depth: Field, nz: Field, lit: Field, detail: Field) -> Field:
    hue = (0.0, 0.09, 0.16, 0.35, 0.6, 0.85, 0.05)[int(thing.rng.integers(0, 7))]
    base = colour(0.32 if hue in (0.0, 0.6) else 0.52, hue, 0.95 if hue != 0.05 else 0.5)
    rgb = base * (0.5 + 0.75 * lit + 0.03 * (detail - 0.5))[..., None]
    return np.asarray(rgb + (0.85 * smoothstep(0.94, 0.99, lit))[..., None], np.float32)


def _bean(look: _Look, thing: Thing, u: Field, v: Field, depth: Field, nz: Field, lit: Field, detail: Field) -> Field:
    base = colour(0.25 + 0.5 * look.pick, look.hue * 0.14, 0.55) * np.float32(thing.rng.uniform(0.85, 1.1))
    rgb = base * (0.42 + 0.8 * lit + 0.06 * (detail - 0.5))[..., None]
    if look.hue > 0.5:
        spots = smoothstep(0.25, 0.4, noise_at(thing.rng, u * 4 + 8, v * 3 + 8))
        rgb = rgb * (1 - 0.55 * spots)[..., None]
    eye = np.exp(-((u * 4) ** 2 + ((v - np.float32(0.55)) * 7) ** 2))
    rgb = rgb + (np.float32(0.9) * base - rgb * np.float32(0.4)) * (np.float32(0.6) * eye)[..., None]
    return np.asarray(rgb + (0.5 * smoothstep(0.92, 1.0, lit))[..., None], np.float32)


def _nucleus(look: _Look, thing: Thing, u: Field, v: Field, depth: Field, nz: Field, lit: Field, detail: Field) -> Field:
    clumps = noise_at(thing.rng, u * 2.5 + 8, v * 2.5 + 8)
    if look.stained:
        base = colour(thing.rng.uniform(0.24, 0.42), 0.74 + 0.1 * look.pick, 0.75)
        tone = 0.9 + 0.25 * clumps + 0.3 * (detail - 0.5) - 0.25 * np.exp(-((depth - np.float32(0.06)) * 12) ** 2)
    else:
        base = colour(thing.rng.uniform(0.35, 0.75), 0.62 - 0.3 * (look.pick > 0.7), 0.9)
        tone = (0.55 + 0.5 * nz) * (0.95 + 0.2 * clumps + 0.2 * (detail - 0.5))
    return np.asarray(base * tone[..., None], np.float32)
