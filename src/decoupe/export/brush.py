"""The bit-packed run lengths of Label Studio's brush: a mask as the bytes of an RGBA picture, four equal bytes a pixel.

    32 bits   number of bytes, 4 H W
    5 bits    word size less one: 7
    4 x 4     sizes less one of the four kinds of length
    then, to the end: 1 bit (1: one word repeated, 0: words as they are), 2 bits (kind of length), the length less one,
    and the word, or as many words as the length says

Everything read is checked before anything is allocated.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from decoupe.errors import Fault
from decoupe.export.rle import BadRle, Mask

SIZES = (3, 4, 8, 16)
"""Bits of the four kinds of length."""
WORD = 8
HEADER = 32 + 5 + 4 * 4
LONGEST = 1 << SIZES[-1]
HALF = 128
"""Pixels of a soft brush count from half its strength on."""


def _bits(values: NDArray[np.int64], widths: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The lowest `widths` (at most 32) bits of each value, highest first, one after another."""
    shifted = (values << (32 - widths)).astype(">u4")
    rows = np.unpackbits(shifted.view(np.uint8).reshape(-1, 4), axis=1)
    return np.asarray(rows[np.arange(32) < widths[:, None]])


def encode(runs: Sequence[int]) -> bytes:
    """Bytes of a mask given by its run lengths in rows, first of zeros, that sum to H * W.

    Fault if there are more pixels than the format can count (2^30).
    """
    lengths = 4 * np.asarray(runs, np.int64)
    if lengths.sum() >= 1 << 32:
        raise Fault("fewer than 1,073,741,824 pixels for labelstudio", f"{sum(runs):,}", "use --format png")
    words = np.where(np.arange(len(lengths)) % 2 == 1, 255, 0)
    pieces = -(-lengths // LONGEST)
    many = np.repeat(np.full(len(lengths), LONGEST), pieces)
    ends = np.cumsum(pieces)[pieces > 0] - 1
    many[ends] = (lengths - (pieces - 1) * LONGEST)[pieces > 0]
    kind = np.searchsorted(1 << np.asarray(SIZES), many)
    width = np.asarray(SIZES)[kind]
    tokens = (((4 + kind) << width | (many - 1)) << WORD) | np.repeat(words, pieces)
    head = np.asarray([int(lengths.sum()), WORD - 1, *(size - 1 for size in SIZES)], np.int64)
    head_widths = np.asarray([32, 5, 4, 4, 4, 4], np.int64)
    return np.packbits(np.concatenate((_bits(head, head_widths), _bits(tokens, 3 + width + WORD)))).tobytes()


def decode(data: bytes, size: tuple[int, int]) -> Mask:
    """(H, W) bool mask of brush bytes. BadRle if they are malformed, cut off, or of another size."""
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    if len(bits) < HEADER:
        raise BadRle("a brush mask that was cut off")
    whole = int.from_bytes(data[:4], "big")
    if whole != 4 * size[0] * size[1]:
        raise BadRle(f"{whole} bytes for {size[0]}x{size[1]} pixels of 4")
    at = 32
    word, *kinds = (_number(bits, at + skip, n) + 1 for skip, n in ((0, 5), (5, 4), (9, 4), (13, 4), (17, 4)))
    if word != WORD:
        raise BadRle(f"a brush mask with words of {word} bits")
    out, done, at = np.zeros(whole // 4, bool), 0, HEADER
    while done < whole:
        if at + 3 > len(bits):
            raise BadRle("a brush mask that was cut off")
        repeated, kind = bool(bits[at]), _number(bits, at + 1, 2)
        length = _number(bits, at + 3, kinds[kind]) + 1
        at += 3 + kinds[kind]
        more = WORD * (1 if repeated else length)
        if at + more > len(bits):
            raise BadRle("a brush mask that was cut off")
        if done + length > whole:
            raise BadRle("a brush mask with more pixels than its picture")
        words = np.packbits(bits[at : at + more])
        alpha = words if repeated else words[(3 - done) % 4 :: 4]  # the last of a pixel's four bytes
        out[done // 4 : (done + length) // 4] = alpha >= HALF
        at, done = at + more, done + length
    return out.reshape(size)


def _number(bits: NDArray[np.uint8], at: int, count: int) -> int:
    value = 0
    for bit in bits[at : at + count].tolist():
        value = 2 * value + bit
    return value
