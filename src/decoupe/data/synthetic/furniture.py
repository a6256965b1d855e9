"""What stands on the floor in the rooms of `scenes`: beds, wardrobes, rugs."""

from __future__ import annotations

import numpy as np

from decoupe.data.synthetic.canvas import Field, colour, edge, noise_at, ramp, smoothstep
from decoupe.data.synthetic.placing import Colour, Item, Places, away, blank, free_spot, lay
from decoupe.data.synthetic.room import Box, Camera, Face, convex, vec


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
    rgb = (
        ramp(stops, np.asarray(field, np.float32))
        * (0.94 + 0.06 * noise_at(rng, du * 15 + 90, dv * 15 + 90))[..., None]
    )
    return Item(rgb, np.asarray(coverage * camera.floor_coverage, np.float32), 40.0)


def wardrobe(rng: np.random.Generator, camera: Camera, taken: Places) -> Item | None:
    """A wardrobe or a chest of drawers against a wall."""
    width, depth = rng.uniform(0.8, 1.6), rng.uniform(0.45, 0.6)
    tall = rng.random() < 0.65
    height = rng.uniform(1.7, 2.15) if tall else rng.uniform(0.7, 1.1)
    spot = free_spot(rng, camera, taken, [("back", width, depth), ("left", depth, width), ("right", depth, width)])
    if spot is None:
        return None
    wall, x0, x1, z0, z1 = spot
    box = Box(camera, vec(x0, 0, z0), vec(x1, height, z1))
    wood = colour(rng.uniform(0.2, 0.8), rng.choice([0.07, 0.09, rng.uniform(0, 1)]), rng.uniform(0.1, 0.5))
    rgb = blank(camera, wood)
    doors, drawers = int(rng.integers(2, 4)), int(rng.integers(2, 5))
    for name, face, light in box.faces():
        grain = 1 + np.float32(0.1) * noise_at(rng, face.u * 12 + 90, face.v * 2 + 90)
        part = wood * (grain * np.float32(light))[..., None]
        if name == {"back": "front", "left": "right", "right": "left"}[wall]:
            du = face.u * doors if tall else face.u * 1
            dv = face.v * 1 if tall else face.v * drawers
            gap = np.minimum(
                np.abs(du - np.round(du)) / (doors if tall else 1) * np.float32(face.metres[0]),
                np.abs(dv - np.round(dv)) / (1 if tall else drawers) * np.float32(face.metres[1]),
            )
            part = part * (0.45 + 0.55 * smoothstep(0.015, 0.035, gap))[..., None]
            cu, cv = du - np.floor(du), dv - np.floor(dv)
            knob = np.hypot(
                (cu - np.float32(0.88 if tall else 0.5)) * np.float32(face.metres[0] / (doors if tall else 1)),
                (cv - np.float32(0.5)) * np.float32(face.metres[1] / (1 if tall else drawers)),
            )
            lay(part, colour(0.85, 0.12, 0.4), 1 - smoothstep(0.025, 0.04, knob))
        lay(rgb, part, face.coverage)
    return Item(rgb, box.coverage, away(camera, x0, x1, z0, z1), camera.shade(x0, x1, z0, z1))


def bed(rng: np.random.Generator, camera: Camera, taken: Places) -> Item | None:
    """A bed with its head against a wall: frame, mattress, blanket, pillows."""
    width, length, height = rng.uniform(1.0, 1.8), rng.uniform(1.85, 2.05), rng.uniform(0.38, 0.55)
    spot = free_spot(rng, camera, taken, [("back", width, length), ("left", length, width), ("right", length, width)])
    if spot is None:
        return None
    wall, x0, x1, z0, z1 = spot
    wood = colour(rng.uniform(0.15, 0.75), rng.choice([0.07, 0.1, rng.uniform(0, 1)]), rng.uniform(0.1, 0.5))
    sheet = colour(rng.uniform(0.82, 0.95), rng.uniform(0, 1), 0.08)
    cloth = [
        colour(t, rng.uniform(0, 1), rng.uniform(0.2, 0.8)) for t in (rng.uniform(0.25, 0.5), rng.uniform(0.5, 0.85))
    ]
    head = rng.uniform(0.75, 1.25)
    boards = {
        "back": (vec(x0, 0, z1 - 0.07), vec(x1, head, z1)),
        "left": (vec(x0, 0, z0), vec(x0 + 0.07, head, z1)),
        "right": (vec(x1 - 0.07, 0, z0), vec(x1, head, z1)),
    }
    board = Box(camera, *boards[wall])
    rgb, coverage = blank(camera, wood), board.coverage
    for _, face, light in board.faces():
        lay(rgb, wood * np.float32(light * 0.95), face.coverage)
    body = Box(camera, vec(x0, 0.0, z0), vec(x1, height, z1))
    coverage = np.maximum(coverage, body.coverage)
    style, tuck = int(rng.integers(0, 4)), np.float32(rng.uniform(0.55, 0.75))
    for name, face, light in body.faces():
        along, across = _from_head(wall, name, face)
        part = _blanket(style, cloth, along, across)
        lay(part, sheet, 1 - smoothstep(-0.01, 0.01, along - (1 - tuck)))
        if name != "top":
            lay(part, wood, 1 - smoothstep(0.4, 0.44, face.v))
        crease = 1 + np.float32(0.09) * noise_at(rng, along * 5 + 60, across * 5 + 60)
        lay(rgb, part * (crease * np.float32(light))[..., None], face.coverage)
    pillows = _pillows(rng, camera, wall, (x0, x1, z0, z1), height, sheet)
    for tone, cover in pillows:
        lay(rgb, tone, cover)
        coverage = np.maximum(coverage, cover)
    return Item(rgb, coverage, away(camera, x0, x1, z0, z1), camera.shade(x0, x1, z0, z1, 0.45))


def _from_head(wall: str, name: str, face: Face) -> tuple[Field, Field]:
    """Where the pixels of a bed's face lie: 0 at the head to 1 at the foot, and across the bed."""
    if name == "top":
        return {"back": (1 - face.v, face.u), "left": (face.u, face.v), "right": (1 - face.u, face.v)}[wall]
    side = {("back", "left"): face.u, ("back", "right"): 1 - face.u, ("left", "front"): face.u}
    side[("right", "front")] = 1 - face.u
    return side.get((wall, name), np.ones_like(face.u)), face.u


def _blanket(style: int, cloth: list[Colour], along: Field, across: Field) -> Field:
    """Plain, striped across or along, or checked."""
    if style == 0:
        return ramp(cloth, np.asarray(0.3 + 0 * along, np.float32))
    a, b = np.sin(along * np.float32(26)), np.sin(across * np.float32(22))
    field = a if style == 1 else b if style == 2 else 0.5 * (np.sign(a) + np.sign(b))
    return ramp(cloth, np.asarray(0.5 + 0.5 * field, np.float32))


def _pillows(
    rng: np.random.Generator,
    camera: Camera,
    wall: str,
    spot: tuple[float, float, float, float],
    height: float,
    sheet: Colour,
) -> list[tuple[Field, Field]]:
    """Colours and coverage of one or two pillows at the head."""
    x0, x1, z0, z1 = spot
    across = (x1 - x0) if wall == "back" else (z1 - z0)
    count = 2 if across > 1.3 else 1
    tone = sheet if rng.random() < 0.6 else colour(rng.uniform(0.4, 0.9), rng.uniform(0, 1), 0.5)
    out = []
    for k in range(count):
        offset = across * (k + 0.5) / count
        centre = {
            "back": vec(x0 + offset, height, z1 - 0.32),
            "left": vec(x0 + 0.32, height, z0 + offset),
            "right": vec(x1 - 0.32, height, z1 - offset),
        }[wall]
        half = across / count * 0.42
        aside = vec(half, 0, 0) if wall == "back" else vec(0, 0, half)
        deep = vec(0, 0, 0.22) if wall == "back" else vec(0.22, 0, 0)
        face = camera.face(centre - aside - deep, aside * 2, deep * 2)
        ring = [
            camera.project(centre + aside * i + deep * j + vec(0, 0.02 if abs(i) + abs(j) > 1.5 else 0.16, 0))
            for i, j in (
                (-0.95, -0.95),
                (0, -0.8),
                (0.95, -0.95),
                (0.8, 0),
                (0.95, 0.95),
                (0, 0.8),
                (-0.95, 0.95),
                (-0.8, 0),
            )
        ]
        distance = convex(camera.canvas, np.array(ring))
        puff = smoothstep(0.0, 0.12 * camera.scale(centre), distance)
        fold = 1 + np.float32(0.05) * noise_at(rng, np.clip(face.u, -2, 3) * 3 + 30, np.clip(face.v, -2, 3) * 3 + 30)
        out.append((tone * (fold * (0.72 + 0.28 * puff))[..., None], edge(camera.canvas, distance)))
    return out[::-1] if wall == "left" else out
