"""A furnished room seen by a pinhole camera: surfaces by casting one ray for each pixel of the sheet.

World: x to the right, y up, z away from the viewer, in metres; the floor is y = 0, the back wall z = depth, the
side walls x = 0 and x = width.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from decoupe.data.synthetic.canvas import Canvas, Field, edge, smoothstep

Vector = NDArray[np.float64]


def vec(x: float, y: float, z: float) -> Vector:
    """A point or a direction."""
    return np.array([x, y, z], np.float64)


class Camera:
    """A viewer in a room of `size` = (width, height, depth)."""

    def __init__(self, rng: np.random.Generator, canvas: Canvas) -> None:
        self.canvas = canvas
        self.size = vec(rng.uniform(3.2, 4.8), rng.uniform(2.3, 2.9), rng.uniform(3.4, 4.8))
        self.eye = vec(self.size[0] * rng.uniform(0.3, 0.7), rng.uniform(1.15, 1.7), rng.uniform(-0.3, 0.3))
        yaw = (0.5 - self.eye[0] / self.size[0]) * 1.1 + rng.normal(0, 0.16)
        pitch = -rng.uniform(0.06, 0.26)
        self.focal = rng.uniform(0.72, 0.95)
        cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
        self.right = vec(cy, 0, -sy)
        self.up = vec(-sy * sp, cp, -cy * sp)
        self.ahead = vec(sy * cp, sp, cy * cp)
        self.hung: list[tuple[str, float, float]] = []
        self.middle = (canvas.extent_x / 2, canvas.extent_y / 2)

    def project(self, point: Vector) -> NDArray[np.float64]:
        """World point -> x, y on the sheet, in units."""
        away = point - self.eye
        depth = max(float(away @ self.ahead), 0.05)
        return np.array(
            [
                self.middle[0] + self.focal * float(away @ self.right) / depth,
                self.middle[1] - self.focal * float(away @ self.up) / depth,
            ]
        )

    def scale(self, point: Vector) -> float:
        """Units on the sheet for one metre at a point."""
        return float(self.focal / max(float((point - self.eye) @ self.ahead), 0.05))

    def along(self, direction: Vector) -> Field:
        """Component (2H, 2W) of every pixel's ray along a world direction."""
        x = (self.canvas.x - np.float32(self.middle[0])) * np.float32(self.right @ direction)
        y = (np.float32(self.middle[1]) - self.canvas.y) * np.float32(self.up @ direction)
        return np.asarray(x + y + np.float32(self.focal * float(self.ahead @ direction)))

    @cached_property
    def rays(self) -> tuple[Field, Field, Field]:
        """World x, y, z of every pixel's ray."""
        return self.along(vec(1, 0, 0)), self.along(vec(0, 1, 0)), self.along(vec(0, 0, 1))

    @cached_property
    def floor_point(self) -> tuple[Field, Field]:
        """World x, z where every pixel's ray meets the floor's plane (far away above the horizon)."""
        x, y, z = self.rays
        reach = np.float32(-self.eye[1]) / np.minimum(y, np.float32(-0.004))
        return np.asarray(np.float32(self.eye[0]) + reach * x), np.asarray(np.float32(self.eye[2]) + reach * z)

    def nearness(self) -> dict[str, tuple[Field, float]]:
        """Inverse distance of each of the room's planes along every ray, and its gradient's scale on the sheet."""
        x, y, z = self.rays
        width, height, depth = self.size
        e = self.eye
        return {
            "floor": (y / np.float32(-e[1]), 1 / e[1]),
            "ceiling": (y / np.float32(height - e[1]), 1 / (height - e[1])),
            "left": (x / np.float32(-e[0]), 1 / e[0]),
            "right": (x / np.float32(width - e[0]), 1 / (width - e[0])),
            "back": (z / np.float32(depth - e[2]), 1 / (depth - e[2])),
        }

    def surfaces(self) -> dict[str, Field]:
        """Coverage (2H, 2W) of floor, ceiling and the three walls: the nearest plane along each ray."""
        planes = self.nearness()
        out = {}
        for name, (near, _) in planes.items():
            gaps = []
            for other, (far, _) in planes.items():
                if other != name:
                    gap = near - far
                    slope = np.hypot(float(np.abs(gap[0, 1] - gap[0, 0])), float(np.abs(gap[1, 0] - gap[0, 0])))
                    gaps.append(gap * np.float32(1 / max(slope * self.canvas.unit, 1e-6)))
            out[name] = edge(self.canvas, np.minimum.reduce(gaps))
        return out

    def face(self, corner: Vector, u: Vector, v: Vector) -> Face:
        """The rectangle corner, corner + u, corner + u + v, corner + v."""
        return Face(self, corner, u, v)

    def shade(self, x0: float, x1: float, z0: float, z1: float, strength: float = 0.42, soft: float = 0.3) -> Field:
        """Soft shadow (2H, 2W) on the floor about a footprint, seen only below the walls."""
        x, z = self.floor_point
        dx = np.abs(x - np.float32((x0 + x1) / 2)) - np.float32((x1 - x0) / 2)
        dz = np.abs(z - np.float32((z0 + z1) / 2)) - np.float32((z1 - z0) / 2)
        reach = np.maximum(dx, 0) ** 2 + np.maximum(dz, 0) ** 2
        return np.float32(strength) * (1 - smoothstep(0.0, soft, np.sqrt(reach))) * self.floor_coverage

    @cached_property
    def floor_coverage(self) -> Field:
        """Coverage (2H, 2W) of the floor."""
        return self.surfaces()["floor"]


def convex(canvas: Canvas, points: NDArray[np.float64]) -> Field:
    """Signed distance (2H, 2W) in units, positive inside, about that of the convex hull of points (n, 2)."""
    ring = hull(points)
    inside: Field | None = None
    for start, end in zip(ring, np.roll(ring, -1, 0), strict=True):
        side = end - start
        length = float(np.hypot(*side))
        if length < 1e-9:
            continue
        nx, ny = -side[1] / length, side[0] / length
        away = canvas.x * np.float32(nx) + canvas.y * np.float32(ny) - np.float32(nx * start[0] + ny * start[1])
        inside = np.asarray(away) if inside is None else np.minimum(inside, away)
    return inside if inside is not None else np.full(canvas.shape, -1, np.float32)


def hull(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convex hull of (n, 2) points, counted so that the inside lies to the left of (dx, dy) -> (-dy, dx)."""
    ordered = sorted(map(tuple, points.tolist()))

    def half(sequence: list[tuple[float, ...]]) -> list[tuple[float, ...]]:
        chain: list[tuple[float, ...]] = []
        for p in sequence:
            while len(chain) > 1 and _turn(chain[-2], chain[-1], p) <= 1e-12:
                chain.pop()
            chain.append(p)
        return chain[:-1]

    return np.array(half(ordered) + half(ordered[::-1]))


def _turn(a: tuple[float, ...], b: tuple[float, ...], c: tuple[float, ...]) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


class Face:
    """A rectangle in the room: its pixels' own coordinates `u`, `v` (0..1 inside) and its coverage."""

    def __init__(self, camera: Camera, corner: Vector, u: Vector, v: Vector) -> None:
        normal = np.cross(u, v)
        facing = camera.along(normal)
        facing = np.where(np.abs(facing) < 1e-5, np.float32(1e-5), facing)
        reach = np.float32(float(normal @ (corner - camera.eye))) / facing
        self.metres = (float(np.linalg.norm(u)), float(np.linalg.norm(v)))
        self.u: Field = (reach * camera.along(u) - np.float32(float(u @ (corner - camera.eye)))) * np.float32(
            1 / (u @ u)
        )
        self.v: Field = (reach * camera.along(v) - np.float32(float(v @ (corner - camera.eye)))) * np.float32(
            1 / (v @ v)
        )
        self.u, self.v = np.clip(self.u, -40, 40), np.clip(self.v, -40, 40)
        ring = np.array([camera.project(p) for p in (corner, corner + u, corner + u + v, corner + v)])
        self.distance = convex(camera.canvas, ring)
        self.coverage = edge(camera.canvas, self.distance)


class Box:
    """An upright box: its outline and its three visible faces."""

    def __init__(self, camera: Camera, low: Vector, high: Vector) -> None:
        self.low, self.high, self.camera = low, high, camera
        corners = np.array(
            [
                camera.project(vec(x, y, z))
                for x in (low[0], high[0])
                for y in (low[1], high[1])
                for z in (low[2], high[2])
            ]
        )
        self.coverage = edge(camera.canvas, convex(camera.canvas, corners))

    def faces(self) -> list[tuple[str, Face, float]]:
        """(name, face, light) of the faces that look at the viewer; u runs sideways, v upwards (on the top: away)."""
        low, high, eye = self.low, self.high, self.camera.eye
        dx, dy, dz = (float(v) for v in high - low)
        found: list[tuple[str, Vector, Vector, Vector, float]] = []
        if eye[0] < low[0]:
            found.append(("left", vec(low[0], low[1], high[2]), vec(0, 0, -dz), vec(0, dy, 0), 0.72))
        if eye[0] > high[0]:
            found.append(("right", vec(high[0], low[1], low[2]), vec(0, 0, dz), vec(0, dy, 0), 0.62))
        if eye[2] < low[2]:
            found.append(("front", low, vec(dx, 0, 0), vec(0, dy, 0), 0.84))
        if eye[1] > high[1]:
            found.append(("top", vec(low[0], high[1], low[2]), vec(dx, 0, 0), vec(0, 0, dz), 1.0))
        return [(name, self.camera.face(corner, u, v), light) for name, corner, u, v, light in found]
