"""How the things of `cluster`, and the ground they lie on, are coloured."""

from __future__ import annotations

import numpy as np

from decoupe.data.synthetic.canvas import Canvas, Field, colour, noise, noise_at, ramp, smoothstep
from decoupe.data.synthetic.piles import Thing
from decoupe.data.synthetic.textures import TEXTURES


class Look:
    """Colours of the things, and of the ground they lie on, in one image."""

    def __init__(self, rng: np.random.Generator, name: str) -> None:
        self.name = name
        self.hue = float(rng.uniform(0, 1))
        self.pick = float(rng.random())
        stained = rng.random() < 0.5
        self.stained = stained if name == "nuclei" else False
        self.stops = [colour(t, self.hue + 0.05 * k, 0.8) for k, t in enumerate((0.2, 0.5, 0.85))]

    def ground(self, rng: np.random.Generator, canvas: Canvas) -> Field:
        """Plain or textured; dark for the fluorescent sorts."""
        drift = 1 + np.float32(0.08) * noise(rng, canvas, 1.5)
        if self.name == "cells":
            return colour(0.05, self.hue, 0.9) * (drift + np.float32(0.3) * noise(rng, canvas, 8, 3))[..., None]
        if self.name == "nuclei":
            if not self.stained:
                return colour(0.06, 0.62, 0.9) * (drift + np.float32(0.2) * noise(rng, canvas, 5, 3))[..., None]
            field = 0.5 + 0.35 * noise(rng, canvas, 7, octaves=4, gain=0.7)
            return ramp(
                [colour(0.62, 0.9, 0.6), colour(0.78, 0.92, 0.5), colour(0.92, 0.9, 0.3)], np.asarray(field, np.float32)
            )
        tone = rng.uniform(0.25, 0.75) if self.name != "rice" else rng.uniform(0.12, 0.4)
        hue, saturation = rng.uniform(0, 1), rng.uniform(0.05, 0.5)
        if rng.random() < 0.45:
            grainy = 1 + np.float32(0.03) * noise(rng, canvas, 30, octaves=2)
            return colour(tone, hue, saturation) * (drift * grainy)[..., None]
        texture = TEXTURES[str(rng.choice(["clouds", "fur", "checks", "speckle", "bark", "stripes"]))](rng, canvas, 0.8)
        span = rng.uniform(0.12, 0.3)
        return (
            ramp([colour(tone * (1 - span), hue, saturation), colour(tone * (1 + span), hue, saturation)], texture)
            * drift[..., None]
        )

    def colours(
        self, thing: Thing, u: Field, v: Field, depth: Field, light: tuple[float, float], detail: Field
    ) -> Field:
        """Colours (h, w, 3) of one thing in its own coordinates; `light` points to the lamp in them."""
        nz = np.sqrt(np.clip(1 - (1 - depth) ** 2, 0, 1))
        lit = np.clip(u * np.float32(light[0]) + v * np.float32(light[1]) + nz * np.float32(0.6), 0, 1)
        painter = {
            "coins": _coin,
            "rice": _rice,
            "cells": _cell,
            "berries": _berry,
            "sweets": _sweet,
            "beans": _bean,
            "nuclei": _nucleus,
        }[self.name]
        return painter(self, thing, u, v, depth, nz, lit, detail)


def _coin(look: Look, thing: Thing, u: Field, v: Field, depth: Field, nz: Field, lit: Field, detail: Field) -> Field:
    kind = int(thing.rng.integers(0, 3))
    metal = (colour(0.5, 0.05, 0.55), colour(0.68, 0.11, 0.55), colour(0.68, 0.6, 0.06))[kind]
    r = 1 - depth
    relief = noise_at(thing.rng, u * 4 + 8, v * 4 + 8)
    relief = relief * (1 - smoothstep(0.5, 0.62, r)) + 0.9 * np.exp(-(((r - np.float32(0.86)) * 14) ** 2))
    ticks = np.sin(np.arctan2(v, u) * 36) * np.exp(-(((r - np.float32(0.7)) * 16) ** 2))
    sheen = 0.82 + 0.3 * np.sin(np.arctan2(v, u) * 2 + np.float32(thing.turn)) * (0.3 + r)
    worn = 0.88 + 0.2 * detail
    tone = (sheen * worn * (0.86 + 0.16 * relief + 0.1 * ticks)) * (0.55 + 0.45 * smoothstep(0.0, 0.07, depth))
    return np.asarray(metal * tone[..., None], np.float32)


def _rice(look: Look, thing: Thing, u: Field, v: Field, depth: Field, nz: Field, lit: Field, detail: Field) -> Field:
    base = colour(thing.rng.uniform(0.74, 0.86), 0.12, 0.3 + 0.3 * look.pick)
    chalk = smoothstep(0.2, 0.9, noise_at(thing.rng, u * 2 + 8, v * 2 + 8)) * np.float32(0.12)
    tone = 0.5 + 0.55 * lit + chalk + 0.06 * (detail - 0.5)
    return np.asarray(base * tone[..., None] + (0.25 * smoothstep(0.85, 1.0, lit))[..., None], np.float32)


def _cell(look: Look, thing: Thing, u: Field, v: Field, depth: Field, nz: Field, lit: Field, detail: Field) -> Field:
    level = thing.rng.uniform(0.4, 0.65)
    body = colour(level, look.hue, 0.9)
    core = colour(min(level + 0.3, 0.9), look.hue + 0.12, 0.7)
    ox, oy = thing.rng.uniform(-0.25, 0.25, 2)
    nucleus = smoothstep(-0.08, 0.08, 0.38 - np.hypot(u - np.float32(ox), v - np.float32(oy)))
    wall = 0.7 + 0.5 * np.exp(-(((depth - np.float32(0.08)) * 10) ** 2))
    grains = 0.75 + 0.5 * detail
    rgb = body * (wall * grains)[..., None]
    return np.asarray(rgb + (core * (0.8 + 0.4 * detail)[..., None] - rgb) * nucleus[..., None], np.float32)


def _berry(look: Look, thing: Thing, u: Field, v: Field, depth: Field, nz: Field, lit: Field, detail: Field) -> Field:
    hue, tone = ((0.98, 0.34), (0.64, 0.28), (0.33, 0.45), (0.08, 0.5))[int(look.pick * 4)]
    base = colour(tone * thing.rng.uniform(0.85, 1.2), hue + thing.rng.normal(0, 0.015), 0.85)
    bloom = np.float32(0.12) * smoothstep(0.3, 0.9, noise_at(thing.rng, u * 2 + 8, v * 2 + 8))
    rgb = base * (0.32 + 1.05 * lit + 0.12 * (detail - 0.5))[..., None] + bloom[..., None]
    ox, oy = thing.rng.uniform(-0.35, 0.35, 2)
    du, dv = u - np.float32(ox), v - np.float32(oy)
    star = smoothstep(-0.06, 0.06, 0.2 + 0.08 * np.sin(5 * np.arctan2(dv, du)) - np.hypot(du, dv))
    rgb = rgb * (1 - 0.6 * star)[..., None]
    return np.asarray(rgb + (0.75 * smoothstep(0.93, 1.0, lit))[..., None], np.float32)


def _sweet(look: Look, thing: Thing, u: Field, v: Field, depth: Field, nz: Field, lit: Field, detail: Field) -> Field:
    hue = (0.0, 0.09, 0.16, 0.35, 0.6, 0.85, 0.05)[int(thing.rng.integers(0, 7))]
    base = colour(0.32 if hue in (0.0, 0.6) else 0.52, hue, 0.95 if hue != 0.05 else 0.5)
    rgb = base * (0.5 + 0.75 * lit + 0.03 * (detail - 0.5))[..., None]
    return np.asarray(rgb + (0.85 * smoothstep(0.94, 0.99, lit))[..., None], np.float32)


def _bean(look: Look, thing: Thing, u: Field, v: Field, depth: Field, nz: Field, lit: Field, detail: Field) -> Field:
    base = colour(0.25 + 0.5 * look.pick, look.hue * 0.14, 0.55) * np.float32(thing.rng.uniform(0.85, 1.1))
    rgb = base * (0.42 + 0.8 * lit + 0.06 * (detail - 0.5))[..., None]
    if look.hue > 0.5:
        spots = smoothstep(0.25, 0.4, noise_at(thing.rng, u * 4 + 8, v * 3 + 8))
        rgb = rgb * (1 - 0.55 * spots)[..., None]
    eye = np.exp(-((u * 4) ** 2 + ((v - np.float32(0.55)) * 7) ** 2))
    rgb = rgb + (np.float32(0.9) * base - rgb * np.float32(0.4)) * (np.float32(0.6) * eye)[..., None]
    return np.asarray(rgb + (0.5 * smoothstep(0.92, 1.0, lit))[..., None], np.float32)


def _nucleus(look: Look, thing: Thing, u: Field, v: Field, depth: Field, nz: Field, lit: Field, detail: Field) -> Field:
    clumps = noise_at(thing.rng, u * 2.5 + 8, v * 2.5 + 8)
    if look.stained:
        base = colour(thing.rng.uniform(0.24, 0.42), 0.74 + 0.1 * look.pick, 0.75)
        tone = 0.9 + 0.25 * clumps + 0.3 * (detail - 0.5) - 0.25 * np.exp(-(((depth - np.float32(0.06)) * 12) ** 2))
    else:
        base = colour(thing.rng.uniform(0.35, 0.75), 0.62 - 0.3 * (look.pick > 0.7), 0.9)
        tone = (0.55 + 0.5 * nz) * (0.95 + 0.2 * clumps + 0.2 * (detail - 0.5))
    return np.asarray(base * tone[..., None], np.float32)
