"""Composites of single things with their exact masks, in unlimited number: what the segmenter learns from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from decoupe.methods.independence.cluster.sprites import THING, WINDOW, Material


@dataclass(frozen=True)
class Scene:
    """One composite."""

    image: NDArray[np.float32]
    """(C, S, S) in [-1, 1]."""
    labels: NDArray[np.int32]
    """(S, S): 0 ground, 1, 2, ... the thing seen at each pixel."""
    centres: NDArray[np.float32]
    """(N, 2): row and column of the centroid of each whole thing, hidden parts and parts beyond the border included."""


@dataclass(frozen=True)
class Variety:
    """How far composites go beyond what was cut out."""

    scale: float = 0.15
    """Deviation of log scale."""
    light: float = 0.15
    """Brightness of single things varies by up to this much of the range."""
    hidden: float = 0.5
    """At most this share of a thing is hidden by those above it."""


_AT_ONCE = 32


def compose(material: Material, size: int, seeds: NDArray[np.int64], variety: Variety = Variety()) -> list[Scene]:
    """One composite of `size` pixels for each seed; equal seeds give equal composites."""
    scenes: list[Scene] = []
    for start in range(0, len(seeds), _AT_ONCE):
        plans = [_plan(material, size, np.random.default_rng(int(s)), variety) for s in seeds[start : start + _AT_ONCE]]
        drawn = np.concatenate([plan.which for plan in plans])
        turned = _turn(material.sprites[drawn], np.concatenate([plan.pose for plan in plans]))
        ends = np.cumsum([len(plan.which) for plan in plans])
        parts = np.split(turned, ends[:-1])
        scenes += [_paste(plan, mine, size, variety) for plan, mine in zip(plans, parts, strict=True)]
    return scenes


@dataclass
class _Plan:
    rng: np.random.Generator
    ground: NDArray[np.float32]
    which: NDArray[np.int64]
    pose: NDArray[np.float64]
    crowd: float
    cover: float


def _plan(material: Material, size: int, rng: np.random.Generator, variety: Variety) -> _Plan:
    """Which things, turned how; how many at most follows from the share of the image that things cover."""
    cover = float(np.clip(material.cover * np.exp(rng.normal(0, 0.3)), 0.08, 0.97))
    thing = np.pi / 4 * THING**2
    wide = (size + THING) ** 2
    crowding = 1 / max(1 - cover, 0.12) ** 0.7
    count = int(np.clip(rng.poisson(cover * wide / thing * crowding), 3, 4 * wide / thing))
    which = rng.choice(len(material.weights), count, p=material.weights)
    pose = np.stack(
        [np.exp(rng.normal(0, variety.scale, count)), rng.uniform(0, 2 * np.pi, count), rng.integers(0, 2, count)], 1
    )
    return _Plan(rng, _crop(material.ground, size, rng), which, pose, rng.uniform(), cover)


def _crop(ground: NDArray[np.float32], size: int, rng: np.random.Generator) -> NDArray[np.float32]:
    height, width = ground.shape[1:]
    pad = ((0, 0), (0, max(0, size - height)), (0, max(0, size - width)))
    wide = np.pad(ground, pad, mode="reflect" if min(height, width) > size // 2 else "wrap")
    y, x = rng.integers(0, wide.shape[1] - size + 1), rng.integers(0, wide.shape[2] - size + 1)
    patch = wide[:, y : y + size, x : x + size]
    patch = np.rot90(patch, int(rng.integers(4)), (1, 2))
    return np.array(patch[:, :, ::-1] if rng.integers(2) else patch)


def _turn(sprites: NDArray[np.float32], pose: NDArray[np.float64]) -> NDArray[np.float32]:
    """Scale, turn and mirror (N, C + 1, WINDOW, WINDOW) about the centre."""
    scale, angle, mirror = pose.T
    cos, sin = np.cos(angle) / scale, np.sin(angle) / scale
    sign = np.where(mirror > 0, -1.0, 1.0)
    theta = np.stack([np.stack([cos * sign, -sin * sign, 0 * cos], 1), np.stack([sin, cos, 0 * cos], 1)], 1)
    grid = torch.nn.functional.affine_grid(torch.from_numpy(theta).float(), list(sprites.shape), align_corners=False)
    turned = torch.nn.functional.grid_sample(torch.from_numpy(sprites), grid, align_corners=False)
    return turned.numpy()


def _paste(plan: _Plan, sprites: NDArray[np.float32], size: int, variety: Variety) -> Scene:
    rng, image = plan.rng, plan.ground
    half = WINDOW // 2
    wide = size + 2 * WINDOW
    canvas = np.pad(image, ((0, 0), (WINDOW, WINDOW), (WINDOW, WINDOW)), mode="edge")
    ids = np.zeros((wide, wide), np.int32)
    areas: list[float] = []
    seen: list[float] = []
    centres: list[tuple[float, float]] = []
    low, high = WINDOW - THING // 2, WINDOW + size + THING // 2
    for sprite in sprites:
        alpha = sprite[-1]
        solid = alpha > 0.5
        area = float(solid.sum())
        if area < 12:
            continue
        for _ in range(6):
            if centres and rng.uniform() < plan.crowd:
                cy, cx = centres[int(rng.integers(len(centres)))]
                turn, far = rng.uniform(0, 2 * np.pi), THING * rng.uniform(0.5, 1.3)
                y, x = int(cy + far * np.sin(turn)), int(cx + far * np.cos(turn))
            else:
                y, x = (int(v) for v in rng.integers(low, high, 2))
            if not (low <= y < high and low <= x < high):
                continue
            at = (slice(y - half, y + half), slice(x - half, x + half))
            under = np.bincount(ids[at][solid], minlength=len(areas) + 1)[1:]
            if all(seen[i] - under[i] >= (1 - variety.hidden) * areas[i] for i in np.flatnonzero(under)):
                break
        else:
            continue
        shade = 1 + rng.uniform(-variety.light, variety.light)
        lift = rng.uniform(-variety.light, variety.light) * 0.5
        colour = (sprite[:-1] + 1) * shade - 1 + lift
        canvas[(slice(None), *at)] = colour * alpha + canvas[(slice(None), *at)] * (1 - alpha)
        for i in np.flatnonzero(under):
            seen[i] -= under[i]
        ids[at][solid] = len(areas) + 1
        areas.append(area)
        seen.append(area)
        mean = [float(c.mean()) for c in np.nonzero(solid)]
        centres.append((y - half + mean[0], x - half + mean[1]))
    inner = slice(WINDOW, WINDOW + size)
    out = canvas[:, inner, inner]
    blur = rng.uniform(0, 0.8)
    out = ndimage.gaussian_filter(out, (0, blur, blur)) if blur > 0.3 else out
    middle = np.array(centres, np.float32).reshape(-1, 2) - WINDOW
    return Scene(out.astype(np.float32), ids[inner, inner].copy(), middle)


def photographed(image: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """(C, S, S) in other light: contrast, brightness and noise as between one part of a photo and another."""
    mean = image.mean((1, 2), keepdims=True)
    light = (image - mean) * np.exp(rng.normal(0, 0.1)) + mean + rng.normal(0, 0.05)
    noise = rng.standard_normal(image.shape, np.float32) * rng.uniform(0, 0.04)
    return np.asarray(np.clip(light + noise, -1, 1), np.float32)


def targets(labels: NDArray[np.int32], centres: NDArray[np.float32]) -> NDArray[np.float32]:
    """(3, S, S): 1 on things; row and column offsets to the centroid of the thing, in units of `THING`."""
    rows, columns = np.indices(labels.shape, np.float32)
    table = np.concatenate([np.zeros((1, 2), np.float32), centres])
    here = labels > 0
    dy = np.where(here, table[labels, 0] - rows, 0) / THING
    dx = np.where(here, table[labels, 1] - columns, 0) / THING
    return np.stack([here.astype(np.float32), dy, dx]).astype(np.float32)
