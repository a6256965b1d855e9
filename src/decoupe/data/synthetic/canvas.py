"""The sheet every built-in image is painted on: coordinates, band-limited noise, colours, two-fold supersampling."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]
"""(2H, 2W) or (2H, 2W, 3) float32 on the supersampled sheet."""

SUPERSAMPLING = 2


@dataclass(frozen=True)
class Window:
    """A rectangle of the sheet: its slices, and the coordinates of its pixels (1, w) and (h, 1) in units."""

    rows: slice
    columns: slice
    x: Field
    y: Field


class Canvas:
    """A sheet for an image of `height` x `width` px, painted at twice that resolution.

    Coordinates are lengths in units of the image's SHORT side (x to the right, y down, origin at the top left
    corner), so one description paints the same picture at any size of the same aspect ratio.
    """

    def __init__(self, height: int, width: int, rng: np.random.Generator) -> None:
        self.height, self.width = height, width
        self.unit = float(SUPERSAMPLING * min(height, width))
        self.extent_x, self.extent_y = width / min(height, width), height / min(height, width)
        self.shape = (SUPERSAMPLING * height, SUPERSAMPLING * width)
        self.x: Field = ((np.arange(self.shape[1], dtype=np.float32) + np.float32(0.5)) / np.float32(self.unit))[
            None, :
        ]
        self.y: Field = ((np.arange(self.shape[0], dtype=np.float32) + np.float32(0.5)) / np.float32(self.unit))[
            :, None
        ]
        self._grain_rng = rng.spawn(1)[0]

    def window(self, x: float, y: float, radius: float) -> Window | None:
        """The part of the sheet within `radius` units of a point; None if that lies outside."""
        ends = []
        for centre, length in ((y, self.shape[0]), (x, self.shape[1])):
            low = max(0, int(np.floor((centre - radius) * self.unit)) - 1)
            high = min(length, int(np.ceil((centre + radius) * self.unit)) + 1)
            if low >= high:
                return None
            ends.append(slice(low, high))
        return Window(ends[0], ends[1], self.x[:, ends[1]], self.y[ends[0]])

    @cached_property
    def grain(self) -> Field:
        """Camera noise, (2H, 2W, 1), zero mean, about unit deviation; every layer carries the same one."""
        return noise(self._grain_rng, self, 128.0)[..., None]


def _taps(coordinates: NDArray[np.float32]) -> tuple[NDArray[np.intp], list[NDArray[np.float32]]]:
    """First lattice index and the four cubic B-spline weights of each coordinate (in cells, >= 0)."""
    cell = np.floor(coordinates)
    t = (coordinates - cell).astype(np.float32)
    s = np.float32(1) - t
    sixth = np.float32(1 / 6)
    weights = [
        s * s * s * sixth,
        (4 - 6 * t * t + 3 * t * t * t) * sixth,
        (4 - 6 * s * s + 3 * s * s * s) * sixth,
        t * t * t * sixth,
    ]
    return cell.astype(np.intp), [w.astype(np.float32) for w in weights]


def noise(
    rng: np.random.Generator,
    canvas: Canvas,
    freq: float,
    octaves: int = 1,
    gain: float = 0.5,
    stretch: tuple[float, float] = (1.0, 1.0),
) -> Field:
    """Band-limited noise (2H, 2W), mostly within [-1, 1]: `freq` cells per unit, each octave twice as fine.

    `stretch` multiplies the frequency along y and x (unequal: streaks). Cubic B-spline interpolation of a random
    lattice.
    """
    total = np.zeros(canvas.shape, np.float32)
    amplitude, norm = 1.0, 0.0
    for octave in range(octaves):
        child = rng.spawn(1)[0]
        fy, fx = freq * stretch[0] * 2**octave, freq * stretch[1] * 2**octave
        shift = child.random(2, dtype=np.float32)
        iy, wy = _taps((canvas.y[:, 0] * np.float32(fy) + shift[0]).astype(np.float32))
        ix, wx = _taps((canvas.x[0] * np.float32(fx) + shift[1]).astype(np.float32))
        rows, columns = int(np.ceil(canvas.extent_y * fy)) + 5, int(np.ceil(canvas.extent_x * fx)) + 5
        lattice = child.random((rows, columns), dtype=np.float32) * np.float32(2) - np.float32(1)
        across = lattice[:, ix] * wx[0]
        for tap in range(1, 4):
            across += lattice[:, ix + tap] * wx[tap]
        across *= np.float32(1.9 * amplitude)
        for tap in range(4):
            total += across[iy + tap] * wy[tap][:, None]
        norm += amplitude**2
        amplitude *= gain
    total /= np.float32(norm**0.5)
    return total


_LATTICE = 32


def noise_at(rng: np.random.Generator, u: Field, v: Field) -> Field:
    """Noise in about [-1, 1] at any coordinates, in cells (rotated, warped, in an object's own frame); period 32
    cells.
    """
    lattice = (rng.spawn(1)[0].random((_LATTICE, _LATTICE), dtype=np.float32) * 2 - 1).ravel()
    fu, fv = np.floor(u), np.floor(v)
    tu, tv = (u - fu).astype(np.float32), (v - fv).astype(np.float32)
    tu, tv = tu * tu * (3 - 2 * tu), tv * tv * (3 - 2 * tv)
    iu, iv = fu.astype(np.int32) & (_LATTICE - 1), fv.astype(np.int32) & (_LATTICE - 1)
    ju, jv = ((iu + 1) & (_LATTICE - 1)) * _LATTICE, (iv + 1) & (_LATTICE - 1)
    iu = iu * _LATTICE
    low = lattice[iu + iv] * (1 - tv) + lattice[iu + jv] * tv
    high = lattice[ju + iv] * (1 - tv) + lattice[ju + jv] * tv
    return np.asarray(low + (high - low) * tu, np.float32)


def smoothstep(low: float, high: float, value: Field) -> Field:
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((value - np.float32(low)) * np.float32(1.0 / (high - low)), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def edge(canvas: Canvas, distance: Field, softness: float = 1.5) -> Field:
    """Coverage 0..1 of a shape from its signed distance in units (positive inside), `softness` sheet px wide."""
    t = np.clip(distance * np.float32(canvas.unit / softness) + np.float32(0.5), 0, 1)
    return np.asarray(t, np.float32)


def colour(lightness: float, hue: float, saturation: float) -> NDArray[np.float32]:
    """RGB 0..1 of about the given luma; hue in turns; saturation 0..1 (vanishes towards black and white)."""
    angle = 2 * np.pi * (hue + np.array([0.0, -1 / 3, 1 / 3]))
    direction = np.cos(angle)
    direction -= float(np.sum(direction * np.array([0.299, 0.587, 0.114])))
    return np.clip(lightness + saturation * 2 * lightness * (1 - lightness) * direction, 0, 1).astype(np.float32)


def ramp(stops: list[NDArray[np.float32]], field: Field) -> Field:
    """Colours (…, 3) of a field in 0..1 along a piecewise linear ramp of colours (256 steps)."""
    positions = np.linspace(0, 1, len(stops))
    grid = np.linspace(0, 1, 256)
    table = np.stack([np.interp(grid, positions, [float(s[c]) for s in stops]) for c in range(3)], 1).astype(np.float32)
    return np.asarray(table[(np.clip(field, 0, 1) * np.float32(255)).astype(np.uint8)])


def downsample(sheet: Field) -> Field:
    """(2H, 2W, ...) -> (H, W, ...): the mean of each 2 x 2 block."""
    total = sheet[0::2, 0::2] + sheet[0::2, 1::2]
    total += sheet[1::2, 0::2]
    total += sheet[1::2, 1::2]
    total *= np.float32(0.25)
    return np.asarray(total)
