"""What stands and hangs in the rooms of `scenes`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decoupe.data.synthetic.canvas import Canvas, Field, colour, edge, noise_at, ramp, smoothstep
from decoupe.data.synthetic.room import Box, Camera, Face, Vector, convex, vec

Colour = NDArray[np.float32]
Places = list[tuple[float, float, float, float]]
"""Footprints already taken: x0, x1, z0, z1 in metres."""


@dataclass
class Item:
    """One thing on the sheet: colours, coverage, soft shadow, lamplight, and how far away it stands (m)."""

    rgb: Field
    coverage: Field
    distance: float
    shadow: Field | None = None
    glow: Field | None = None


def _lay(rgb: Field, over: Field | Colour, coverage: Field) -> None:
    """Paint `over` onto `rgb` in place."""
    rgb += (over - rgb) * coverage[..., None]


def _blank(camera: Camera, tone: Colour) -> Field:
    return np.broadcast_to(tone, (*camera.canvas.shape, 3)).astype(np.float32)


def _wall_face(rng: np.random.Generator, camera: Camera, width: float, height: float, sill: float
               ) -> tuple[Face, float] | None:
    """A free rectangle on a wall, and its distance; None where there is no room left."""
    w, h, d = camera.size
    side = str(rng.choice(["back", "back", "left", "right"]))
    if side == "back":
        start = rng.uniform(0.15, max(0.2, w - width - 0.15))
        corner, u = vec(start, sill, d - 0.01), vec(width, 0, 0)
    else:
        start = rng.uniform(d * 0.45, max(d * 0.46, d - width - 0.2))
        corner, u = vec(0.01, sill, start), vec(0, 0, width)
        if side == "right":
            corner, u = vec(w - 0.01, sill, start + width), vec(0, 0, -width)
    if any(wall == side and start < end + 0.1 and start + width > begin - 0.1 for wall, begin, end in camera.hung):
        return None
    camera.hung.append((side, float(start), float(start + width)))
    face = camera.face(corner, u, vec(0, height, 0))
    return face, 50 + float(np.linalg.norm(corner + u / 2 - camera.eye))


def window(rng: np.random.Generator, camera: Camera, taken: Places) -> Item | None:
    """A window with what lies outside, maybe with curtains."""
    width, height = rng.uniform(1.0, 2.1), rng.uniform(1.05, 1.5)
    placed = _wall_face(rng, camera, width, height, rng.uniform(0.7, 0.95))
    if placed is None:
        return None
    face, distance = placed
    rgb = _outside(rng, face)
    frame = colour(rng.choice([0.92, 0.3, 0.6]), rng.uniform(0.05, 0.12), 0.25)
    panes = int(rng.integers(1, 4))
    du = np.abs(face.u * panes - np.round(face.u * panes)) * np.float32(width / panes)
    dv = np.minimum(np.abs(face.v - (np.float32(0.6) if rng.random() < 0.6 else np.float32(9))), np.minimum(face.v, 1 - face.v))
    bars = 1 - smoothstep(0.025, 0.04, np.minimum(du, dv * np.float32(height)))
    _lay(rgb, frame, bars)
    rim = np.minimum(np.minimum(face.u, 1 - face.u) * np.float32(width), np.minimum(face.v, 1 - face.v) * np.float32(height))
    _lay(rgb, frame * np.float32(0.93), 1 - smoothstep(0.05, 0.06, rim))
    if rng.random() < 0.55:
        cloth = [colour(t, rng.uniform(0, 1), rng.uniform(0.1, 0.6)) for t in (rng.uniform(0.3, 0.6),)][0]
        hang = np.float32(rng.uniform(0.14, 0.26))
        fold = 0.72 + 0.28 * np.sin(face.u * np.float32(width * 34) + np.sin(face.v * 5))
        wave = hang * (1 + np.float32(0.25) * np.sin(face.v * np.float32(4) + 1))
        drape = 1 - smoothstep(-0.01, 0.01, np.minimum(face.u, 1 - face.u) - wave)
        _lay(rgb, cloth * fold[..., None], drape)
    return Item(rgb, face.coverage, distance)


def _outside(rng: np.random.Generator, face: Face) -> Field:
    """Sky over hills and trees."""
    hue = rng.choice([0.56, 0.58, 0.03, 0.6])
    low, high = colour(0.9, hue + 0.02, 0.5), colour(rng.uniform(0.45, 0.8), hue, 0.75)
    cloud = noise_at(rng, face.u * 4 + 50, face.v * 6 + 50) + 0.5 * noise_at(rng, face.u * 9 + 50, face.v * 13 + 50)
    rgb = ramp([low, high], np.clip(face.v, 0, 1))
    _lay(rgb, colour(0.97, 0.1, 0.05), smoothstep(0.15, 0.9, cloud) * np.float32(0.8))
    for level in range(3):
        ridge = np.float32(0.42 - 0.13 * level) + np.float32(0.1) * noise_at(rng, face.u * (3 + 3 * level) + 20, face.u * 0 + level + 5)
        green = colour(0.55 - 0.14 * level, 0.27 + rng.normal(0, 0.05), 0.55)
        texture = 1 + np.float32(0.2) * noise_at(rng, face.u * 18 + 90, face.v * 18 + 90)
        _lay(rgb, green * texture[..., None], 1 - smoothstep(-0.01, 0.01, face.v - ridge))
    return rgb


def picture(rng: np.random.Generator, camera: Camera, taken: Places) -> Item | None:
    """A framed picture."""
    width, height = rng.uniform(0.4, 1.0), rng.uniform(0.4, 0.8)
    placed = _wall_face(rng, camera, width, height, rng.uniform(1.25, 1.6))
    if placed is None:
        return None
    face, distance = placed
    stops = [colour(t, rng.uniform(0, 1), rng.uniform(0.3, 0.9)) for t in rng.permutation([0.25, 0.5, 0.75])]
    field = 0.5 + 0.5 * noise_at(rng, face.u * 3 + 30, face.v * 3 + 30) + 0.2 * np.sin(face.v * np.float32(rng.uniform(2, 20)))
    rgb = ramp(stops, np.asarray(field, np.float32))
    rim = np.minimum(np.minimum(face.u, 1 - face.u) * np.float32(width), np.minimum(face.v, 1 - face.v) * np.float32(height))
    if rng.random() < 0.6:
        _lay(rgb, colour(0.93, 0.1, 0.1), 1 - smoothstep(0.11, 0.12, rim))
    _lay(rgb, colour(rng.choice([0.12, 0.4, 0.65]), 0.1, 0.5), 1 - smoothstep(0.045, 0.055, rim))
    return Item(rgb, face.coverage, distance + 0.001)


def rug(rng: np.random.Generator, camera: Camera, taken: Places) -> Item | None:
    """A rug on the floor, oblong or round."""
    w, _, d = camera.size
    width, depth = rng.uniform(1.2, 2.4), rng.uniform(0.9, 1.7)
    x, z = rng.uniform(0.2, max(0.3, w - width - 0.2)), rng.uniform(d * 0.36, d * 0.62)
    face = camera.face(vec(x, 0.005, z), vec(width, 0, 0), vec(0, 0, depth))
    stops = [colour(t, rng.uniform(0, 1), rng.uniform(0.3, 0.8)) for t in rng.permutation([0.28, 0.5, 0.78])]
    du, dv = (face.u - np.float32(0.5)) * 2, (face.v - np.float32(0.5)) * 2
    if rng.random() < 0.4:
        r = np.hypot(du, dv)
        field, coverage = 0.5 + 0.5 * np.sin(r * np.float32(rng.uniform(9, 18))), smoothstep(-0.02, 0.02, 1 - r)
    else:
        ring = np.maximum(np.abs(du), np.abs(dv))
        pattern = np.sin(du * np.float32(rng.uniform(4, 12))) * np.sin(dv * np.float32(rng.uniform(4, 12)))
        field, coverage = np.where(ring > 0.8, np.float32(0.95), 0.45 + 0.45 * np.sign(pattern)), face.coverage
    rgb = ramp(stops, np.asarray(field, np.float32)) * (0.94 + 0.06 * noise_at(rng, du * 15 + 90, dv * 15 + 90))[..., None]
    return Item(rgb, np.asarray(coverage * camera.floor_coverage, np.float32), 40.0)


def _spot(rng: np.random.Generator, camera: Camera, taken: Places, sizes: list[tuple[str, float, float]]) -> tuple[str, float, float, float, float] | None:
    """A free footprint against one of the walls: (wall, x0, x1, z0, z1); sizes are (wall, along x, along z)."""
    w, _, d = camera.size
    for _attempt in range(10):
        wall, dx, dz = sizes[int(rng.integers(0, len(sizes)))]
        x0 = {"left": 0.04, "right": w - dx - 0.04}.get(wall, rng.uniform(0.04, max(0.05, w - dx - 0.04)))
        z0 = d - dz - 0.04 if wall == "back" else rng.uniform(d * 0.42, max(d * 0.43, d - dz - 0.04))
        spot = (float(x0), float(x0 + dx), float(z0), float(z0 + dz))
        if all(spot[0] > t[1] or spot[1] < t[0] or spot[2] > t[3] or spot[3] < t[2] for t in taken):
            middle = camera.project(vec((spot[0] + spot[1]) / 2, 0.4, (spot[2] + spot[3]) / 2))
            if -0.1 < middle[0] < camera.canvas.extent_x + 0.1:
                taken.append(spot)
                return (wall, *spot)
    return None


def _away(camera: Camera, x0: float, x1: float, z0: float, z1: float) -> float:
    return float(np.hypot((x0 + x1) / 2 - camera.eye[0], (z0 + z1) / 2 - camera.eye[2]))


def wardrobe(rng: np.random.Generator, camera: Camera, taken: Places) -> Item | None:
    """A wardrobe or a chest of drawers against a wall."""
    width, depth = rng.uniform(0.8, 1.6), rng.uniform(0.45, 0.6)
    tall = rng.random() < 0.65
    height = rng.uniform(1.7, 2.15) if tall else rng.uniform(0.7, 1.1)
    spot = _spot(rng, camera, taken, [("back", width, depth), ("left", depth, width), ("right", depth, width)])
    if spot is None:
        return None
    wall, x0, x1, z0, z1 = spot
    box = Box(camera, vec(x0, 0, z0), vec(x1, height, z1))
    wood = colour(rng.uniform(0.2, 0.8), rng.choice([0.07, 0.09, rng.uniform(0, 1)]), rng.uniform(0.1, 0.5))
    rgb = _blank(camera, wood)
    doors, drawers = int(rng.integers(2, 4)), int(rng.integers(2, 5))
    for name, face, light in box.faces():
        grain = 1 + np.float32(0.1) * noise_at(rng, face.u * 12 + 90, face.v * 2 + 90)
        part = wood * (grain * np.float32(light))[..., None]
        if name == {"back": "front", "left": "right", "right": "left"}[wall]:
            du = face.u * doors if tall else face.u * 1
            dv = face.v * 1 if tall else face.v * drawers
            gap = np.minimum(np.abs(du - np.round(du)) / (doors if tall else 1) * np.float32(face.metres[0]),
                             np.abs(dv - np.round(dv)) / (1 if tall else drawers) * np.float32(face.metres[1]))
            part = part * (0.45 + 0.55 * smoothstep(0.015, 0.035, gap))[..., None]
            cu, cv = du - np.floor(du), dv - np.floor(dv)
            knob = np.hypot((cu - np.float32(0.88 if tall else 0.5)) * np.float32(face.metres[0] / (doors if tall else 1)),
                            (cv - np.float32(0.5)) * np.float32(face.metres[1] / (1 if tall else drawers)))
            _lay(part, colour(0.85, 0.12, 0.4), 1 - smoothstep(0.025, 0.04, knob))
        _lay(rgb, part, face.coverage)
    return Item(rgb, box.coverage, _away(camera, x0, x1, z0, z1), camera.shade(x0, x1, z0, z1))


def bed(rng: np.random.Generator, camera: Camera, taken: Places) -> Item | None:
    """A bed with its head against a wall: frame, mattress, blanket, pillows."""
    width, length, height = rng.uniform(1.0, 1.8), rng.uniform(1.85, 2.05), rng.uniform(0.38, 0.55)
    spot = _spot(rng, camera, taken, [("back", width, length), ("left", length, width), ("right", length, width)])
    if spot is None:
        return None
    wall, x0, x1, z0, z1 = spot
    wood = colour(rng.uniform(0.15, 0.75), rng.choice([0.07, 0.1, rng.uniform(0, 1)]), rng.uniform(0.1, 0.5))
    sheet = colour(rng.uniform(0.82, 0.95), rng.uniform(0, 1), 0.08)
    cloth = [colour(t, rng.uniform(0, 1), rng.uniform(0.2, 0.8)) for t in (rng.uniform(0.25, 0.5), rng.uniform(0.5, 0.85))]
    head = rng.uniform(0.75, 1.25)
    boards = {"back": (vec(x0, 0, z1 - 0.07), vec(x1, head, z1)), "left": (vec(x0, 0, z0), vec(x0 + 0.07, head, z1)),
              "right": (vec(x1 - 0.07, 0, z0), vec(x1, head, z1))}
    board = Box(camera, *boards[wall])
    rgb, coverage = _blank(camera, wood), board.coverage
    for _, face, light in board.faces():
        _lay(rgb, wood * np.float32(light * 0.95), face.coverage)
    body = Box(camera, vec(x0, 0.0, z0), vec(x1, height, z1))
    coverage = np.maximum(coverage, body.coverage)
    style, tuck = int(rng.integers(0, 4)), np.float32(rng.uniform(0.55, 0.75))
    lengthwise = {"back": lambda f: 1 - f.v, "left": lambda f: f.u, "right": lambda f: 1 - f.u}[wall]
    for name, face, light in body.faces():
        along, across = (lengthwise(face), face.u if wall == "back" else face.v) if name == "top" else (face.u * 0 + 1, face.u)
        if name in ("left", "right") and wall == "back":
            along = face.u if name == "right" else 1 - face.u
            along = 1 - along
        if name == "front" and wall != "back":
            along = face.u if wall == "left" else 1 - face.u
        part = _blanket(rng, style, cloth, along, across)
        _lay(part, sheet, 1 - smoothstep(-0.01, 0.01, along - (1 - tuck)))
        if name != "top":
            _lay(part, wood, 1 - smoothstep(0.4, 0.44, face.v))
        crease = 1 + np.float32(0.09) * noise_at(rng, along * 5 + 60, across * 5 + 60)
        _lay(rgb, part * (crease * np.float32(light))[..., None], face.coverage)
    pillows = _pillows(rng, camera, wall, (x0, x1, z0, z1), height, sheet)
    for tone, cover in pillows:
        _lay(rgb, tone, cover)
        coverage = np.maximum(coverage, cover)
    return Item(rgb, coverage, _away(camera, x0, x1, z0, z1), camera.shade(x0, x1, z0, z1, 0.45))


def _blanket(rng: np.random.Generator, style: int, cloth: list[Colour], along: Field, across: Field) -> Field:
    """Plain, striped across or along, or checked."""
    if style == 0:
        return ramp(cloth, np.asarray(0.3 + 0 * along, np.float32))
    a, b = np.sin(along * np.float32(26)), np.sin(across * np.float32(22))
    field = a if style == 1 else b if style == 2 else 0.5 * (np.sign(a) + np.sign(b))
    return ramp(cloth, np.asarray(0.5 + 0.5 * field, np.float32))


def _pillows(rng: np.random.Generator, camera: Camera, wall: str, spot: tuple[float, float, float, float], height: float,
             sheet: Colour) -> list[tuple[Field, Field]]:
    """Colours and coverage of one or two pillows at the head."""
    x0, x1, z0, z1 = spot
    across = (x1 - x0) if wall == "back" else (z1 - z0)
    count = 2 if across > 1.3 else 1
    tone = sheet if rng.random() < 0.6 else colour(rng.uniform(0.4, 0.9), rng.uniform(0, 1), 0.5)
    out = []
    for k in range(count):
        offset = across * (k + 0.5) / count
        centre = {"back": vec(x0 + offset, height, z1 - 0.32), "left": vec(x0 + 0.32, height, z0 + offset),
                  "right": vec(x1 - 0.32, height, z1 - offset)}[wall]
        half = across / count * 0.42
        aside = vec(half, 0, 0) if wall == "back" else vec(0, 0, half)
        deep = vec(0, 0, 0.22) if wall == "back" else vec(0.22, 0, 0)
        face = camera.face(centre - aside - deep, aside * 2, deep * 2)
        ring = [camera.project(centre + aside * i + deep * j + vec(0, 0.02 if abs(i) + abs(j) > 1.5 else 0.16, 0))
                for i, j in ((-0.95, -0.95), (0, -0.8), (0.95, -0.95), (0.8, 0), (0.95, 0.95), (0, 0.8), (-0.95, 0.95), (-0.8, 0))]
        distance = convex(camera.canvas, np.array(ring))
        puff = smoothstep(0.0, 0.12 * camera.scale(centre), distance)
        fold = 1 + np.float32(0.05) * noise_at(rng, np.clip(face.u, -2, 3) * 3 + 30, np.clip(face.v, -2, 3) * 3 + 30)
        out.append((tone * (fold * (0.72 + 0.28 * puff))[..., None], edge(camera.canvas, distance)))
    return out[::-1] if wall == "left" else out


def _stand(rng: np.random.Generator, camera: Camera, taken: Places, half: float) -> Vector | None:
    """A free place on the floor within view."""
    w, _, d = camera.size
    for _ in range(12):
        x, z = rng.uniform(half + 0.05, w - half - 0.05), rng.uniform(d * 0.45, d - half - 0.05)
        seen = camera.project(vec(x, 0.5, z))
        free = all(x + half < t[0] or x - half > t[1] or z + half < t[2] or z - half > t[3] for t in taken)
        if free and 0.04 < seen[0] < camera.canvas.extent_x - 0.04:
            taken.append((x - half, x + half, z - half, z + half))
            return vec(x, 0, z)
    return None


def _ellipse(canvas: Canvas, centre: NDArray[np.float64], rx: float, ry: float) -> Field:
    """Signed distance about, in units, positive inside."""
    du, dv = (canvas.x - np.float32(centre[0])) / np.float32(rx), (canvas.y - np.float32(centre[1])) / np.float32(ry)
    return np.asarray((1 - np.hypot(du, dv)) * np.float32(min(rx, ry)))


def lamp(rng: np.random.Generator, camera: Camera, taken: Places) -> Item | None:
    """A standing lamp, or one that hangs from the ceiling, lit or not."""
    canvas = camera.canvas
    hangs = rng.random() < 0.35
    foot = _stand(rng, camera, [] if hangs else taken, 0.2)
    if foot is None:
        return None
    if hangs:
        top = float(camera.size[1])
        low, high = top - rng.uniform(0.55, 0.8), top - rng.uniform(0.25, 0.4)
    else:
        low = rng.uniform(0.95, 1.4)
        high, top = low + rng.uniform(0.25, 0.4), low + 0.05
    wide, narrow = rng.uniform(0.18, 0.3), rng.uniform(0.07, 0.17)
    scale = camera.scale(foot + vec(0, low, 0))
    at_low, at_high = camera.project(foot + vec(0, low, 0)), camera.project(foot + vec(0, high, 0))
    at_top, at_foot = camera.project(foot + vec(0, top, 0)), camera.project(foot)
    metal = colour(rng.choice([0.12, 0.5, 0.75]), 0.12, rng.uniform(0, 0.5))
    rgb = _blank(camera, metal)
    pole = [at_top, at_high] if hangs else [at_foot, at_low]
    half = 0.018 * scale
    coverage = edge(canvas, convex(canvas, np.array([p + [s * half, 0] for p in pole for s in (-1, 1)])))
    if not hangs:
        coverage = np.maximum(coverage, edge(canvas, _ellipse(canvas, at_foot, 0.17 * scale, 0.06 * scale)))
    shade = np.array([at_low + [-wide * scale, 0], at_low + [wide * scale, 0], at_high + [narrow * scale, 0], at_high - [narrow * scale, 0]])
    cover = edge(canvas, convex(canvas, shade))
    lit = rng.random() < 0.7
    tone = colour(rng.uniform(0.55, 0.9), rng.choice([0.1, 0.12, rng.uniform(0, 1)]), 0.5)
    aside = np.clip(np.abs(canvas.x - np.float32(at_low[0])) / np.float32(wide * scale), 0, 1)
    light = (1.25 - 0.35 * aside * aside) if lit else (0.8 - 0.3 * aside)
    _lay(rgb, tone * np.broadcast_to(light, canvas.shape)[..., None], cover)
    coverage = np.maximum(coverage, cover)
    glow = None
    if lit:
        middle = (at_low + at_high) / 2
        r = np.hypot(canvas.x - np.float32(middle[0]), canvas.y - np.float32(middle[1])) / np.float32(0.75 * scale)
        glow = np.float32(0.42) * np.exp(-2.2 * r * r).astype(np.float32)
    shadow = None if hangs else camera.shade(foot[0] - 0.15, foot[0] + 0.15, foot[2] - 0.15, foot[2] + 0.15, 0.3)
    return Item(rgb, coverage, float(np.hypot(foot[0] - camera.eye[0], foot[2] - camera.eye[2])), shadow, glow)


def plant(rng: np.random.Generator, camera: Camera, taken: Places) -> Item | None:
    """A plant in a pot."""
    canvas = camera.canvas
    foot = _stand(rng, camera, taken, 0.22)
    if foot is None:
        return None
    tall, scale = rng.uniform(0.28, 0.42), camera.scale(foot)
    at_foot, rim = camera.project(foot), camera.project(foot + vec(0, tall, 0))
    pot = colour(rng.uniform(0.3, 0.85), rng.choice([0.04, rng.uniform(0, 1)]), 0.5)
    ring = np.array([at_foot + [-0.13 * scale, 0], at_foot + [0.13 * scale, 0], rim + [0.2 * scale, 0], rim - [0.2 * scale, 0]])
    coverage = edge(canvas, convex(canvas, ring))
    aside = (canvas.x - np.float32(rim[0])) / np.float32(0.2 * scale)
    rgb = pot * np.broadcast_to(np.clip(0.95 - 0.3 * aside, 0.5, 1.2), canvas.shape)[..., None].astype(np.float32)
    hue, spread = rng.uniform(0.24, 0.36), rng.uniform(0.5, 1.0)
    for angle in rng.permutation(np.linspace(-1.35, 1.35, int(rng.integers(9, 15)))) * spread + rng.normal(0, 0.08):
        length = rng.uniform(0.35, 0.75) * scale
        along = np.array([np.sin(angle), -np.cos(angle)])
        centre = rim + along * length * 0.52
        du, dv = canvas.x - np.float32(centre[0]), canvas.y - np.float32(centre[1])
        p = (du * np.float32(along[0]) + dv * np.float32(along[1])) / np.float32(length * 0.5)
        q = (dv * np.float32(along[0]) - du * np.float32(along[1])) / np.float32(length * rng.uniform(0.11, 0.17))
        leaf = edge(canvas, np.asarray((1 - np.sqrt(p * p + q * q)) * np.float32(length * 0.13)))
        tone = colour(rng.uniform(0.2, 0.45), hue + rng.normal(0, 0.025), 0.5)
        _lay(rgb, tone * (1 - np.float32(0.25) * np.tanh(q * 2))[..., None], leaf)
        coverage = np.maximum(coverage, leaf)
    shadow = camera.shade(foot[0] - 0.2, foot[0] + 0.2, foot[2] - 0.2, foot[2] + 0.2, 0.35)
    return Item(rgb, coverage, float(np.hypot(foot[0] - camera.eye[0], foot[2] - camera.eye[2])), shadow)
