"""Label Studio's brush bytes: the same as a reader that follows the bits one by one; malformed ones are refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decoupe.errors import Fault
from decoupe.export import brush, rle
from decoupe.export.rle import BadRle


def slow_decode(data: bytes) -> list[int]:
    """The format as it is described, on a string of bits."""
    bits = "".join(f"{byte:08b}" for byte in data)
    at = 0

    def read(count: int) -> int:
        nonlocal at
        at += count
        return int(bits[at - count : at], 2)

    total, word = read(32), read(5) + 1
    sizes = [read(4) + 1 for _ in range(4)]
    out: list[int] = []
    while len(out) < total:
        repeated, length = read(1), 0
        length = read(sizes[read(2)]) + 1
        out += [read(word)] * length if repeated else [read(word) for _ in range(length)]
    return out


def literal(values: np.ndarray) -> bytes:
    """Words as they are, in pieces of up to 16, after a header."""
    bits = f"{len(values):032b}" + f"{7:05b}" + "".join(f"{size - 1:04b}" for size in brush.SIZES)
    for start in range(0, len(values), 11):
        piece = values[start : start + 11]
        bits += "0" + "01" + f"{len(piece) - 1:04b}" + "".join(f"{value:08b}" for value in piece)
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))


def mask_of(height: int, width: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.asarray(rng.random((height, width)) < rng.random())


@settings(deadline=None, max_examples=80)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 10**6))
def test_round_trip(height: int, width: int, seed: int) -> None:
    mask = mask_of(height, width, seed)
    data = brush.encode(rle.encode(mask.T))
    assert slow_decode(data) == np.repeat(255 * mask.ravel(), 4).tolist()
    assert (brush.decode(data, mask.shape) == mask).all()


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 10**6))
def test_words_as_they_are_and_soft_brushes(height: int, width: int, seed: int) -> None:
    values = np.random.default_rng(seed).integers(0, 256, height * width * 4)
    assert slow_decode(literal(values)) == values.tolist()
    expected = values.reshape(height, width, 4)[..., 3] >= 128
    assert (brush.decode(literal(values), (height, width)) == expected).all()


def test_runs_longer_than_a_length_holds() -> None:
    mask = np.zeros((300, 500), bool)
    mask[100:] = True
    data = brush.encode(rle.encode(mask.T))
    assert len(data) < 60 and (brush.decode(data, mask.shape) == mask).all()
    for total in (1 << 14, (1 << 14) + 1, (1 << 15)):
        mask = np.ones((1, total), bool)
        assert brush.decode(brush.encode(rle.encode(mask.T)), mask.shape).all()


def test_too_many_pixels_are_refused() -> None:
    with pytest.raises(Fault, match="labelstudio"):
        brush.encode((1 << 30,))


def test_hostile_bytes_are_refused() -> None:
    data = brush.encode(rle.encode(mask_of(9, 9, 1).T))
    with pytest.raises(BadRle, match="pixels of 4"):
        brush.decode(data, (9, 10))
    with pytest.raises(BadRle, match="pixels of 4"):
        brush.decode(b"\xff" * 40, (9, 9))
    for cut in range(len(data) - 2):
        with pytest.raises(BadRle):
            brush.decode(data[:cut], (9, 9))
    over = bytearray(brush.encode((4,)))
    over[:4] = (8).to_bytes(4, "big")
    with pytest.raises(BadRle, match="more pixels"):
        brush.decode(bytes(over), (1, 2))


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=80), st.integers(1, 6), st.integers(1, 6))
@pytest.mark.slow
def test_noise_is_refused_or_a_mask(noise: bytes, height: int, width: int) -> None:
    try:
        assert brush.decode((4 * height * width).to_bytes(4, "big") + noise, (height, width)).shape == (height, width)
    except BadRle as fault:
        assert "\n" not in str(fault)
