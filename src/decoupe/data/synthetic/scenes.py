"""`scenes`: furnished rooms.

Walls and a floor always; ceiling, window, picture, rug, wardrobe, bed, lamp and plant by chance.
"""

from __future__ import annotations

import numpy as np

from decoupe.data.synthetic.canvas import Canvas, Field, colour, noise, noise_at, ramp, smoothstep
from decoupe.data.synthetic.fittings import lamp, picture, plant, window
from decoupe.data.synthetic.furniture import bed, rug, wardrobe
from decoupe.data.synthetic.placing import Item
from decoupe.data.synthetic.room import Camera
from decoupe.data.synthetic.scene import Layer, paint

CLASSES = ("wall", "floor", "ceiling", "window", "picture", "rug", "wardrobe", "bed", "lamp", "plant")
BANDS = 3

CHANCES = {"window": 0.7, "picture": 0.5, "rug": 0.45, "wardrobe": 0.45, "bed": 0.8, "lamp": 0.65, "plant": 0.35}
_MAKERS = {
    "window": window,
    "picture": picture,
    "rug": rug,
    "wardrobe": wardrobe,
    "bed": bed,
    "lamp": lamp,
    "plant": plant,
}


def render_layers(rng: np.random.Generator, canvas: Canvas) -> list[Layer]:
    """The shell of the room, then what stands in it from the far end to the near one."""
    shell, *things = rng.spawn(1 + len(_MAKERS))
    camera = Camera(shell, canvas)
    layers = _shell(shell, canvas, camera)
    taken: list[tuple[float, float, float, float]] = []
    items: list[tuple[str, Item]] = []
    for (name, make), child in zip(_MAKERS.items(), things, strict=True):
        if child.random() < CHANCES[name]:
            item = make(child, camera, taken)
            if item is not None:
                items.append((name, item))
    for name, item in sorted(items, key=lambda pair: -pair[1].distance):
        rgba, solid = paint(canvas, item.rgb, item.coverage, item.shadow, item.glow)
        if float((solid >= 0.5).mean()) > 0.001:
            number = len(layers)
            layers.append(Layer(name, rgba, solid, CLASSES.index(name), [(number, CLASSES.index(name), name)]))
    return _renumber(layers)


def _renumber(layers: list[Layer]) -> list[Layer]:
    """Instance ids 1, 2, ... over the things."""
    things = [layer for layer in layers if layer.parts]
    for number, layer in enumerate(things, start=1):
        layer.parts = [(number, layer.cls, layer.name)]
    return layers


def _shell(rng: np.random.Generator, canvas: Canvas, camera: Camera) -> list[Layer]:
    """Walls (opaque), floor, ceiling."""
    surfaces = camera.surfaces()
    haze = 1 + np.float32(0.05) * noise(rng, canvas, 2, octaves=2)
    rgb, solid = paint(canvas, _walls(rng, canvas, camera, surfaces) * haze[..., None], None)
    layers = [Layer("wall", rgb, solid, 0)]
    rgba, solid = paint(canvas, _floor(rng, camera) * haze[..., None], surfaces["floor"])
    layers.append(Layer("floor", rgba, solid, CLASSES.index("floor")))
    if float(surfaces["ceiling"].max()) > 0.5:
        white = colour(rng.uniform(0.8, 0.95), rng.uniform(0, 1), 0.06)
        rgba, solid = paint(canvas, white * haze[..., None] * np.float32(0.96), surfaces["ceiling"])
        if float((solid >= 0.5).mean()) > 0.001:
            layers.append(Layer("ceiling", rgba, solid, CLASSES.index("ceiling")))
    return layers


def _walls(rng: np.random.Generator, canvas: Canvas, camera: Camera, surfaces: dict[str, Field]) -> Field:
    """Colours of the walls, each with its own light, papered or plain, with a skirting board."""
    tone, hue = rng.uniform(0.5, 0.88), rng.uniform(0, 1)
    base = colour(tone, hue, rng.uniform(0.05, 0.45))
    second = colour(tone * rng.uniform(0.8, 0.94), hue + rng.normal(0, 0.06), rng.uniform(0.05, 0.45))
    paper = int(rng.integers(0, 4))
    skirting = colour(rng.choice([0.9, 0.3]), 0.08, 0.2)
    x, y, z = camera.rays
    e = camera.eye
    lights = dict(zip(("back", "left", "right"), rng.permutation([1.0, 0.9, 0.76]), strict=True))
    out = np.zeros((*canvas.shape, 3), np.float32)
    weight = np.zeros(canvas.shape, np.float32)
    for name, light in lights.items():
        cover = surfaces[name]
        if not cover.any():
            continue
        if name == "back":
            reach = np.float32(camera.size[2] - e[2]) / np.maximum(z, 1e-3)
            across = np.float32(e[0]) + reach * x
        else:
            side = -e[0] if name == "left" else camera.size[0] - e[0]
            reach = np.float32(side) / np.where(np.abs(x) < 1e-3, np.float32(np.copysign(1e-3, side)), x)
            across = np.float32(e[2]) + reach * z
        span = np.clip(across, -20, 20).astype(np.float32)
        height = np.clip(np.float32(e[1]) + reach * y, -20, 20).astype(np.float32)
        wall = ramp([base, second], _paper(rng, paper, span, height))
        wall = wall + (skirting - wall) * (1 - smoothstep(0.09, 0.11, height))[..., None]
        corner = 0.86 + 0.14 * smoothstep(0.0, 0.5, np.minimum(height, np.float32(camera.size[1]) - height))
        out += wall * (cover * corner * np.float32(light))[..., None]
        weight += cover
    return np.asarray(out / np.maximum(weight, np.float32(1e-3))[..., None], np.float32)


def _paper(rng: np.random.Generator, kind: int, across: Field, height: Field) -> Field:
    """Wall covering, 0..1: plain, striped, panelled up to the waist, or sprigged."""
    if kind == 1:
        return smoothstep(-0.2, 0.2, np.sin(across * np.float32(2 * np.pi / 0.36)))
    if kind == 2:
        return np.asarray(1 - smoothstep(0.88, 0.92, height) * 0.9, np.float32)
    if kind == 3:
        du, dv = across / np.float32(0.34), height / np.float32(0.34)
        du = du + np.floor(dv) * np.float32(0.5)
        du, dv = du - np.floor(du) - np.float32(0.5), dv - np.floor(dv) - np.float32(0.5)
        return 1 - smoothstep(0.14, 0.24, np.hypot(du, dv))
    return np.asarray(0.5 + 0.4 * noise_at(rng, across * 2 + 9, height * 2 + 9), np.float32)


def _floor(rng: np.random.Generator, camera: Camera) -> Field:
    """Colours of the floor: planks, tiles or carpet."""
    x, z = (np.clip(v, -30, 30) for v in camera.floor_point)
    kind = int(rng.integers(0, 3))
    if kind == 0:
        tone, hue = rng.uniform(0.25, 0.6), rng.uniform(0.05, 0.1)
        stops = [colour(tone * k, hue, rng.uniform(0.25, 0.5)) for k in (0.6, 1.0, 1.25)]
        width = rng.uniform(0.14, 0.26)
        a, b = (x, z) if rng.random() < 0.7 else (z, x)
        row = np.floor(a / np.float32(width))
        tones = rng.random(64, dtype=np.float32)[row.astype(np.int32) & 63]
        gap = np.abs(a / np.float32(width) - row - np.float32(0.5))
        grain = noise_at(rng, a * 30 + 300, b * 3 + 300 + tones * 9)
        return ramp(stops, 0.4 + 0.4 * tones + 0.12 * grain - 0.5 * smoothstep(0.44, 0.49, gap))
    if kind == 1:
        hue, tone = rng.uniform(0, 1), rng.uniform(0.35, 0.8)
        stops = [colour(tone * rng.uniform(0.45, 0.85), hue, 0.25), colour(tone, hue + 0.08, 0.25)]
        side = np.float32(rng.uniform(0.3, 0.55))
        parity = (np.floor(x / side) + np.floor(z / side)) % 2
        joint = np.minimum(np.abs(x / side - np.round(x / side)), np.abs(z / side - np.round(z / side)))
        return ramp(stops, np.asarray(parity * smoothstep(0.01, 0.04, joint), np.float32))
    hue, tone = rng.uniform(0, 1), rng.uniform(0.25, 0.65)
    stops = [colour(tone * 0.8, hue, 0.4), colour(tone * 1.15, hue, 0.4)]
    pile = noise_at(rng, x * 14 + 300, z * 14 + 300) * 0.3 + noise_at(rng, x * 3 + 300, z * 3 + 300) * 0.25
    return ramp(stops, np.asarray(0.5 + pile, np.float32))
