"""Labels without probabilities equal the labels of the probabilities."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from decoupe.data.decode import resize_probs
from decoupe.export.upsample import Upsampled, upsampled_labels


def square(k: int, size: int, seed: int) -> np.ndarray:
    """Random (k, size, size) float32 summing to 1."""
    raw = np.random.default_rng(seed).random((k, size, size)).astype(np.float32) ** 3 + 1e-3
    return np.asarray(raw / raw.sum(0), np.float32)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 6), st.integers(1, 20), st.integers(0, 70), st.integers(0, 70), st.integers(0, 10**6))
def test_labels_equal_the_resized_argmax(k: int, size: int, taller: int, wider: int, seed: int) -> None:
    probs = square(k, size, seed)
    height, width = size + taller, size + wider
    full = resize_probs(probs, height, width)
    quick = upsampled_labels(probs, height, width)
    best = full.max(0)
    chosen = np.take_along_axis(full, quick[None].astype(np.int64), 0)[0]
    assert quick.shape == (height, width) and (best - chosen <= 2e-5).all()
    if k > 1:
        clear = np.sort(full, 0)[-1] - np.sort(full, 0)[-2] > 2e-5
        assert (quick[clear] == full.argmax(0)[clear]).all() and clear.mean() > 0.9


def test_ties_go_to_the_lower_region() -> None:
    half = np.full((2, 4, 4), 0.5, np.float32)
    assert not upsampled_labels(half, 9, 9).any()
    assert not upsampled_labels(np.full((3, 4, 4), 1 / 3, np.float32), 9, 9).any()


def test_photos_smaller_than_the_square_and_exact_ones_go_the_long_way() -> None:
    probs = square(3, 16, 1)
    for size, exact in [((5, 40), False), ((40, 5), False), ((40, 40), True)]:
        found = Upsampled(probs, size, ("a", "b", "c"), exact)
        assert (found.labels == found.probs.argmax(0)).all() and found.labels.shape == size
