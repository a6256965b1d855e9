"""`objects`: one beetle on an unrelated textured ground.

The colours of the beetle and of the ground are drawn independently from ONE distribution of light-middle-dark
palettes, so no colour rule tells them apart; what does is the beetle itself (head, eyes, wing cases mirrored about
the seam, legs, the shading of a dome).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from decoupe.data.synthetic.canvas import Canvas, Field, colour, edge, noise, noise_at, ramp, smoothstep
from decoupe.data.synthetic.scene import Layer, paint
from decoupe.data.synthetic.textures import TEXTURES

CLASSES = ("background", "object")
BANDS = 3


def palette(rng: np.random.Generator) -> list[NDArray[np.float32]]:
    """Dark, middle and light colour: the one distribution of beetles and grounds alike."""
    hue, swing = rng.normal(0.14, 0.09), rng.normal(0, 0.06)
    saturation = rng.uniform(0.08, 0.4)
    tones = (rng.uniform(0.08, 0.2), rng.uniform(0.38, 0.55), rng.uniform(0.74, 0.92))
    return [colour(tone, hue + swing * step, saturation) for step, tone in enumerate(tones)]


def ground(rng: np.random.Generator, canvas: Canvas) -> Field:
    """The ground's colours (2H, 2W, 3): a texture out of focus, as behind any close-up, in all tones."""
    texture = TEXTURES[str(rng.choice(list(TEXTURES)))]
    tone = texture(rng, canvas, float(rng.uniform(0.8, 1.4)))
    if rng.random() < 0.5:
        tone = 1 - tone
    tone = gaussian_filter(tone, float(rng.uniform(0.025, 0.045)) * canvas.unit, mode="reflect")
    low, high = np.percentile(tone, (3, 97)).tolist()
    tone = np.clip((tone - np.float32(low)) / np.float32(max(high - low, 1e-3)), 0, 1)
    light = 1 + np.float32(rng.uniform(0.05, 0.2)) * noise(rng, canvas, 1.2)
    return ramp(palette(rng), tone) * light[..., None]


def render_layers(rng: np.random.Generator, canvas: Canvas) -> list[Layer]:
    """The ground and the beetle."""
    back, front = rng.spawn(2)
    rgba, solid = paint(canvas, ground(back, canvas), None)
    beetle_rgb, coverage = beetle(front, canvas)
    layer, visible = paint(canvas, beetle_rgb, coverage)
    return [Layer("background", rgba, solid, 0), Layer("object", layer, visible, 1, [(1, 1, "object")])]


def ground_only(rng: np.random.Generator, canvas: Canvas) -> list[Layer]:
    """A ground with nothing on it."""
    rgba, solid = paint(canvas, ground(rng.spawn(1)[0], canvas), None)
    return [Layer("background", rgba, solid, 0)]


class Frame:
    """Where one beetle sits: its own coordinates `p` (towards the head) and `q` (aside), in body half-lengths."""

    def __init__(self, rng: np.random.Generator, canvas: Canvas) -> None:
        self.slim = rng.uniform(0.5, 0.72)
        area = float(np.clip(rng.normal(0.25, 0.065), 0.16, 0.385))
        self.scale = float(np.sqrt(area / (3.55 * self.slim)))
        self.turn = rng.uniform(0, 2 * np.pi)
        self.c, self.s = float(np.cos(self.turn)), float(np.sin(self.turn))
        reach = self.scale * np.hypot([self.c, self.s], 1.2 * self.slim * np.array([self.s, self.c]))
        room = np.clip(0.5 - reach, 0.03, 0.24)
        self.centre = np.array([canvas.extent_x, canvas.extent_y]) / 2 + rng.uniform(-room, room)
        dx = (canvas.x - np.float32(self.centre[0])) * np.float32(1 / self.scale)
        dy = (canvas.y - np.float32(self.centre[1])) * np.float32(1 / self.scale)
        self.p: Field = dx * np.float32(self.c) + dy * np.float32(self.s)
        self.q: Field = dy * np.float32(self.c) - dx * np.float32(self.s)
        light = rng.normal((-0.5, -0.62), 0.08)
        self.light = (light[0] * self.c + light[1] * self.s, light[1] * self.c - light[0] * self.s, 0.62)

    def place(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Body coordinates (n, 2) -> x, y on the sheet, in units."""
        turned = np.stack(
            [points[:, 0] * self.c - points[:, 1] * self.s, points[:, 0] * self.s + points[:, 1] * self.c], 1
        )
        return np.asarray(turned * self.scale + self.centre)

    def dome(self, centre: float, a: float, b: float) -> tuple[Field, Field, Field]:
        """Of an ellipse on the axis: signed distance in units (positive inside), diffuse light, highlight."""
        u, v = (self.p - np.float32(centre)) * np.float32(1 / a), self.q * np.float32(1 / b)
        r2 = u * u + v * v
        distance = (1 - np.sqrt(r2)) * np.float32(min(a, b) * self.scale)
        nz = np.sqrt(np.clip(1 - r2, 0, 1))
        lit = u * np.float32(self.light[0]) + v * np.float32(self.light[1]) + nz * np.float32(self.light[2])
        return (
            np.asarray(distance),
            np.asarray(np.float32(0.42) + np.float32(0.72) * np.clip(lit, 0, 1)),
            smoothstep(0.9, 1.0, lit),
        )


def _limbs(rng: np.random.Generator, frame: Frame, canvas: Canvas) -> Field:
    """Coverage (2H, 2W) of six legs and two feelers."""
    sheet = Image.new("L", (canvas.shape[1], canvas.shape[0]), 0)
    pen = ImageDraw.Draw(sheet)
    unit, slim = canvas.unit, frame.slim
    for side in (-1, 1):
        for foot, (root, knee, tip) in enumerate(((0.5, 0.72, 0.92), (0.15, 0.1, -0.05), (-0.3, -0.58, -0.84))):
            out = rng.normal(0, 0.04, 2)
            joints = np.array(
                [[root, 0], [knee + out[0], side * slim * 1.16], [tip + out[1], side * (slim * 1.16 + 0.06)]]
            )
            points = frame.place(joints) * unit
            for (start, end), width in zip(((0, 1), (1, 2)), (0.16, 0.13), strict=True):
                _stroke(pen, points[start], points[end], (width - 0.008 * foot) * frame.scale * unit)
        bend = rng.normal(0, 0.05, 2)
        feeler = np.array([[0.95, side * 0.1], [1.1, side * (0.22 + bend[0])], [1.2, side * (0.36 + bend[1])]])
        points = frame.place(feeler) * unit
        for start in range(2):
            _stroke(pen, points[start], points[start + 1], 0.09 * frame.scale * unit)
    return np.asarray(np.asarray(sheet, np.float32) * np.float32(1 / 255))


def _stroke(pen: ImageDraw.ImageDraw, start: NDArray[np.float64], end: NDArray[np.float64], width: float) -> None:
    """A thick line with round ends, in sheet px."""
    along = end - start
    aside = np.array([-along[1], along[0]]) / max(float(np.hypot(*along)), 1e-6) * width / 2
    pen.polygon(np.stack([start + aside, end + aside, end - aside, start - aside]).ravel().tolist(), fill=255)
    half = width / 2
    pen.ellipse([end[0] - half, end[1] - half, end[0] + half, end[1] + half], fill=255)


def _pattern(rng: np.random.Generator, frame: Frame) -> Field:
    """The wing cases' marking, 0..1, mirrored about the seam."""
    p, q = frame.p, np.abs(frame.q)
    kind = int(rng.integers(0, 6))
    if kind == 0:
        period = np.float32(rng.uniform(0.32, 0.46))
        row = np.floor(p / period)
        du = p / period - row - np.float32(0.5)
        dv = q / period - np.float32(0.45) - (row % 2) * np.float32(0.5)
        dv = dv - np.round(dv / np.float32(1.0))
        field = smoothstep(0.3, 0.4, np.sqrt(du * du + dv * dv))
    elif kind == 1:
        field = smoothstep(-0.25, 0.25, np.sin(p * np.float32(rng.uniform(9, 14)) + q * np.float32(rng.uniform(-3, 3))))
    elif kind == 2:
        field = smoothstep(-0.25, 0.25, np.sin(q * np.float32(rng.uniform(16, 24)) + np.float32(rng.uniform(0, 6))))
    elif kind == 3:
        field = smoothstep(-0.12, 0.12, noise_at(rng, p * np.float32(4) + 8, q * np.float32(4)))
    elif kind == 4:
        field = smoothstep(-0.2, 0.2, np.sin(p * np.float32(11)) * np.sin(q * np.float32(12) + 0.6))
    else:
        angle = np.float32(rng.uniform(5, 8))
        field = smoothstep(-0.2, 0.2, np.sin(angle * (p + q * np.float32(1.1)) * 2))
    return np.asarray(field if rng.random() < 0.5 else 1 - field, np.float32)


def beetle(rng: np.random.Generator, canvas: Canvas) -> tuple[Field, Field]:
    """Colours (2H, 2W, 3) and coverage (2H, 2W) of one beetle, somewhere about the middle."""
    frame = Frame(rng, canvas)
    dark, middle, light = palette(rng)
    slim, scale = frame.slim, frame.scale
    limbs = _limbs(rng, frame, canvas)
    marks = _pattern(rng, frame)
    grit = np.float32(0.05) * noise(rng, canvas, 30, octaves=2)
    seam = smoothstep(0.02, 0.05, np.abs(frame.q))

    rgb = np.broadcast_to(dark, (*canvas.shape, 3)).copy()
    coverage = limbs
    parts: tuple[tuple[float, float, float, Field], ...] = (
        (0.8, 0.25, slim * 0.5, (dark * np.float32(0.65) + middle * np.float32(0.35))[None, None]),
        (0.5, 0.34, slim * 0.78, ramp([middle, light], np.asarray(0.4 + 0.35 * (1 - marks), np.float32))),
        (-0.22, 0.8, slim, ramp([dark, middle, light], np.asarray((0.12 + 0.8 * marks) * seam, np.float32))),
    )
    for centre, a, b, colours in parts:
        distance, lit, shine = frame.dome(centre, a, b)
        rim = smoothstep(0.005, 0.055 * scale + 0.01, distance)
        part = colours * (lit * (0.25 + 0.75 * rim) + grit)[..., None] + (shine * np.float32(0.35))[..., None]
        alpha = edge(canvas, distance)
        rgb += (part - rgb) * alpha[..., None]
        coverage = np.maximum(coverage, alpha)
        if centre == 0.8:
            for side in (-1, 1):
                du, dv = frame.p - np.float32(0.9), frame.q - np.float32(side * slim * 0.34)
                ball = edge(canvas, np.asarray((np.float32(0.13) - np.sqrt(du * du + dv * dv)) * np.float32(scale)))
                rgb += (light - rgb) * ball[..., None]
                pupil = edge(canvas, np.asarray((np.float32(0.06) - np.sqrt(du * du + dv * dv)) * np.float32(scale)))
                rgb += (dark * np.float32(0.4) - rgb) * pupil[..., None]
                coverage = np.maximum(coverage, ball)
    return rgb, coverage
