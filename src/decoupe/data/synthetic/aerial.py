"""`aerial`: a town from above in four bands, red, green, blue and near infrared.

Fields and lawns, water, paved ground (streets, yards, courts), cars, buildings, trees. Living plants are bright in the near
infrared, whatever their colour (green, olive, dry yellow, autumn red); painted roofs and artificial turf take the colours
of plants and stay dark there: the fourth band tells what the first three cannot.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from decoupe.data.synthetic.canvas import Canvas, Field, colour, downsample, edge, noise, smoothstep
from decoupe.data.synthetic.scene import GRAIN, Layer, paint

CLASSES = ("grass", "water", "paved", "car", "building", "tree")
BANDS = 4

Band4 = NDArray[np.float32]


def plant_colour(rng: np.random.Generator, tone: float | None = None) -> NDArray[np.float32]:
    """RGB of living plants, and of what is painted to look like them."""
    hue = float(rng.choice([0.30, 0.27, 0.23, 0.19, 0.14, 0.10], p=[0.24, 0.24, 0.2, 0.14, 0.1, 0.08]))
    return colour(tone or rng.uniform(0.26, 0.5), hue + rng.normal(0, 0.012), rng.uniform(0.35, 0.6))


def bands(rgb: NDArray[np.float32], infrared: float) -> Band4:
    """A material's four bands."""
    return np.append(rgb, np.float32(infrared)).astype(np.float32)


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

    def place(self, u: float, v: float) -> tuple[float, float]:
        """The grid's coordinates -> the sheet's."""
        c, s = float(np.cos(self.turn)), float(np.sin(self.turn))
        return self.canvas.extent_x / 2 + u * c - v * s, self.canvas.extent_y / 2 + u * s + v * c


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


def render_layers(rng: np.random.Generator, canvas: Canvas) -> list[Layer]:
    """Grass below all, then water, paved ground, cars, buildings, trees."""
    plan, base, pave, roofs, leaves = rng.spawn(5)
    angle = plan.uniform(0, 2 * np.pi)
    town = Town(plan, canvas, plan.uniform(-0.8, 0.8), (float(np.cos(angle)), float(np.sin(angle))),
                noise(plan, canvas, 44, octaves=2), noise(plan, canvas, 6, octaves=3))
    streets = _streets(plan, town)
    ground, paved, paved_cover, water = _grounds(base, pave, town, streets)
    rgba, solid = paint(canvas, ground, None)
    layers = [Layer("grass", rgba, solid, 0)]
    if water is not None:
        layers.append(_sheet_layer("water", canvas, *water))
    layers.append(_sheet_layer("paved", canvas, paved, paved_cover))
    number = 0
    for name, painter in (("car", _cars), ("building", _houses), ("tree", _trees)):
        layer, number = painter(roofs if name == "building" else leaves, town, number)
        if layer.parts:
            layers.append(layer)
    return layers


def _sheet_layer(name: str, canvas: Canvas, colours: Field, cover: Field) -> Layer:
    rgba, solid = paint(canvas, colours, cover)
    return Layer(name, rgba, solid, CLASSES.index(name))


def _cuts(rng: np.random.Generator, reach: float) -> list[float]:
    """Positions of streets along one direction."""
    cuts = [-reach - rng.uniform(0, 0.3)]
    while cuts[-1] < reach:
        cuts.append(cuts[-1] + rng.uniform(0.36, 0.62))
    return cuts


@dataclass
class Streets:
    """The street grid: positions across, and half-widths, in the grid's coordinates."""

    us: list[float]
    vs: list[float]
    half_u: list[float]
    half_v: list[float]


def _streets(rng: np.random.Generator, town: Town) -> Streets:
    reach = 0.75 * max(town.canvas.extent_x, town.canvas.extent_y) + 0.2
    us, vs = _cuts(rng, reach), _cuts(rng, reach)
    widths = [[float(rng.choice([0.0, 0.022, 0.028, 0.042], p=[0.22, 0.3, 0.3, 0.18])) for _ in cuts] for cuts in (us, vs)]
    return Streets(us, vs, widths[0], widths[1])


def _lines(canvas: Canvas, coordinate: Field, cuts: list[float], halves: list[float], extra: float) -> Field:
    """Signed distance to the nearest street of one direction, positive on it (or within `extra` of it)."""
    best = np.full(canvas.shape, -1, np.float32)
    for cut, half in zip(cuts, halves, strict=True):
        if half:
            np.maximum(best, np.float32(half + extra) - np.abs(coordinate - np.float32(cut)), out=best)
    return best


def _grounds(rng: np.random.Generator, pave: np.random.Generator, town: Town, streets: Streets
             ) -> tuple[Field, Field, Field, tuple[Field, Field] | None]:
    """Colours of the green ground, of the paved ground with its coverage, and of the water with its."""
    canvas = town.canvas
    u, v = town.turned(canvas.x, canvas.y)
    lawn = bands(plant_colour(rng), rng.uniform(0.62, 0.78))
    ground = np.broadcast_to(lawn, (*canvas.shape, 4)).astype(np.float32)
    asphalt = bands(colour(pave.uniform(0.28, 0.42), 0.6, 0.08), pave.uniform(0.22, 0.3))
    walk = bands(colour(pave.uniform(0.5, 0.66), 0.1, 0.1), pave.uniform(0.34, 0.42))
    paved = np.broadcast_to(walk, (*canvas.shape, 4)).astype(np.float32)
    su, sv = (_lines(canvas, c, cuts, halves, 0.0) for c, cuts, halves in
              ((u, streets.us, streets.half_u), (v, streets.vs, streets.half_v)))
    street = np.maximum(su, sv)
    cover = edge(canvas, street + np.float32(0.012))
    pond = None
    for i, (u0, u1) in enumerate(zip(streets.us, streets.us[1:], strict=False)):
        for j, (v0, v1) in enumerate(zip(streets.vs, streets.vs[1:], strict=False)):
            child = rng.spawn(1)[0]
            box = (u0 + streets.half_u[i] + 0.012, u1 - streets.half_u[i + 1] - 0.012,
                   v0 + streets.half_v[j] + 0.012, v1 - streets.half_v[j + 1] - 0.012)
            x, y = town.place((u0 + u1) / 2, (v0 + v1) / 2)
            if -0.45 < x < canvas.extent_x + 0.45 and -0.45 < y < canvas.extent_y + 0.45:
                pond = _block(child, town, (u, v), box, (ground, paved, cover), pond)
    _lay(paved, asphalt, edge(canvas, street))
    lane = _markings(canvas, u, v, streets)
    _lay(paved, bands(colour(0.85, 0.1, 0.05), 0.6), lane * edge(canvas, np.where(np.minimum(su, sv) > 0, np.float32(-1), street)))
    _park_cars(pave, town, streets)
    ground *= (1 + np.float32(0.13) * town.coarse + np.float32(0.11) * town.detail)[..., None]
    paved *= (1 + np.float32(0.06) * town.coarse + np.float32(0.05) * town.detail)[..., None]
    return ground, paved, cover, pond


def _lay(sheet: Field, tone: Field | Band4, cover: Field) -> None:
    sheet += (tone - sheet) * cover[..., None]


def _markings(canvas: Canvas, u: Field, v: Field, streets: Streets) -> Field:
    """Dashed middle lines."""
    out = np.zeros(canvas.shape, np.float32)
    for across, along, cuts, halves in ((u, v, streets.us, streets.half_u), (v, u, streets.vs, streets.half_v)):
        for cut, half in zip(cuts, halves, strict=True):
            if half:
                line = edge(canvas, np.float32(0.0022) - np.abs(across - np.float32(cut)))
                dash = (along * np.float32(18)) % 1 < 0.55
                np.maximum(out, line * dash, out=out)
    return out


def _block(rng: np.random.Generator, town: Town, at: tuple[Field, Field], box: tuple[float, float, float, float],
           sheets: tuple[Field, Field, Field], pond: tuple[Field, Field] | None) -> tuple[Field, Field] | None:
    """Fill one block; returns the water, with this block's pond if it has one."""
    canvas = town.canvas
    u, v = at
    ground, paved, cover = sheets
    u0, u1, v0, v1 = box
    inside = np.minimum(np.minimum(u - np.float32(u0), np.float32(u1) - u), np.minimum(v - np.float32(v0), np.float32(v1) - v))
    here = edge(canvas, inside)
    kind = str(rng.choice(["homes", "field", "park", "works", "court", "pond"], p=[0.38, 0.16, 0.14, 0.16, 0.09, 0.07]))
    turf = bands(plant_colour(rng), rng.uniform(0.55, 0.82))
    if kind in ("field", "homes", "park"):
        _lay(ground, turf, here)
    if kind == "field":
        rows = np.sin((u if rng.random() < 0.5 else v) * np.float32(2 * np.pi * rng.uniform(22, 40)))
        ground *= (1 + np.float32(0.12) * rows * here)[..., None]
    elif kind == "park":
        _scatter(rng, town, box, int(rng.integers(10, 22)), (0.02, 0.045))
    elif kind == "pond":
        ru, rv = (u - np.float32((u0 + u1) / 2)) / np.float32((u1 - u0) * 0.42), (v - np.float32((v0 + v1) / 2)) / np.float32((v1 - v0) * 0.42)
        shore = (1 - np.hypot(ru, rv) + np.float32(0.16) * town.coarse) * np.float32(0.15)
        tone = bands(colour(rng.uniform(0.14, 0.3), rng.uniform(0.38, 0.55), 0.45), 0.05)
        wet = edge(canvas, shore)
        colours = tone * (1 + np.float32(0.1) * town.detail + np.float32(0.3) * (1 - smoothstep(0.0, 0.03, shore)))[..., None]
        pond = (colours, wet) if pond is None else (np.where(wet[..., None] > 0.5, colours, pond[0]), np.maximum(wet, pond[1]))
        _scatter(rng, town, box, 5, (0.018, 0.03), rim=True)
    elif kind == "court":
        _court(rng, canvas, (u, v), box, paved, cover)
    elif kind == "works":
        yard = bands(colour(rng.uniform(0.38, 0.6), 0.09, 0.1), rng.uniform(0.28, 0.38))
        _lay(paved, yard, here)
        np.maximum(cover, here, out=cover)
        _large(rng, town, box)
    if kind == "homes":
        _homes(rng, town, box)
    return pond


def _court(rng: np.random.Generator, canvas: Canvas, at: tuple[Field, Field], box: tuple[float, float, float, float],
           paved: Field, cover: Field) -> None:
    """A playing field of artificial turf with white lines: the colours of grass, dark in the infrared."""
    (u, v), (u0, u1, v0, v1) = at, box
    mu, mv, hu, hv = (u0 + u1) / 2, (v0 + v1) / 2, (u1 - u0) * 0.42, (v1 - v0) * 0.42
    du, dv = np.float32(hu) - np.abs(u - np.float32(mu)), np.float32(hv) - np.abs(v - np.float32(mv))
    inside = np.minimum(du, dv)
    here = edge(canvas, inside)
    turf = bands(plant_colour(rng), rng.uniform(0.16, 0.26))
    _lay(paved, turf, here)
    middle = np.minimum(np.abs(u - np.float32(mu)), np.abs(np.hypot(u - np.float32(mu), v - np.float32(mv)) - np.float32(0.05)))
    line = np.float32(0.004) - np.minimum(np.abs(inside - np.float32(0.012)), np.where(inside > 0.012, middle, np.float32(1)))
    _lay(paved, bands(colour(0.88, 0.1, 0.05), 0.6), edge(canvas, line) * here)
    np.maximum(cover, here, out=cover)


def _scatter(rng: np.random.Generator, town: Town, box: tuple[float, float, float, float], count: int, sizes: tuple[float, float],
             rim: bool = False) -> None:
    """Trees anywhere in a block, or along its rim."""
    u0, u1, v0, v1 = box
    for s, t, size, side in rng.random((count, 4)):
        if rim:
            s, t = (s, round(t)) if side < 0.5 else (round(s), t)
        radius = sizes[0] + (sizes[1] - sizes[0]) * float(size)
        x, y = town.place(u0 + (u1 - u0) * float(s), v0 + (v1 - v0) * float(t))
        if all(np.hypot(x - h.x, y - h.y) > max(h.a, h.b) + 0.4 * radius for h in town.houses):
            town.trees.append((x, y, radius))


def _roof(rng: np.random.Generator) -> Band4:
    """A roof's four bands; a third are as green, olive or yellow as plants are."""
    if rng.random() < 0.36:
        return bands(plant_colour(rng), rng.uniform(0.15, 0.28))
    tone, hue, saturation = ((0.34, 0.02, 0.6), (0.44, 0.05, 0.5), (0.3, 0.6, 0.1), (0.5, 0.6, 0.05), (0.74, 0.1, 0.05),
                             (0.27, 0.07, 0.4))[int(rng.integers(0, 6))]
    return bands(colour(tone * rng.uniform(0.88, 1.12), hue, saturation), rng.uniform(0.2, 0.42))


def _homes(rng: np.random.Generator, town: Town, box: tuple[float, float, float, float]) -> None:
    """Houses on plots along the block, trees between them."""
    u0, u1, v0, v1 = box
    across, deep = max(1, int((u1 - u0) / 0.17)), max(1, int((v1 - v0) / 0.19))
    for i in range(across):
        for j in range(deep):
            if rng.random() < 0.12:
                continue
            u, v = u0 + (u1 - u0) * (i + 0.5) / across + rng.normal(0, 0.008), v0 + (v1 - v0) * (j + 0.5) / deep + rng.normal(0, 0.008)
            x, y = town.place(u, v)
            a, b = rng.uniform(0.048, 0.066), rng.uniform(0.034, 0.046)
            turn = town.turn + rng.choice([0, np.pi / 2]) + rng.normal(0, 0.04)
            wing = None
            if rng.random() < 0.35:
                wing = (a * rng.choice([-0.5, 0.5]), b * 0.9, a * 0.4, b * 0.7)
            town.houses.append(House(x, y, a, b, float(turn), rng.uniform(0.02, 0.032), str(rng.choice(["gable", "gable", "hip"])),
                                     _roof(rng), wing, rng.spawn(1)[0]))
    _scatter(rng, town, box, int(rng.integers(6, 14)), (0.014, 0.034))


def _large(rng: np.random.Generator, town: Town, box: tuple[float, float, float, float]) -> None:
    """One or two flat halls and a car park."""
    u0, u1, v0, v1 = box
    mu, mv, hu, hv = (u0 + u1) / 2, (v0 + v1) / 2, (u1 - u0) / 2, (v1 - v0) / 2
    share = rng.uniform(0.5, 0.68)
    x, y = town.place(mu - hu * (1 - share) * 0.75, mv)
    town.houses.append(House(x, y, hu * share, hv * rng.uniform(0.6, 0.82), town.turn, rng.uniform(0.035, 0.055), "flat",
                             _roof(rng), None, rng.spawn(1)[0]))
    for row in range(2):
        for k in np.arange(-0.8, 0.8, 0.055 / max(hv, 0.05)):
            if rng.random() < 0.6:
                cx, cy = town.place(mu + hu * (share + 0.12 + 0.24 * row), mv + hv * float(k))
                town.cars.append((cx, cy, town.turn))


def _park_cars(rng: np.random.Generator, town: Town, streets: Streets) -> None:
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
                        town.cars.append((x, y, town.turn + (np.pi / 2 if direction == 0 else 0)))


class _Stack:
    """One layer of many things, each laid over those before it."""

    def __init__(self, canvas: Canvas) -> None:
        self.canvas = canvas
        self.sheet = np.zeros((*canvas.shape, BANDS + 1), np.float32)
        self.shadow = np.zeros(canvas.shape, np.float32)
        self.ids = np.zeros(canvas.shape, np.uint16)
        self.parts: list[tuple[int, int, str]] = []

    def put(self, at: tuple[slice, slice], colours: Field, cover: Field, number: int, name: str) -> None:
        """Lay colours (h, w, 4) with a coverage (h, w) over what lies there."""
        colours = np.clip(colours + self.canvas.grain[at] * np.float32(GRAIN), 0, 1)
        target = self.sheet[at]
        target *= (1 - cover)[..., None]
        target[..., :-1] += colours * cover[..., None]
        target[..., -1] += cover
        self.ids[at] = np.where(cover > 0.5, np.uint16(number), self.ids[at])
        self.parts.append((number, CLASSES.index(name), name))

    def layer(self, name: str) -> Layer:
        """The finished layer."""
        solid = downsample(self.sheet[..., -1])
        self.sheet[..., -1] += self.shadow * (1 - self.sheet[..., -1])
        ids = self.ids
        merged = np.maximum(np.maximum(ids[0::2, 0::2], ids[0::2, 1::2]), np.maximum(ids[1::2, 0::2], ids[1::2, 1::2]))
        return Layer(name, downsample(self.sheet), solid, CLASSES.index(name), self.parts, merged)


def _cars(rng: np.random.Generator, town: Town, number: int) -> tuple[Layer, int]:
    stack = _Stack(town.canvas)
    for x, y, turn in town.cars:
        tone = bands(colour(rng.choice([0.9, 0.75, 0.12, 0.3, 0.35]), rng.uniform(0, 1), rng.choice([0.05, 0.9])), rng.uniform(0.15, 0.6))
        place = town.canvas.window(x, y, 0.03)
        if place is None:
            continue
        c, s = np.float32(np.cos(turn)), np.float32(np.sin(turn))
        p = np.abs((place.x - np.float32(x)) * c + (place.y - np.float32(y)) * s)
        q = np.abs((place.y - np.float32(y)) * c - (place.x - np.float32(x)) * s)
        inside = np.minimum(np.float32(0.0195) - p, np.float32(0.0092) - q)
        at = (place.rows, place.columns)
        glass = edge(town.canvas, np.minimum(np.float32(0.004) - np.abs(p - np.float32(0.009)), np.float32(0.0075) - q))
        colours = tone + (bands(colour(0.12, 0.6, 0.2), 0.1) - tone) * glass[..., None]
        number += 1
        stack.put(at, colours, edge(town.canvas, inside), number, "car")
        below = np.minimum(np.float32(0.0225) - p, np.float32(0.0122) - q)
        np.maximum(stack.shadow[at], np.float32(0.35) * edge(town.canvas, below, 4), out=stack.shadow[at])
    return stack.layer("car"), number


def _houses(rng: np.random.Generator, town: Town, number: int) -> tuple[Layer, int]:
    stack, canvas = _Stack(town.canvas), town.canvas
    for house in town.houses:
        place = canvas.window(house.x, house.y, float(np.hypot(house.a, house.b)) * 1.25 + 2 * house.height)
        if place is None:
            continue
        at = (place.rows, place.columns)
        c, s = np.float32(np.cos(house.turn)), np.float32(np.sin(house.turn))

        def local(dx: float, dy: float, place_x: Field = place.x, place_y: Field = place.y, house: House = house,
                  c: np.float32 = c, s: np.float32 = s) -> tuple[Field, Field]:
            ex, ey = place_x - np.float32(house.x + dx), place_y - np.float32(house.y + dy)
            return np.asarray(ex * c + ey * s), np.asarray(ey * c - ex * s)

        for step in np.linspace(0.15, 1, 6):
            shift = -house.height * 1.3 * float(step)
            p, q = local(shift * town.sun[0], shift * town.sun[1])
            dark = np.float32(0.48) * edge(canvas, _outline(house, p, q), 2.5)
            np.maximum(stack.shadow[at], dark, out=stack.shadow[at])
        p, q = local(0.0, 0.0)
        number += 1
        stack.put(at, _roof_colours(house, town, p, q, town.detail[at]), edge(canvas, _outline(house, p, q)), number, "building")
    return stack.layer("building"), number


def _outline(house: House, p: Field, q: Field) -> Field:
    inside = np.minimum(np.float32(house.a) - np.abs(p), np.float32(house.b) - np.abs(q))
    if house.wing is not None:
        wp, wq, wa, wb = house.wing
        inside = np.maximum(inside, np.minimum(np.float32(wa) - np.abs(p - np.float32(wp)), np.float32(wb) - np.abs(q - np.float32(wq))))
    return inside


def _roof_colours(house: House, town: Town, p: Field, q: Field, detail: Field) -> Field:
    """Four bands (h, w, 4) of a roof: slopes lit by the sun, courses of tiles; or flat with a parapet and boxes."""
    c, s = float(np.cos(house.turn)), float(np.sin(house.turn))
    sun = (town.sun[0] * c + town.sun[1] * s, town.sun[1] * c - town.sun[0] * s)
    if house.roof == "flat":
        rim = np.minimum(np.float32(house.a) - np.abs(p), np.float32(house.b) - np.abs(q))
        tone = 1 + 0.04 * detail + np.float32(0.2) * (1 - smoothstep(0.006, 0.009, rim))
        out = house.tone * tone[..., None]
        for fx, fy in house.rng.uniform(-0.7, 0.7, (int(house.rng.integers(1, 5)), 2)):
            box = np.float32(0.012) - np.maximum(np.abs(p - np.float32(fx * house.a)), np.abs(q - np.float32(fy * house.b)))
            out = out + (bands(colour(0.72, 0.6, 0.05), 0.35) - out) * edge(town.canvas, box)[..., None]
        return np.asarray(out, np.float32)
    light = np.where(q > 0, np.float32(1 + 0.24 * sun[1]), np.float32(1 - 0.24 * sun[1]))
    if house.roof == "hip":
        ends = np.abs(p) - np.float32(house.a - house.b) > np.abs(q)
        light = np.where(ends, np.where(p > 0, np.float32(1 + 0.24 * sun[0]), np.float32(1 - 0.24 * sun[0])), light)
    if house.wing is not None:
        wp, wq, wa, _ = house.wing
        wing = (np.abs(p - np.float32(wp)) < np.float32(wa)) & (q * np.float32(np.sign(wq)) > np.float32(house.b * 0.2))
        light = np.where(wing, np.where(p > np.float32(wp), np.float32(1 + 0.24 * sun[0]), np.float32(1 - 0.24 * sun[0])), light)
    courses = 1 + np.float32(0.05) * np.sin(q * np.float32(2 * np.pi / 0.008)) + np.float32(0.06) * detail
    ridge = 1 + np.float32(0.18) * (np.abs(q) < 0.0022)
    out = house.tone * (light * courses * ridge)[..., None]
    chimney = np.float32(0.0065) - np.maximum(np.abs(p - np.float32(house.a * 0.45)), np.abs(q - np.float32(house.b * 0.3)))
    return np.asarray(out + (bands(colour(0.25, 0.03, 0.3), 0.2) - out) * edge(town.canvas, chimney)[..., None], np.float32)


def _trees(rng: np.random.Generator, town: Town, number: int) -> tuple[Layer, int]:
    stack, canvas = _Stack(town.canvas), town.canvas
    base = [plant_colour(rng, rng.uniform(0.2, 0.38)) for _ in range(3)]
    for x, y, radius in town.trees:
        tone = base[int(rng.integers(0, 3))] * np.float32(rng.uniform(0.85, 1.15))
        infrared, phases = rng.uniform(0.6, 0.82), rng.uniform(0, 6.28, 2)
        place = canvas.window(x, y, radius * 2.4)
        if place is None:
            continue
        at = (place.rows, place.columns)

        def crown(dx: float, dy: float, x: float = x, y: float = y, radius: float = radius,
                  phases: NDArray[np.float64] = phases, px: Field = place.x, py: Field = place.y) -> tuple[Field, Field, Field]:
            u, v = (px - np.float32(x + dx)) / np.float32(radius), (py - np.float32(y + dy)) / np.float32(radius)
            angle = np.arctan2(v, u)
            lobes = np.float32(0.09) * np.sin(5 * angle + np.float32(phases[0])) + np.float32(0.06) * np.sin(9 * angle + np.float32(phases[1]))
            return u, v, np.asarray((1 + lobes - np.hypot(u, v)) * np.float32(radius))

        shift = -radius * 0.75
        np.maximum(stack.shadow[at], np.float32(0.42) * edge(canvas, crown(shift * town.sun[0], shift * town.sun[1])[2], 3), out=stack.shadow[at])
        u, v, inside = crown(0.0, 0.0)
        lit = 0.88 + 0.34 * (u * np.float32(town.sun[0]) + v * np.float32(town.sun[1])) + 0.26 * town.detail[at]
        number += 1
        stack.put(at, bands(tone, infrared) * np.clip(lit, 0.4, 1.5)[..., None], edge(canvas, inside + np.float32(0.004) * town.detail[at]), number, "tree")
    return stack.layer("tree"), number
