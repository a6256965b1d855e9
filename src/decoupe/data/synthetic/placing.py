"""Things in the rooms of `scenes`: what one is made of on the sheet, and where there is room for it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decoupe.data.synthetic.canvas import Field
from decoupe.data.synthetic.room import Camera, Vector, vec

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


def lay(rgb: Field, over: Field | Colour, coverage: Field) -> None:
    """Paint `over` onto `rgb` in place."""
    rgb += (over - rgb) * coverage[..., None]


def blank(camera: Camera, tone: Colour) -> Field:
    """A sheet (2H, 2W, 3) of one colour."""
    return np.broadcast_to(tone, (*camera.canvas.shape, 3)).astype(np.float32)


def away(camera: Camera, x0: float, x1: float, z0: float, z1: float) -> float:
    """Distance in metres of a footprint's middle from the viewer."""
    return float(np.hypot((x0 + x1) / 2 - camera.eye[0], (z0 + z1) / 2 - camera.eye[2]))


def free_spot(
    rng: np.random.Generator, camera: Camera, taken: Places, sizes: list[tuple[str, float, float]]
) -> tuple[str, float, float, float, float] | None:
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


def free_stand(rng: np.random.Generator, camera: Camera, taken: Places, half: float) -> Vector | None:
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
