"""How the things of `cluster` are shaped, and where they lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from decoupe.data.synthetic.canvas import Canvas, Field

OVERLAP = 0.4
"""Largest hidden share of a thing."""

_COARSE = 192
"""Cells for one unit of the grid on which things are placed (the same at every size)."""

LEVELS = 5
"""Most layers of things over one another."""


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
    "coins": Sort((1, 1), 0, 0, 0.12, 0.45),
    "rice": Sort((2.5, 3.4), 0.06, 0.02, 0.1, 0.4),
    "cells": Sort((1, 1.25), 0, 0.08, 0.15, 0),
    "berries": Sort((1, 1.08), 0, 0.015, 0.14, 0.45),
    "sweets": Sort((1, 1.05), 0, 0, 0.03, 0.4),
    "beans": Sort((1.5, 1.9), 0.22, 0.02, 0.1, 0.42),
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
        deep, p, fine, q = self.lumps
        if deep or fine:
            angle = np.arctan2(v, u)
            r = r * (
                1
                + np.float32(deep) * np.sin(3 * angle + np.float32(p))
                + np.float32(fine) * np.sin(5 * angle + np.float32(q))
            )
        return np.asarray(u), np.asarray(v), np.asarray(1 - r)


def place(rng: np.random.Generator, canvas: Canvas, sort: Sort) -> list[Thing]:
    """Where the things lie: random tries on a coarse grid, many beside one that lies already."""
    rows, columns = int(np.ceil(canvas.extent_y * _COARSE)), int(np.ceil(canvas.extent_x * _COARSE))
    xs = (np.arange(columns, dtype=np.float32) + 0.5) / np.float32(_COARSE)
    ys = (np.arange(rows, dtype=np.float32) + 0.5) / np.float32(_COARSE)
    top, owner = np.full((rows, columns), -1, np.int8), np.zeros((rows, columns), np.int32)
    taken = np.zeros((LEVELS, rows, columns), bool)
    radius = rng.uniform(0.038, 0.062)
    wanted = int(rng.uniform(0.3, 0.62) * canvas.extent_x * canvas.extent_y / (np.pi * radius**2))
    together = rng.uniform(0.2, 0.7)
    limit = rng.uniform(0.1, OVERLAP)
    things: list[Thing] = []
    whole, seen = [0], [0]
    for _ in range(3 * wanted):
        if len(things) == wanted:
            break
        thing = _propose(rng, canvas, sort, radius, things, together)
        low_y, high_y = np.searchsorted(ys, (thing.y - 1.5 * thing.a, thing.y + 1.5 * thing.a))
        low_x, high_x = np.searchsorted(xs, (thing.x - 1.5 * thing.a, thing.x + 1.5 * thing.a))
        at = (slice(low_y, high_y), slice(low_x, high_x))
        depth = thing.frame(xs[None, at[1]], ys[at[0], None])[2]
        stamp, apron = depth > 0, depth > -0.45
        area = int(stamp.sum())
        level = next((k for k in range(LEVELS) if not (taken[k][at] & apron).any()), None)
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
        thing.level, thing.rng = level, rng.spawn(1)[0]
        things.append(thing)
        taken[level][at] |= stamp
        top[at][visible] = level
        owner[at][visible] = len(things)
    return things


def _propose(
    rng: np.random.Generator, canvas: Canvas, sort: Sort, radius: float, things: list[Thing], together: float
) -> Thing:
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
