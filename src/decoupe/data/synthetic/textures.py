"""Textures: scalar fields 0..1 on a sheet, each a function (rng, canvas, scale) of its own."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from decoupe.data.synthetic.canvas import Canvas, Field, noise, noise_at, smoothstep

Texture = Callable[[np.random.Generator, Canvas, float], Field]


def rotated(canvas: Canvas, angle: float) -> tuple[Field, Field]:
    """Coordinates (2H, 2W) in a frame turned by `angle` radians about the corner."""
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return canvas.x * c + canvas.y * s, canvas.y * c - canvas.x * s


def clouds(rng: np.random.Generator, canvas: Canvas, scale: float) -> Field:
    """Soft blotches with finer blotches in them."""
    return np.asarray(0.5 + 0.5 * noise(rng, canvas, 5 / scale, octaves=4, gain=0.6), np.float32)


def stripes(rng: np.random.Generator, canvas: Canvas, scale: float) -> Field:
    """Wavy stripes."""
    u, _ = rotated(canvas, rng.uniform(0, np.pi))
    bend = noise(rng, canvas, 3, octaves=2) * np.float32(rng.uniform(0.3, 1.6))
    wave = np.sin(u * np.float32(2 * np.pi * rng.uniform(6, 11) / scale) + bend * 2)
    return np.asarray(0.5 + 0.4 * wave + 0.18 * noise(rng, canvas, 24), np.float32)


def waves(rng: np.random.Generator, canvas: Canvas, scale: float) -> Field:
    """Water: crests that wander and break up."""
    u, v = rotated(canvas, rng.uniform(-0.5, 0.5) + np.pi / 2)
    bend = noise_at(rng, v * np.float32(3 / scale), u * np.float32(7 / scale)) * np.float32(3.5)
    crest = 1 - np.abs(np.sin(u * np.float32(np.pi * 7 / scale) + bend))
    return np.asarray(0.15 + 0.75 * crest * crest + 0.22 * noise(rng, canvas, 16, octaves=2), np.float32)


def fur(rng: np.random.Generator, canvas: Canvas, scale: float) -> Field:
    """Fine strands along a bending direction."""
    u, v = rotated(canvas, rng.uniform(0, np.pi))
    bend = noise(rng, canvas, 2.5) * np.float32(0.09)
    strands = noise_at(rng, (u + bend) * np.float32(26 / scale), v * np.float32(4 / scale))
    thick = noise_at(rng, (u + bend) * np.float32(9 / scale), v * np.float32(2 / scale))
    return np.asarray(0.5 + 0.42 * strands + 0.34 * thick, np.float32)


def bark(rng: np.random.Generator, canvas: Canvas, scale: float) -> Field:
    """Deep furrows between ridges."""
    u, v = rotated(canvas, rng.uniform(0, np.pi))
    bend = noise(rng, canvas, 4, octaves=2) * np.float32(0.07)
    ridge = np.abs(noise_at(rng, (u + bend) * np.float32(12 / scale), v * np.float32(3.5 / scale)))
    return np.asarray(smoothstep(0.02, 0.45, ridge) * 0.8 + 0.1 + 0.2 * noise(rng, canvas, 20, octaves=2), np.float32)


def checks(rng: np.random.Generator, canvas: Canvas, scale: float) -> Field:
    """Woven checks."""
    u, v = rotated(canvas, rng.uniform(0, np.pi))
    k = np.float32(2 * np.pi * rng.uniform(4, 6.5) / scale)
    sharp = np.float32(4)
    first, second = np.clip(np.sin(u * k) * sharp, -1, 1), np.clip(np.sin(v * k) * sharp, -1, 1)
    return np.asarray(0.5 + 0.22 * first + 0.22 * second + 0.16 * noise(rng, canvas, 26, octaves=2), np.float32)


def bricks(rng: np.random.Generator, canvas: Canvas, scale: float) -> Field:
    """Courses of bricks with light or dark joints, each brick with its own tone."""
    u, v = rotated(canvas, rng.choice([0.0, np.pi / 2]) + rng.uniform(-0.15, 0.15))
    u, v = u + 3, v + 3
    height = scale * rng.uniform(0.09, 0.14)
    length = height * rng.uniform(1.8, 2.6)
    row = np.floor(v / np.float32(height))
    along = u / np.float32(length) + row * np.float32(0.5)
    column = np.floor(along)
    tone = rng.random((64, 64), dtype=np.float32)[row.astype(np.int32) % 64, column.astype(np.int32) % 64]
    fu = np.minimum(along - column, 1 - along + column) * np.float32(length / height)
    fv = v / np.float32(height) - row
    gap = np.minimum(fu, np.minimum(fv, 1 - fv))
    joint = smoothstep(0.04, 0.16, gap)
    face = 0.3 + 0.5 * tone + 0.16 * noise(rng, canvas, 22, octaves=2)
    return np.asarray(face * joint + np.float32(rng.choice([0.05, 0.95])) * (1 - joint), np.float32)


def cells(rng: np.random.Generator, canvas: Canvas, freq: float) -> tuple[Field, Field, Field]:
    """Voronoi cells of a jittered grid: distance to the nearest point and to the second, a tone 0..1 of the nearest."""
    u, v = canvas.x * np.float32(freq), canvas.y * np.float32(freq)
    rows, columns = int(canvas.extent_y * freq) + 4, int(canvas.extent_x * freq) + 4
    jitter = rng.random((2, rows, columns), dtype=np.float32) * np.float32(0.9) + np.float32(0.05)
    tones = rng.random((rows, columns), dtype=np.float32)
    iu, iv = np.floor(u).astype(np.intp), np.floor(v).astype(np.intp)
    first, second = np.full(canvas.shape, 9, np.float32), np.full(canvas.shape, 9, np.float32)
    tone = np.zeros(canvas.shape, np.float32)
    for dy in range(3):
        for dx in range(3):
            at = (iv + dy, iu + dx)
            ex = jitter[0][at] + (iu + (dx - 1) - u)
            ey = jitter[1][at] + (iv + (dy - 1) - v)
            d = ex * ex + ey * ey
            nearer = d < first
            np.minimum(second, np.maximum(first, d), out=second)
            tone = np.where(nearer, tones[at], tone)
            np.minimum(first, d, out=first)
    return np.sqrt(first), np.sqrt(second), tone


def stones(rng: np.random.Generator, canvas: Canvas, scale: float) -> Field:
    """Pebbles: each a tone, darker towards its border."""
    first, second, tone = cells(rng, canvas, rng.uniform(6, 9) / scale)
    rim = smoothstep(0.02, 0.35, second - first)
    return np.asarray((0.25 + 0.75 * tone) * (0.25 + 0.75 * rim) + 0.12 * noise(rng, canvas, 22, octaves=2), np.float32)


def mosaic(rng: np.random.Generator, canvas: Canvas, scale: float) -> Field:
    """Cracked ground: plates of about one tone with thin cracks."""
    first, second, tone = cells(rng, canvas, rng.uniform(4, 7) / scale)
    crack = smoothstep(0.01, 0.1, second - first)
    return np.asarray((0.45 + 0.4 * tone) * (0.1 + 0.9 * crack) + 0.16 * noise(rng, canvas, 18, octaves=2), np.float32)


def speckle(rng: np.random.Generator, canvas: Canvas, scale: float) -> Field:
    """Grit: dark and light grains on a middle tone."""
    base = 0.5 + 0.12 * noise(rng, canvas, 4, octaves=2)
    grain = noise(rng, canvas, rng.uniform(16, 24) / scale)
    fine = noise(rng, canvas, 40 / scale)
    grit = smoothstep(0.25, 0.6, grain) - smoothstep(0.25, 0.6, -grain)
    return np.asarray(base + 0.5 * grit + 0.14 * fine, np.float32)


Shapes = list[tuple[NDArray[np.float64], float]]


def drawn(canvas: Canvas, shapes: Shapes, base: float) -> Field:
    """Filled polygons, back to front: each (n, 2) x, y in units and a tone 0..1, on a ground of tone `base`."""
    sheet = Image.new("L", (canvas.shape[1], canvas.shape[0]), int(255 * base))
    pen = ImageDraw.Draw(sheet)
    for points, tone in shapes:
        pen.polygon((points * canvas.unit).ravel().tolist(), fill=int(255 * min(max(tone, 0), 1)))
    return np.asarray(np.asarray(sheet, np.float32) * np.float32(1 / 255))


_LEAF = np.array([[-1, 0], [-0.6, 0.3], [-0.1, 0.42], [0.4, 0.3], [1, 0]])


def litter(rng: np.random.Generator, canvas: Canvas, scale: float) -> Field:
    """Fallen leaves over one another, each with a light and a dark half and a midrib."""
    count = int(75 * canvas.extent_x * canvas.extent_y / scale**2)
    values = rng.random((count, 6))
    shapes: Shapes = []
    for x, y, turn, size, tone, width in values:
        c, s = np.cos(2 * np.pi * turn), np.sin(2 * np.pi * turn)
        turned = np.array([[c, s], [-s, c]]) * (0.07 + 0.07 * size) * scale
        centre = np.array([x * canvas.extent_x, y * canvas.extent_y])
        half = _LEAF * [1, 0.7 + 0.9 * width]
        tone = 0.15 + 0.75 * tone
        shapes.append((half @ turned + centre, tone))
        shapes.append(((half * [1, -1]) @ turned + centre, tone * 0.72))
        rib = np.array([[-1.25, 0.03], [1, 0], [-1.25, -0.05]])
        shapes.append((rib @ turned + centre, tone + 0.25))
    return drawn(canvas, shapes, 0.12) + 0.1 * noise(rng, canvas, 24, octaves=2)


def grass(rng: np.random.Generator, canvas: Canvas, scale: float) -> Field:
    """Blades or straw: long thin strokes leaning about one way."""
    count = int(230 * canvas.extent_x * canvas.extent_y / scale**1.5)
    lean = rng.uniform(0, 2 * np.pi)
    spread = rng.uniform(0.15, 0.5)
    values = rng.random((count, 5))
    angles = lean + spread * rng.standard_normal(count)
    shapes: Shapes = []
    for (x, y, size, tone, width), angle in zip(values, angles, strict=True):
        along = np.array([np.cos(angle), np.sin(angle)]) * (0.12 + 0.2 * size) * scale
        aside = np.array([-along[1], along[0]]) * (0.05 + 0.05 * width)
        foot = np.array([x * (canvas.extent_x + 0.2) - 0.1, y * (canvas.extent_y + 0.2) - 0.1])
        shapes.append(
            (np.stack([foot - aside, foot + along * 0.6 - aside * 0.4, foot + along, foot + aside]), 0.1 + 0.85 * tone)
        )
    return drawn(canvas, shapes, 0.15) + 0.08 * noise(rng, canvas, 20, octaves=2)


TEXTURES: dict[str, Texture] = {
    "clouds": clouds,
    "stripes": stripes,
    "waves": waves,
    "fur": fur,
    "bark": bark,
    "checks": checks,
    "bricks": bricks,
    "stones": stones,
    "mosaic": mosaic,
    "speckle": speckle,
    "litter": litter,
    "grass": grass,
}
