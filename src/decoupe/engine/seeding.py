"""Which images a step sees: a function of (seed, images seen) alone, so that resuming and sharding change nothing."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


def mix(*values: int) -> int:
    """A 63-bit seed from integers (numpy's SeedSequence): nearby inputs give unrelated outputs."""
    words = np.random.SeedSequence([value & 0xFFFF_FFFF_FFFF_FFFF for value in values]).generate_state(1, np.uint64)
    return int(words[0]) >> 1


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, n: int) -> NDArray[np.int64]:
    return np.random.default_rng(mix(seed, epoch, 0x0DE)).permutation(n)


def image_indices(seed: int, position: int, count: int, n: int) -> NDArray[np.int64]:
    """(count,) int64 indices in [0, n): positions `position`... of an endless sequence of permutations of n images."""
    positions = np.arange(position, position + count)
    return np.array([_order(seed, int(p) // n, n)[int(p) % n] for p in positions], dtype=np.int64)
