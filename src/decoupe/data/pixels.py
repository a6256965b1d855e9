"""Arithmetic on decoded pixels: to 8 bits, to a number of bands, to a size. Nothing here opens a file."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from decoupe.errors import Fault
from decoupe.types import Image, Probabilities

BILINEAR = Pillow.Resampling.BILINEAR
_ROWS = 256
"""Rows handled at a time where a whole-image temporary would be large."""


def to_uint8(pixels: NDArray[Any]) -> Image:
    """(H, W, C) of any real dtype -> the same shape in uint8.

    The rule looks at one image at a time and keeps its zero at zero whenever it can:

    * 8 bits: as they are; booleans: 0 and 255.
    * integers up to 255: as they are; up to 4095 (12-bit cameras): x 255 / 4095; up to 65535: x 255 / 65535.
    * floats in [0, 1]: x 255; floats in [0, 255]: rounded.
    * anything else (negative, larger): the image's minimum..maximum to 0..255. NaN and infinities become 0.
    """
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == np.bool_:
        return np.asarray(pixels, dtype=np.uint8) * np.uint8(255)
    return scaled(pixels, *scale_of(pixels.dtype, *value_range(pixels)))


def scale_of(dtype: np.dtype[Any], low: float, high: float) -> tuple[float, float]:
    """The values that become 0 and 255 for an image of `dtype` whose values lie in [low, high]: rules as above."""
    if dtype.kind == "f" and low >= 0 and high <= 1:
        return 0.0, 1.0
    if low >= 0 and high <= 65535:
        steps = (255.0,) if dtype.kind == "f" else (255.0, 4095.0, 65535.0)
        return 0.0, next((step for step in steps if high <= step), high)
    return low, high


def scaled(pixels: NDArray[Any], low: float, high: float) -> Image:
    """(H, W, C) -> uint8 with low..high spread over 0..255; NaN and infinities become the ends."""
    out = np.empty(pixels.shape, np.uint8)
    scale = 255.0 / (high - low) if high > low else 0.0
    for top in range(0, len(pixels), _ROWS):
        rows = np.nan_to_num(pixels[top : top + _ROWS].astype(np.float64), nan=low, posinf=high, neginf=low)
        out[top : top + _ROWS] = np.clip((rows - low) * scale + 0.5, 0, 255)
    return out


def value_range(pixels: NDArray[Any]) -> tuple[float, float]:
    """Smallest and largest finite value, found row block by row block."""
    low, high = np.inf, -np.inf
    for top in range(0, len(pixels), _ROWS):
        rows = pixels[top : top + _ROWS]
        rows = rows[np.isfinite(rows)] if rows.dtype.kind == "f" else rows
        if rows.size:
            low, high = min(low, float(rows.min())), max(high, float(rows.max()))
    return (low, high) if low <= high else (0.0, 0.0)


def on_white(pixels: Image) -> Image:
    """(H, W, C+1) uint8 with alpha last -> (H, W, C) uint8 composited on white."""
    out = np.empty((*pixels.shape[:2], pixels.shape[2] - 1), np.uint8)
    for top in range(0, len(pixels), _ROWS):
        rows = pixels[top : top + _ROWS].astype(np.uint16)
        colour, alpha = rows[..., :-1], rows[..., -1:]
        out[top : top + _ROWS] = (colour * alpha + 255 * (255 - alpha) + 127) // 255
    return out


def upright(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """(H, W, C) as stored -> as seen, for an EXIF orientation of 1..8 (anything else: unchanged)."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def conforms(bands: int, channels: int) -> bool:
    """Whether `conform` can give a meaning to the change."""
    return bands == channels or bands == 1 or (bands in (3, 4) and channels == 1) or (bands == 4 and channels == 3)


def conform(image: Image, channels: int) -> Image:
    """(H, W, C) uint8 -> (H, W, channels) uint8.

    Grey is repeated; RGB becomes luma (ITU-R 601); the fourth of four bands (alpha, near infrared) is left out.

    Raises:
        Fault: no meaning can be given to the change (5 bands to 3, 3 to 4).
    """
    bands = image.shape[2]
    if not conforms(bands, channels):
        raise Fault(f"{channels} bands", f"{bands}", "choose images with the same bands, or convert them")
    if bands == channels:
        return image
    if bands == 1:
        return np.repeat(image, channels, axis=2)
    colours = np.ascontiguousarray(image[..., :3])
    return colours if channels == 3 else np.asarray(Pillow.fromarray(colours).convert("L"))[..., None]


def resize(image: Image, height: int, width: int) -> Image:
    """(H, W, C) uint8 -> (height, width, C) uint8: bilinear, averaging when it shrinks (antialiased)."""
    if image.shape[:2] == (height, width):
        return image
    if image.shape[2] == 3:
        return np.asarray(Pillow.fromarray(np.ascontiguousarray(image)).resize((width, height), BILINEAR))
    bands = [Pillow.fromarray(np.ascontiguousarray(image[..., i])) for i in range(image.shape[2])]
    return np.stack([np.asarray(band.resize((width, height), BILINEAR)) for band in bands], axis=2)


def resize_probs(probs: Probabilities, height: int, width: int) -> Probabilities:
    """(K, h, w) float32 -> (K, height, width) float32 bilinear, summing to 1 over K at every pixel."""
    if probs.shape[1:] == (height, width):
        return probs
    out = np.empty((len(probs), height, width), np.float32)
    for plane, target in zip(probs, out, strict=True):
        shape = Pillow.fromarray(np.ascontiguousarray(plane, dtype=np.float32))
        target[:] = np.asarray(shape.resize((width, height), BILINEAR))
    np.clip(out, 0, None, out=out)
    out /= out.sum(axis=0, keepdims=True)
    return out
