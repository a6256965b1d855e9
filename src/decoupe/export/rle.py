"""Run-length masks as COCO stores them: column-major run lengths, first of zeros, and their compressed string.

The string packs each length (from the third on, its difference to the length two before) into base-32 digits, least
significant first: 5 bits of value, bit 5 = another digit follows, plus 48 to be printable; two's complement signs.
Everything read is checked before anything is allocated.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from decoupe.errors import Fault

Mask = NDArray[np.bool_]
MAX_DIGITS = 8
"""Base-32 digits of one number: 40 bits, far beyond any image."""


class BadRle(Fault, ValueError):
    """A run-length mask that does not describe a mask of the stated size."""

    def __init__(self, got: str) -> None:
        Fault.__init__(self, "run lengths that fill the mask exactly", got, "export the masks again")


def encode(mask: Mask, size: tuple[int, int] | None = None, origin: tuple[int, int] = (0, 0)) -> tuple[int, ...]:
    """Run lengths of `mask` (h, w) placed with its top-left pixel at `origin` (row, column) of a `size` (H, W) image.

    Without `size` the mask is the whole image. Lengths alternate zeros, ones, zeros... and sum to H * W.
    """
    height, width = size or (mask.shape[0], mask.shape[1])
    total = height * width
    padded = np.zeros((mask.shape[1], mask.shape[0] + 2), np.int8)
    padded[:, 1:-1] = mask.T
    steps = np.diff(padded, axis=1)
    columns, first = np.nonzero(steps == 1)
    _, end = np.nonzero(steps == -1)
    offset = (columns + origin[1]) * height + origin[0]
    starts, ends = offset + first, offset + end
    apart = np.ones(len(starts) + 1, bool)
    apart[1:-1] = starts[1:] != ends[:-1]  # a run that touches the bottom goes on at the top of the next column
    starts, ends = starts[apart[:-1]], ends[apart[1:]]
    if not len(starts):
        return (total,)
    edges = np.empty(2 * len(starts) + 2, np.int64)
    edges[0], edges[1:-1:2], edges[2:-1:2], edges[-1] = 0, starts, ends, total
    counts = np.diff(edges)
    return tuple(counts.tolist() if counts[-1] else counts[:-1].tolist())


def check(counts: Sequence[int], size: tuple[int, int]) -> None:
    """BadRle unless `counts` are non-negative integers that sum to H * W."""
    if any(isinstance(c, bool) or not isinstance(c, int) for c in counts):
        raise BadRle("a run length that is not a whole number")
    if any(c < 0 for c in counts):
        raise BadRle("a negative run length")
    if sum(counts) != size[0] * size[1]:
        raise BadRle(f"{sum(counts)} pixels for {size[0]}x{size[1]}")


def decode(counts: Sequence[int], size: tuple[int, int]) -> Mask:
    """(H, W) bool mask of run lengths `counts`. BadRle if they do not fill it."""
    check(counts, size)
    ones = np.arange(len(counts)) % 2 == 1
    return np.repeat(ones, np.asarray(counts, np.int64)).reshape(size[1], size[0]).T


def to_string(counts: Sequence[int]) -> str:
    """The compressed string of run lengths."""
    text = bytearray()
    for i, count in enumerate(counts):
        value = count - counts[i - 2] if i > 2 else count
        more = True
        while more:
            digit = value & 31
            value >>= 5
            more = value != (-1 if digit & 16 else 0)
            text.append(digit + (32 if more else 0) + 48)
    return text.decode("ascii")


def from_string(text: str, size: tuple[int, int]) -> tuple[int, ...]:
    """Run lengths of a compressed string for an (H, W) mask. BadRle on anything malformed, before decoding."""
    counts: list[int] = []
    value, shift = 0, 0
    for character in text:
        digit = ord(character) - 48
        if not 0 <= digit < 64:
            raise BadRle(f"the character {character!r} in a compressed mask")
        value |= (digit & 31) << shift
        shift += 5
        if digit & 32:
            if shift >= 5 * MAX_DIGITS:
                raise BadRle("a run length that never ends")
            continue
        if digit & 16:
            value -= 1 << shift
        if len(counts) > 2:
            value += counts[-2]
        counts.append(value)
        value, shift = 0, 0
    if shift:
        raise BadRle("a compressed mask that was cut off")
    check(counts, size)
    return tuple(counts)


def area(counts: Sequence[int]) -> int:
    """Pixels set."""
    return sum(counts[1::2])
