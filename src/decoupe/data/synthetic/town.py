"""The plan of a town for `aerial`: its materials, streets and blocks, where houses, trees and cars are."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from decoupe.data.synthetic.canvas import Canvas, Field, colour, edge, smoothstep

Band4 = NDArray[np.float32]


def plant_colour(rng: np.random.Generator, tone: float | None = None) -> NDArray[np.float32]:
    """RGB of living plants, and of what is painted to look like them."""
    hue = float(rng.choice([0.30, 0.27, 0.23, 0.19, 0.14, 0.10], p=[0.24, 0.24, 0.2, 0.14, 0.1, 0.08]))
    return colour(tone or rng.uniform(0.26, 0.5), hue + rng.normal(0, 0.012), rng.uniform(0.22, 0.46))


def bands(rgb: NDArray[np.float32], infrared: float) -> Band4:
    """A material's four bands."""
    return np.append(rgb, np.float32(infrared)).astype(np.float32)


@dataclass
class House:
    """A building: centre, half-axes, turn (sheet), height, kind of roof, and its look."""

    x: float
    y: float
    a: float
    b: float
    turn: float
    height: float
    roof: str
    tone: Band4
    wing: tuple[float, float, float, float] | None
    rng: np.random.Generator


@dataclass
class Town:
    """The plan of one town: a street grid turned by `turn`, and what fills its blocks."""

    rng: np.random.Generator
    canvas: Canvas
    turn: float
    sun: tuple[float, float]
    detail: Field
    coarse: Field
    houses: list[House] = field(default_factory=list)
    trees: list[tuple[float, float, float]] = field(default_factory=list)
    cars: list[tuple[float, float, float]] = field(default_factory=list)

    def turned(self, x: Field, y: Field) -> tuple[Field, Field]:
        """Sheet coordinates -> the grid's."""
        c, s = np.float32(np.cos(self.turn)), np.float32(np.sin(self.turn))
        dx, dy = x - np.float32(self.canvas.extent_x / 2), y - np.float32(self.canvas.extent_y / 2)
        return dx * c + dy * s, dy * c - dx * s

    def sees(self, x: float, y: float) -> bool:
        """Whether a small thing at sheet coordinates may show."""
        return -0.1 < x < self.canvas.extent_x + 0.1 and -0.1 < y < self.canvas.extent_y + 0.1

    def place(self, u: float, v: float) -> tuple[float, float]:
        """The grid's coordinates -> the sheet's."""
        c, s = float(np.cos(self.turn)), float(np.sin(self.turn))
        return self.canvas.extent_x / 2 + u * c - v * s, self.canvas.extent_y / 2 + u * s + v * c


@dataclass
class Streets:
    """The street grid: positions across, and half-widths, in the grid's coordinates."""

    us: list[float]
    vs: list[float]
    half_u: list[float]
    half_v: list[float]


def _cuts(rng: np.random.Generator, reach: float) -> list[float]:
    """Positions of streets along one direction."""
    cuts = [-reach - rng.uniform(0, 0.3)]
    while cuts[-1] < reach:
        cuts.append(cuts[-1] + rng.uniform(0.36, 0.62))
    return cuts


def lay_streets(rng: np.random.Generator, town: Town) -> Streets:
    """Draw the street grid; streets of no width only part blocks."""
    reach = 0.75 * max(town.canvas.extent_x, town.canvas.extent_y) + 0.2
    us, vs = _cuts(rng, reach), _cuts(rng, reach)
    widths = [
        [float(rng.choice([0.0, 0.022, 0.028, 0.042], p=[0.22, 0.3, 0.3, 0.18])) for _ in cuts] for cuts in (us, vs)
    ]
    return Streets(us, vs, widths[0], widths[1])


def street_distance(canvas: Canvas, coordinate: Field, cuts: list[float], halves: list[float], extra: float) -> Field:
    """Signed distance to the nearest street of one direction, positive on it (or within `extra` of it)."""
    best = np.full(canvas.shape, -1, np.float32)
    for cut, half in zip(cuts, halves, strict=True):
        if half:
            np.maximum(best, np.float32(half + extra) - np.abs(coordinate - np.float32(cut)), out=best)
    return best


def lay(sheet: Field, tone: Field | Band4, cover: Field) -> None:
    """Paint a tone onto a sheet (..., 4) in place."""
    sheet += (tone - sheet) * cover[..., None]


def fill_block(
    rng: np.random.Generator,
    town: Town,
    at: tuple[Field, Field],
    box: tuple[float, float, float, float],
    sheets: tuple[Field, Field, Field],
    pond: tuple[Field, Field] | None,
) -> tuple[Field, Field] | None:
    """Fill one block; returns the water, with this block's pond if it has one."""
    canvas = town.canvas
    u, v = at
    ground, paved, cover = sheets
    u0, u1, v0, v1 = box
    inside = np.minimum(
        np.minimum(u - np.float32(u0), np.float32(u1) - u), np.minimum(v - np.float32(v0), np.float32(v1) - v)
    )
    here = edge(canvas, inside)
    kind = str(rng.choice(["homes", "field", "park", "works", "court", "pond"], p=[0.48, 0.11, 0.15, 0.13, 0.07, 0.06]))
    turf = bands(plant_colour(rng), rng.uniform(0.55, 0.82))
    if kind in ("field", "homes", "park"):
        lay(ground, turf, here)
    if kind == "field":
        rows = np.sin((u if rng.random() < 0.5 else v) * np.float32(2 * np.pi * rng.uniform(22, 40)))
        ground *= (1 + np.float32(0.12) * rows * here)[..., None]
    elif kind == "park":
        _scatter(rng, town, box, int(rng.integers(30, 60)), (0.02, 0.046))
    elif kind == "pond":
        ru, rv = (
            (u - np.float32((u0 + u1) / 2)) / np.float32((u1 - u0) * 0.42),
            (v - np.float32((v0 + v1) / 2)) / np.float32((v1 - v0) * 0.42),
        )
        shore = (1 - np.hypot(ru, rv) + np.float32(0.16) * town.coarse) * np.float32(0.15)
        tone = bands(colour(rng.uniform(0.14, 0.3), rng.uniform(0.38, 0.55), 0.45), 0.05)
        wet = edge(canvas, shore)
        colours = (
            tone * (1 + np.float32(0.1) * town.detail + np.float32(0.3) * (1 - smoothstep(0.0, 0.03, shore)))[..., None]
        )
        pond = (
            (colours, wet)
            if pond is None
            else (np.where(wet[..., None] > 0.5, colours, pond[0]), np.maximum(wet, pond[1]))
        )
        _scatter(rng, town, box, 5, (0.018, 0.03), rim=True)
    elif kind == "court":
        _court(rng, canvas, (u, v), box, paved, cover)
    elif kind == "works":
        yard = bands(colour(rng.uniform(0.38, 0.6), 0.09, 0.1), rng.uniform(0.28, 0.38))
        lay(paved, yard, here)
        np.maximum(cover, here, out=cover)
        _large(rng, town, box)
    if kind == "homes":
        _homes(rng, town, box)
    return pond


def _court(
    rng: np.random.Generator,
    canvas: Canvas,
    at: tuple[Field, Field],
    box: tuple[float, float, float, float],
    paved: Field,
    cover: Field,
) -> None:
    """A playing field of artificial turf with white lines: the colours of grass, dark in the infrared."""
    (u, v), (u0, u1, v0, v1) = at, box
    mu, mv, hu, hv = (u0 + u1) / 2, (v0 + v1) / 2, (u1 - u0) * 0.42, (v1 - v0) * 0.42
    du, dv = np.float32(hu) - np.abs(u - np.float32(mu)), np.float32(hv) - np.abs(v - np.float32(mv))
    inside = np.minimum(du, dv)
    here = edge(canvas, inside)
    turf = bands(plant_colour(rng), rng.uniform(0.16, 0.26))
    lay(paved, turf, here)
    middle = np.minimum(
        np.abs(u - np.float32(mu)), np.abs(np.hypot(u - np.float32(mu), v - np.float32(mv)) - np.float32(0.05))
    )
    line = np.float32(0.004) - np.minimum(
        np.abs(inside - np.float32(0.012)), np.where(inside > 0.012, middle, np.float32(1))
    )
    lay(paved, bands(colour(0.88, 0.1, 0.05), 0.6), edge(canvas, line) * here)
    np.maximum(cover, here, out=cover)


def _scatter(
    rng: np.random.Generator,
    town: Town,
    box: tuple[float, float, float, float],
    count: int,
    sizes: tuple[float, float],
    rim: bool = False,
) -> None:
    """Trees anywhere in a block, or along its rim."""
    u0, u1, v0, v1 = box
    for s, t, size, side in rng.random((count, 4)):
        if rim:
            s, t = (s, round(t)) if side < 0.5 else (round(s), t)
        radius = sizes[0] + (sizes[1] - sizes[0]) * float(size)
        x, y = town.place(u0 + (u1 - u0) * float(s), v0 + (v1 - v0) * float(t))
        if town.sees(x, y) and all(np.hypot(x - h.x, y - h.y) > 0.9 * max(h.a, h.b) for h in town.houses):
            town.trees.append((x, y, radius))


def roof_material(rng: np.random.Generator) -> Band4:
    """A roof's four bands; a third are as green, olive or yellow as plants are."""
    if rng.random() < 0.36:
        return bands(plant_colour(rng), rng.uniform(0.15, 0.28))
    tone, hue, saturation = (
        (0.34, 0.02, 0.6),
        (0.44, 0.05, 0.5),
        (0.3, 0.6, 0.1),
        (0.5, 0.6, 0.05),
        (0.74, 0.1, 0.05),
        (0.27, 0.07, 0.4),
    )[int(rng.integers(0, 6))]
    return bands(colour(tone * rng.uniform(0.88, 1.12), hue, saturation), rng.uniform(0.2, 0.42))


def _homes(rng: np.random.Generator, town: Town, box: tuple[float, float, float, float]) -> None:
    """Houses on plots along the block, trees between them."""
    u0, u1, v0, v1 = box
    across, deep = max(1, int((u1 - u0) / 0.165)), max(1, int((v1 - v0) / 0.165))
    for i in range(across):
        for j in range(deep):
            if rng.random() < 0.12:
                continue
            u, v = (
                u0 + (u1 - u0) * (i + 0.5) / across + rng.normal(0, 0.008),
                v0 + (v1 - v0) * (j + 0.5) / deep + rng.normal(0, 0.008),
            )
            x, y = town.place(u, v)
            a, b = rng.uniform(0.055, 0.073), rng.uniform(0.04, 0.053)
            turn = town.turn + rng.choice([0, np.pi / 2]) + rng.normal(0, 0.04)
            wing = None
            if rng.random() < 0.35:
                wing = (a * rng.choice([-0.5, 0.5]), b * 0.9, a * 0.4, b * 0.7)
            town.houses.append(
                House(
                    x,
                    y,
                    a,
                    b,
                    float(turn),
                    rng.uniform(0.02, 0.032),
                    str(rng.choice(["gable", "gable", "hip"])),
                    roof_material(rng),
                    wing,
                    rng.spawn(1)[0],
                )
            )
    _scatter(rng, town, box, int(rng.integers(12, 26)), (0.014, 0.036))


def _large(rng: np.random.Generator, town: Town, box: tuple[float, float, float, float]) -> None:
    """One or two flat halls and a car park."""
    u0, u1, v0, v1 = box
    mu, mv, hu, hv = (u0 + u1) / 2, (v0 + v1) / 2, (u1 - u0) / 2, (v1 - v0) / 2
    share = rng.uniform(0.45, 0.6)
    x, y = town.place(mu - hu * (1 - share) * 0.85, mv)
    town.houses.append(
        House(
            x,
            y,
            hu * share,
            hv * rng.uniform(0.6, 0.82),
            town.turn,
            rng.uniform(0.035, 0.055),
            "flat",
            roof_material(rng),
            None,
            rng.spawn(1)[0],
        )
    )
    for row in range(2):
        for along in np.arange(-0.85 * hv, 0.85 * hv, 0.03):
            if rng.random() < 0.6:
                x, y = town.place(mu + hu - 0.03 - 0.058 * row, mv + float(along))
                town.cars.append((x, y, town.turn))


def park_cars(rng: np.random.Generator, town: Town, streets: Streets) -> None:
    """Cars on the streets, each on its side."""
    reach = 0.8 * max(town.canvas.extent_x, town.canvas.extent_y)
    for direction, (cuts, halves) in enumerate(((streets.us, streets.half_u), (streets.vs, streets.half_v))):
        for cut, half in zip(cuts, halves, strict=True):
            if half:
                for along in np.arange(-reach, reach, 0.06):
                    if rng.random() < 0.26:
                        side = cut + half * 0.52 * rng.choice([-1, 1])
                        u, v = (side, along) if direction == 0 else (along, side)
                        x, y = town.place(float(u), float(v))
                        if town.sees(x, y) and all(abs(x - o[0]) + abs(y - o[1]) > 0.06 for o in town.cars):
                            town.cars.append((x, y, town.turn + (np.pi / 2 if direction == 0 else 0)))
