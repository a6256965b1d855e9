"""Windows and pictures on the walls, lamps and plants in the rooms of `scenes`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from decoupe.data.synthetic.canvas import Canvas, Field, colour, edge, noise_at, ramp, smoothstep
from decoupe.data.synthetic.placing import Item, Places, blank, free_stand, lay
from decoupe.data.synthetic.room import Camera, Face, convex, vec


def _wall_face(
    rng: np.random.Generator, camera: Camera, width: float, height: float, sill: float
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
    dv = np.minimum(
        np.abs(face.v - (np.float32(0.6) if rng.random() < 0.6 else np.float32(9))), np.minimum(face.v, 1 - face.v)
    )
    bars = 1 - smoothstep(0.025, 0.04, np.minimum(du, dv * np.float32(height)))
    lay(rgb, frame, bars)
    rim = np.minimum(
        np.minimum(face.u, 1 - face.u) * np.float32(width), np.minimum(face.v, 1 - face.v) * np.float32(height)
    )
    lay(rgb, frame * np.float32(0.93), 1 - smoothstep(0.05, 0.06, rim))
    if rng.random() < 0.55:
        cloth = [colour(t, rng.uniform(0, 1), rng.uniform(0.1, 0.6)) for t in (rng.uniform(0.3, 0.6),)][0]
        hang = np.float32(rng.uniform(0.14, 0.26))
        fold = 0.72 + 0.28 * np.sin(face.u * np.float32(width * 34) + np.sin(face.v * 5))
        wave = hang * (1 + np.float32(0.25) * np.sin(face.v * np.float32(4) + 1))
        drape = 1 - smoothstep(-0.01, 0.01, np.minimum(face.u, 1 - face.u) - wave)
        lay(rgb, cloth * fold[..., None], drape)
    return Item(rgb, face.coverage, distance)


def _outside(rng: np.random.Generator, face: Face) -> Field:
    """Sky over hills and trees."""
    hue = rng.choice([0.56, 0.58, 0.03, 0.6])
    low, high = colour(0.9, hue + 0.02, 0.5), colour(rng.uniform(0.45, 0.8), hue, 0.75)
    cloud = noise_at(rng, face.u * 4 + 50, face.v * 6 + 50) + 0.5 * noise_at(rng, face.u * 9 + 50, face.v * 13 + 50)
    rgb = ramp([low, high], np.clip(face.v, 0, 1))
    lay(rgb, colour(0.97, 0.1, 0.05), smoothstep(0.15, 0.9, cloud) * np.float32(0.8))
    for level in range(3):
        ridge = np.float32(0.42 - 0.13 * level) + np.float32(0.1) * noise_at(
            rng, face.u * (3 + 3 * level) + 20, face.u * 0 + level + 5
        )
        green = colour(0.55 - 0.14 * level, 0.27 + rng.normal(0, 0.05), 0.55)
        texture = 1 + np.float32(0.2) * noise_at(rng, face.u * 18 + 90, face.v * 18 + 90)
        lay(rgb, green * texture[..., None], 1 - smoothstep(-0.01, 0.01, face.v - ridge))
    return rgb


def picture(rng: np.random.Generator, camera: Camera, taken: Places) -> Item | None:
    """A framed picture."""
    width, height = rng.uniform(0.4, 1.0), rng.uniform(0.4, 0.8)
    placed = _wall_face(rng, camera, width, height, rng.uniform(1.25, 1.6))
    if placed is None:
        return None
    face, distance = placed
    stops = [colour(t, rng.uniform(0, 1), rng.uniform(0.3, 0.9)) for t in rng.permutation([0.25, 0.5, 0.75])]
    field = (
        0.5
        + 0.5 * noise_at(rng, face.u * 3 + 30, face.v * 3 + 30)
        + 0.2 * np.sin(face.v * np.float32(rng.uniform(2, 20)))
    )
    rgb = ramp(stops, np.asarray(field, np.float32))
    rim = np.minimum(
        np.minimum(face.u, 1 - face.u) * np.float32(width), np.minimum(face.v, 1 - face.v) * np.float32(height)
    )
    if rng.random() < 0.6:
        lay(rgb, colour(0.93, 0.1, 0.1), 1 - smoothstep(0.11, 0.12, rim))
    lay(rgb, colour(rng.choice([0.12, 0.4, 0.65]), 0.1, 0.5), 1 - smoothstep(0.045, 0.055, rim))
    return Item(rgb, face.coverage, distance + 0.001)


def _ellipse(canvas: Canvas, centre: NDArray[np.float64], rx: float, ry: float) -> Field:
    """Signed distance about, in units, positive inside."""
    du, dv = (canvas.x - np.float32(centre[0])) / np.float32(rx), (canvas.y - np.float32(centre[1])) / np.float32(ry)
    return np.asarray((1 - np.hypot(du, dv)) * np.float32(min(rx, ry)))


def lamp(rng: np.random.Generator, camera: Camera, taken: Places) -> Item | None:
    """A standing lamp, or one that hangs from the ceiling, lit or not."""
    canvas = camera.canvas
    hangs = rng.random() < 0.35
    foot = free_stand(rng, camera, [] if hangs else taken, 0.2)
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
    rgb = blank(camera, metal)
    pole = [at_top, at_high] if hangs else [at_foot, at_low]
    half = 0.018 * scale
    coverage = edge(canvas, convex(canvas, np.array([p + [s * half, 0] for p in pole for s in (-1, 1)])))
    if not hangs:
        coverage = np.maximum(coverage, edge(canvas, _ellipse(canvas, at_foot, 0.17 * scale, 0.06 * scale)))
    shade = np.array(
        [
            at_low + [-wide * scale, 0],
            at_low + [wide * scale, 0],
            at_high + [narrow * scale, 0],
            at_high - [narrow * scale, 0],
        ]
    )
    cover = edge(canvas, convex(canvas, shade))
    lit = rng.random() < 0.7
    tone = colour(rng.uniform(0.55, 0.9), rng.choice([0.1, 0.12, rng.uniform(0, 1)]), 0.5)
    aside = np.clip(np.abs(canvas.x - np.float32(at_low[0])) / np.float32(wide * scale), 0, 1)
    light = (1.25 - 0.35 * aside * aside) if lit else (0.8 - 0.3 * aside)
    lay(rgb, tone * np.broadcast_to(light, canvas.shape)[..., None], cover)
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
    foot = free_stand(rng, camera, taken, 0.22)
    if foot is None:
        return None
    tall, scale = rng.uniform(0.28, 0.42), camera.scale(foot)
    at_foot, rim = camera.project(foot), camera.project(foot + vec(0, tall, 0))
    pot = colour(rng.uniform(0.3, 0.85), rng.choice([0.04, rng.uniform(0, 1)]), 0.5)
    ring = np.array(
        [at_foot + [-0.13 * scale, 0], at_foot + [0.13 * scale, 0], rim + [0.2 * scale, 0], rim - [0.2 * scale, 0]]
    )
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
        lay(rgb, tone * (1 - np.float32(0.25) * np.tanh(q * 2))[..., None], leaf)
        coverage = np.maximum(coverage, leaf)
    shadow = camera.shade(foot[0] - 0.2, foot[0] + 0.2, foot[2] - 0.2, foot[2] + 0.2, 0.35)
    return Item(rgb, coverage, float(np.hypot(foot[0] - camera.eye[0], foot[2] - camera.eye[2])), shadow)
