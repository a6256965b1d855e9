"""Scribbles that find the edges: a few strokes and the colours under them, carried on by the dense CRF.

A stroke of region l reaches the pixels that look like it and lie near it,

    w_l(i) = max over stroke pixels j of exp(-|c_i - c_j|^2 / 2 COLOUR^2 - |x_i - x_j|^2 / 2 PLACE^2)

with colours in [0, 1] per band and places in shares of the longer side. What is known of a pixel is the mask it has,
with probability TRUST, mixed with the strokes: p_i(l) ~ (1 - max w_i) TRUST [mask is l] + w_l(i). The dense CRF then
draws the border along the photo's edges. Only pixels connected to a stroke change, and strokes hold as drawn: nothing
happens elsewhere in the photo.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from decoupe.crf import dense_crf
from decoupe.crf.settings import PRESETS
from decoupe.data.decode import resize
from decoupe.review.studio import fitted, nearest
from decoupe.types import Image

SIDE = 320
"""Longer side at which the CRF runs."""
COLOUR, PLACE, TRUST = 0.09, 0.16, 0.7
POINTS = 400
"""Stroke pixels per region that are compared with every pixel."""
NONE = 255
"""Where nobody scribbled."""
SETTINGS = replace(PRESETS["krahenbuhl"], appearance_sxy=40.0, srgb=10.0, iterations=5)

Plane = NDArray[np.uint8]


def spread(photo: Image, mask: Plane, strokes: Plane) -> Plane:
    """(H, W, C) uint8, (H, W) region numbers, (H, W) stroke numbers with NONE -> (H, W) the mask with the strokes in.

    Works at SIDE and carries what changed back, so large photos keep their fine borders elsewhere.
    """
    drawn = [int(number) for number in np.unique(strokes) if number != NONE]
    if not drawn:
        return mask.copy()
    size = fitted(mask.shape, SIDE)
    small, lines = nearest(mask, size), _shrunk(strokes, size, drawn)
    new = _settled(resize(photo, *size), small, lines, drawn)
    result = mask.copy()
    for number in drawn:
        gained = nearest(_touching((new == number) & (small != number), lines == number).astype(np.uint8), mask.shape)
        result[gained.astype(bool)] = number
    result[strokes != NONE] = strokes[strokes != NONE]
    return result


def _shrunk(strokes: Plane, size: tuple[int, int], drawn: list[int]) -> Plane:
    """Strokes at another size; thin ones do not get lost."""
    lines = np.full(size, NONE, np.uint8)
    for number in drawn:
        y, x = np.nonzero(strokes == number)
        lines[y * size[0] // strokes.shape[0], x * size[1] // strokes.shape[1]] = number
    return lines


def _settled(photo: Image, mask: Plane, lines: Plane, drawn: list[int]) -> Plane:
    """Region numbers after the strokes have spread and the CRF has drawn the borders."""
    numbers = sorted({*np.unique(mask).tolist(), *drawn})
    known = torch.full((len(numbers), *mask.shape), (1 - TRUST) / len(numbers))
    for row, number in enumerate(numbers):
        known[row][torch.from_numpy(mask == number)] += TRUST
    reach = torch.zeros_like(known)
    for number in drawn:
        reach[numbers.index(number)] = _reach(photo, lines == number)
    known = known * (1 - reach.amax(0)) + reach
    fixed = torch.from_numpy(lines != NONE)
    for row, number in enumerate(numbers):
        known[row][fixed] = torch.from_numpy((lines == number)[lines != NONE].astype(np.float32))
    known = (known + 1e-4) / (known + 1e-4).sum(0)
    settled = dense_crf(known, torch.from_numpy(np.array(photo)), SETTINGS, None)
    return np.asarray(np.asarray(numbers, np.uint8)[settled.argmax(0).numpy()])


def _reach(photo: Image, line: NDArray[np.bool_]) -> Tensor:
    """(h, w) in [0, 1]: how far a stroke reaches, as at the top of this file."""
    y, x = np.nonzero(line)
    pick = np.unique(np.linspace(0, len(y) - 1, min(len(y), POINTS)).astype(int))
    height, width, bands = photo.shape
    colour = photo.astype(np.float32) / 255 / COLOUR / np.sqrt(bands)
    rows, columns = np.mgrid[:height, :width].astype(np.float32) / max(height, width) / PLACE
    features = torch.from_numpy(np.concatenate([colour, rows[..., None], columns[..., None]], 2)).flatten(0, 1)
    points = features.reshape(height, width, -1)[torch.from_numpy(y[pick]), torch.from_numpy(x[pick])]
    return torch.exp(-torch.cdist(features, points).amin(1).square() / 2).reshape(height, width)


def _touching(gained: NDArray[np.bool_], line: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The parts of `gained` that are connected with a stroke."""
    parts, _ = ndimage.label(gained | line, np.ones((3, 3), int))
    reached = np.unique(parts[line])
    return np.asarray(np.isin(parts, reached[reached > 0]) & gained)
