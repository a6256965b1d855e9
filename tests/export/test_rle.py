"""Run-length masks against a slow reference, pycocotools, and everything a stranger may write."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from decoupe.errors import Fault
from decoupe.export import rle

shapes = st.tuples(st.integers(1, 40), st.integers(1, 40))
masks = shapes.flatmap(lambda shape: arrays(np.bool_, shape, elements=st.booleans()))


def slow(mask: np.ndarray) -> list[int]:
    """Run lengths of a mask read pixel by pixel down its columns, zeros first."""
    counts, value, length = [], False, 0
    for pixel in mask.T.reshape(-1).tolist():
        if pixel != value:
            counts.append(length)
            value, length = pixel, 0
        length += 1
    return [*counts, length]


@settings(deadline=None, max_examples=200)
@given(masks)
def test_encode_equals_reference_and_round_trips(mask: np.ndarray) -> None:
    counts = rle.encode(mask)
    assert list(counts) == slow(mask)
    assert (rle.decode(counts, mask.shape) == mask).all()
    assert rle.from_string(rle.to_string(counts), mask.shape) == counts
    assert rle.area(counts) == mask.sum()


@settings(deadline=None, max_examples=100)
@given(masks, st.integers(0, 5), st.integers(0, 5), st.integers(0, 5), st.integers(0, 5))
def test_a_crop_placed_in_a_larger_image(mask: np.ndarray, top: int, left: int, bottom: int, right: int) -> None:
    whole = np.pad(mask, ((top, bottom), (left, right)))
    assert rle.encode(mask, whole.shape, (top, left)) == rle.encode(whole)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_strings_equal_pycocotools() -> None:
    coco = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed: pip install decoupe[coco]")
    rng = np.random.default_rng(0)
    for _ in range(200):
        height, width = rng.integers(1, 70, 2)
        mask = rng.random((height, width)) < rng.choice([0, 0.01, 0.3, 0.5, 0.99, 1])
        theirs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
        ours = rle.to_string(rle.encode(mask))
        assert ours == theirs["counts"].decode()
        assert (coco.decode({"size": [int(height), int(width)], "counts": ours}) == mask).all()


def test_long_runs_survive() -> None:
    for size in [(1, 1), (30000, 30000), (1, 10**9)]:
        counts = (size[0] * size[1] - 1, 1)
        assert rle.from_string(rle.to_string(counts), size) == counts


@pytest.mark.parametrize(
    "counts", [(5,), (3, 2), (-1, 5), (2, 3, -1), (4.0,), ("4",), (True, 3), (None,), (10**18, 1), ()]
)
def test_counts_that_do_not_fill_the_mask_are_refused(counts: tuple[object, ...]) -> None:
    with pytest.raises(ValueError, match="run lengths"):
        rle.decode(counts, (2, 2))  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "1", "4~", "é", "\x00", "P" * 50, "o" * 8, "ooooooooo0", "4\n", "N2"])
def test_strings_that_do_not_fill_the_mask_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="run lengths") as caught:
        rle.from_string(text, (2, 2))
    assert isinstance(caught.value, Fault) and "\n" not in str(caught.value)


@settings(deadline=None, max_examples=300)
@given(st.text(max_size=30), shapes)
def test_any_text_gives_a_mask_or_a_fault(text: str, shape: tuple[int, int]) -> None:
    try:
        counts = rle.from_string(text, shape)
    except rle.BadRle:
        return
    assert rle.decode(counts, shape).shape == shape
