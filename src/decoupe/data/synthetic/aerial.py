"""`aerial`: a town from above in four bands, red, green, blue and near infrared.

Fields and lawns, water, paved ground (streets, yards, courts), cars, buildings, trees. Living plants are bright in
the near infrared, whatever their colour (green, olive, dry yellow, autumn red); painted roofs and artificial turf
take the colours of plants and stay dark there: the fourth band tells what the first three cannot.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from decoupe.data.synthetic.canvas import Canvas, Field, colour, downsample, edge, noise, smoothstep
from decoupe.data.synthetic.scene import GRAIN, Layer, paint
from decoupe.data.synthetic.town import (
    House,
    Streets,
    Town,
    bands,
    fill_block,
    lay,
    lay_streets,
    park_cars,
    plant_colour,
    street_distance,
)

CLASSES = ("grass", "water", "paved", "car", "building", "tree")
BANDS = 4


def render_layers(rng: np.random.Generator, canvas: Canvas) -> list[Layer]:
    """Grass below all, then water, paved ground, cars, buildings, trees."""
    plan, base, pave, roofs, leaves = rng.spawn(5)
    angle = plan.uniform(0, 2 * np.pi)
    town = Town(
        plan,
        canvas,
        plan.uniform(-0.8, 0.8),
        (float(np.cos(angle)), float(np.sin(angle))),
        noise(plan, canvas, 44, octaves=2),
        noise(plan, canvas, 6, octaves=3),
    )
    streets = lay_streets(plan, town)
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


def _grounds(
    rng: np.random.Generator, pave: np.random.Generator, town: Town, streets: Streets
) -> tuple[Field, Field, Field, tuple[Field, Field] | None]:
    """Colours of the green ground, of the paved ground with its coverage, and of the water with its."""
    canvas = town.canvas
    u, v = town.turned(canvas.x, canvas.y)
    lawn = bands(plant_colour(rng), rng.uniform(0.62, 0.78))
    ground = np.broadcast_to(lawn, (*canvas.shape, 4)).astype(np.float32)
    asphalt = bands(colour(pave.uniform(0.28, 0.42), 0.6, 0.08), pave.uniform(0.22, 0.3))
    walk = bands(colour(pave.uniform(0.5, 0.66), 0.1, 0.1), pave.uniform(0.34, 0.42))
    paved = np.broadcast_to(walk, (*canvas.shape, 4)).astype(np.float32)
    su, sv = (
        street_distance(canvas, c, cuts, halves, 0.0)
        for c, cuts, halves in ((u, streets.us, streets.half_u), (v, streets.vs, streets.half_v))
    )
    street = np.maximum(su, sv)
    cover = edge(canvas, street + np.float32(0.012))
    pond = None
    for i, (u0, u1) in enumerate(zip(streets.us, streets.us[1:], strict=False)):
        for j, (v0, v1) in enumerate(zip(streets.vs, streets.vs[1:], strict=False)):
            child = rng.spawn(1)[0]
            box = (
                u0 + streets.half_u[i] + 0.012,
                u1 - streets.half_u[i + 1] - 0.012,
                v0 + streets.half_v[j] + 0.012,
                v1 - streets.half_v[j + 1] - 0.012,
            )
            x, y = town.place((u0 + u1) / 2, (v0 + v1) / 2)
            if -0.45 < x < canvas.extent_x + 0.45 and -0.45 < y < canvas.extent_y + 0.45:
                pond = fill_block(child, town, (u, v), box, (ground, paved, cover), pond)
    lay(paved, asphalt, edge(canvas, street))
    lane = _markings(canvas, u, v, streets)
    lay(
        paved,
        bands(colour(0.85, 0.1, 0.05), 0.6),
        lane * edge(canvas, np.where(np.minimum(su, sv) > 0, np.float32(-1), street)),
    )
    park_cars(pave, town, streets)
    ground *= (1 + np.float32(0.17) * town.coarse + np.float32(0.13) * town.detail)[..., None]
    paved *= (1 + np.float32(0.06) * town.coarse + np.float32(0.05) * town.detail)[..., None]
    return ground, paved, cover, pond


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
        tone = bands(
            colour(rng.choice([0.9, 0.75, 0.12, 0.3, 0.35]), rng.uniform(0, 1), rng.choice([0.05, 0.9])),
            rng.uniform(0.15, 0.6),
        )
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
        ex, ey = place.x - np.float32(house.x), place.y - np.float32(house.y)
        p, q = np.asarray(ex * c + ey * s), np.asarray(ey * c - ex * s)
        np.maximum(
            stack.shadow[at], np.float32(0.48) * edge(canvas, _cast(house, town, p, q), 2.5), out=stack.shadow[at]
        )
        number += 1
        stack.put(
            at,
            _roof_colours(house, town, p, q, town.detail[at]),
            edge(canvas, _outline(house, p, q)),
            number,
            "building",
        )
    return stack.layer("building"), number


def _cast(house: House, town: Town, p: Field, q: Field) -> Field:
    """Signed distance of the cast shadow: the outline swept away from the sun."""
    c, s, length = float(np.cos(house.turn)), float(np.sin(house.turn)), -1.3 * house.height
    mp, mq = length * (town.sun[0] * c + town.sun[1] * s), length * (town.sun[1] * c - town.sun[0] * s)
    rects = [(0.0, 0.0, house.a, house.b)] + ([house.wing] if house.wing is not None else [])
    swept: Field | None = None
    for wp, wq, wa, wb in rects:
        dp, dq = p - np.float32(wp), q - np.float32(wq)
        inside = np.minimum(
            np.float32(wa + abs(mp) / 2) - np.abs(dp - np.float32(mp / 2)),
            np.float32(wb + abs(mq) / 2) - np.abs(dq - np.float32(mq / 2)),
        )
        norm = float(np.hypot(mp, mq))
        slab = np.float32((wa * abs(mq) + wb * abs(mp)) / norm) - np.abs(
            dp * np.float32(mq / norm) - dq * np.float32(mp / norm)
        )
        inside = np.minimum(inside, slab)
        swept = inside if swept is None else np.maximum(swept, inside)
    return np.asarray(swept, np.float32)


def _outline(house: House, p: Field, q: Field) -> Field:
    inside = np.minimum(np.float32(house.a) - np.abs(p), np.float32(house.b) - np.abs(q))
    if house.wing is not None:
        wp, wq, wa, wb = house.wing
        inside = np.maximum(
            inside, np.minimum(np.float32(wa) - np.abs(p - np.float32(wp)), np.float32(wb) - np.abs(q - np.float32(wq)))
        )
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
            box = np.float32(0.012) - np.maximum(
                np.abs(p - np.float32(fx * house.a)), np.abs(q - np.float32(fy * house.b))
            )
            out = out + (bands(colour(0.72, 0.6, 0.05), 0.35) - out) * edge(town.canvas, box)[..., None]
        return np.asarray(out, np.float32)
    light = np.where(q > 0, np.float32(1 + 0.24 * sun[1]), np.float32(1 - 0.24 * sun[1]))
    if house.roof == "hip":
        ends = np.abs(p) - np.float32(house.a - house.b) > np.abs(q)
        light = np.where(ends, np.where(p > 0, np.float32(1 + 0.24 * sun[0]), np.float32(1 - 0.24 * sun[0])), light)
    if house.wing is not None:
        wp, wq, wa, _ = house.wing
        wing = (np.abs(p - np.float32(wp)) < np.float32(wa)) & (q * np.float32(np.sign(wq)) > np.float32(house.b * 0.2))
        light = np.where(
            wing, np.where(p > np.float32(wp), np.float32(1 + 0.24 * sun[0]), np.float32(1 - 0.24 * sun[0])), light
        )
    courses = 1 + np.float32(0.05) * np.sin(q * np.float32(2 * np.pi / 0.008)) + np.float32(0.06) * detail
    ridge = 1 + np.float32(0.18) * (np.abs(q) < 0.0022)
    out = house.tone * (light * courses * ridge)[..., None]
    chimney = np.float32(0.0065) - np.maximum(
        np.abs(p - np.float32(house.a * 0.45)), np.abs(q - np.float32(house.b * 0.3))
    )
    return np.asarray(
        out + (bands(colour(0.25, 0.03, 0.3), 0.2) - out) * edge(town.canvas, chimney)[..., None], np.float32
    )


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

        def crown(
            dx: float,
            dy: float,
            x: float = x,
            y: float = y,
            radius: float = radius,
            phases: NDArray[np.float64] = phases,
            px: Field = place.x,
            py: Field = place.y,
        ) -> tuple[Field, Field, Field]:
            u, v = (px - np.float32(x + dx)) / np.float32(radius), (py - np.float32(y + dy)) / np.float32(radius)
            angle = np.arctan2(v, u)
            lobes = np.float32(0.09) * np.sin(5 * angle + np.float32(phases[0])) + np.float32(0.06) * np.sin(
                9 * angle + np.float32(phases[1])
            )
            return u, v, np.asarray((1 + lobes - np.hypot(u, v)) * np.float32(radius))

        shift = -radius * 0.75
        np.maximum(
            stack.shadow[at],
            np.float32(0.42) * edge(canvas, crown(shift * town.sun[0], shift * town.sun[1])[2], 3),
            out=stack.shadow[at],
        )
        u, v, inside = crown(0.0, 0.0)
        lit = 0.88 + 0.34 * (u * np.float32(town.sun[0]) + v * np.float32(town.sun[1])) + 0.26 * town.detail[at]
        number += 1
        stack.put(
            at,
            bands(tone, infrared) * np.clip(lit, 0.4, 1.5)[..., None],
            edge(canvas, inside + np.float32(0.004) * town.detail[at]),
            number,
            "tree",
        )
    return stack.layer("tree"), number
