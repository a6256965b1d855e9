"""Masks to polygons and back, exactly, on every shape; hostile polygons are refused."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from decoupe.export.outlines import BadPolygon, fill, keyhole, outlines


def random_mask(height: int, width: int, seed: int) -> np.ndarray:
    """Noise, smooth to rough, with holes in holes."""
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.random((height, width)), rng.choice([0, 0.7, 2]))
    return np.asarray(noise > np.quantile(noise, rng.uniform(0.1, 0.9)))


def painted(rings: list[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    out = np.zeros(size, bool)
    mask, top, left = fill([ring.astype(float) for ring in rings], size)
    out[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
    return out


@settings(deadline=None, max_examples=150)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 10**6))
@pytest.mark.slow
def test_outlines_give_the_mask_back(height: int, width: int, seed: int) -> None:
    mask = random_mask(height, width, seed)
    if not mask.any():
        return
    assert (painted(outlines(mask), mask.shape) == mask).all()
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    for part in range(1, count + 1):
        rings = outlines(labels == part)
        holes = ndimage.label(np.pad(labels != part, 1, constant_values=True))[1] - 1
        assert len(rings) == 1 + holes
        assert (painted([keyhole(rings)], mask.shape) == (labels == part)).all()


def test_an_outline_holds_corners_only() -> None:
    (ring,) = outlines(np.ones((3, 5), bool))
    assert sorted(map(tuple, ring.tolist())) == [(0, 0), (0, 3), (5, 0), (5, 3)]
    diagonal = np.eye(2, dtype=bool)
    assert len(outlines(diagonal)) == len(outlines(diagonal[::-1])) == 1


def slow_fill(ring: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Pixel by pixel: crossings of a ray to the right."""
    out = np.zeros(size, bool)
    for row in range(size[0]):
        for column in range(size[1]):
            x, y = column + 0.5, row + 0.5
            for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
                if (y0 > y) != (y1 > y) and x < x0 + (y - y0) * (x1 - x0) / (y1 - y0):
                    out[row, column] ^= True
    return out


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 14), st.integers(1, 14), st.integers(3, 9), st.integers(0, 10**6))
def test_filling_equals_a_slow_reference(height: int, width: int, corners: int, seed: int) -> None:
    ring = np.random.default_rng(seed).uniform(-4, 18, (corners, 2))
    assert (painted([ring], (height, width)) == slow_fill(ring, (height, width))).all()


@pytest.mark.slow
def test_a_large_outline_takes_a_moment() -> None:
    mask = random_mask(700, 900, 5)
    started = time.process_time()
    assert (painted(outlines(mask), mask.shape) == mask).all()
    assert time.process_time() - started < 20


BAD = [
    [(0, 0), (1, float("nan")), (2, 2)],
    [(0, 0), (float("inf"), 1), (2, 2)],
    [(0, 0), (1e300, 1), (2, 2)],
    [(0, 0), (1, 1)],
    [],
    [(0, 0, 0), (1, 1, 1), (2, 2, 2)],
    [(0, 0), (1,), (2, 2)],
    ["abc", "def"],
    [(0, 0), ("x", 1), (2, 2)],
    None,
]


@pytest.mark.parametrize("ring", BAD, ids=str)
def test_polygons_of_nothing_are_refused(ring: object) -> None:
    with pytest.raises(BadPolygon) as caught:
        fill([ring], (10, 10))  # type: ignore[list-item]
    assert "\n" not in str(caught.value)


def test_edges_beyond_count_are_refused_and_far_ones_clipped() -> None:
    zigzag = np.stack((np.tile([0.0, 5.0], 50_000), np.tile([-10.0, 500.0], 50_000)), axis=1)
    with pytest.raises(BadPolygon, match="thousands"):
        fill([zigzag], (100, 10))
    assert painted([np.array([(-1e6, -1e6), (1e6, -1e6), (1e6, 1e6), (-1e6, 1e6)])], (3, 4)).all()
    assert not painted([np.array([(50.0, 50), (60, 50), (60, 60)])], (3, 4)).any()
