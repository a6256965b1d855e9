"""Exact minimum cuts on the 8-connected pixel grid (Boykov & Jolly 2001), by scipy's maximum flow."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, maximum_flow

Indices = NDArray[np.int64]
"""(P,) flat pixel indices."""

LIMIT = 2**29
"""Capacities are scaled so that the sum of those at the terminals stays below this (scipy's flows are int32)."""

STEPS = ((0, 1), (1, 0), (1, 1), (1, -1))
"""(rows, columns) to the four neighbours that come later in reading order: right, below, and both diagonals."""


def neighbours(height: int, width: int) -> list[tuple[Indices, Indices, float]]:
    """For each of `STEPS`: flat indices (P,) of the pixels, of their neighbours, and the distance between them."""
    grid = np.arange(height * width).reshape(height, width)
    pairs = []
    for down, right in STEPS:
        left = max(-right, 0)
        here = grid[: height - down, left : width - max(right, 0)]
        there = grid[down:, left + right : width + right if right < 0 else width]
        pairs.append((here.ravel(), there.ravel(), float(np.hypot(down, right))))
    return pairs


class GridCut:
    """Minimises sum_p unary_p x_p + sum_pq weight_pq [x_p != x_q] over binary x, again and again for new unaries.

    The flow between pixels found by one cut is kept and the next unary is restated against it (Kohli & Torr 2005), so
    later cuts have little left to push. Weights and unaries are rounded to 1/`scale`; the cut of those is exact.
    """

    def __init__(self, tails: Indices, heads: Indices, weights: NDArray[np.float64], n: int) -> None:
        """`tails`, `heads` (P,) are pairs of pixels in [0, n), each pair once; `weights` (P,) >= 0."""
        self._n = n
        pixels = np.arange(n)
        source, sink = np.full(n, n), np.full(n, n + 1)
        rows = np.concatenate([tails, heads, source, pixels, pixels, sink])
        columns = np.concatenate([heads, tails, pixels, sink, source, pixels])
        order = np.lexsort((columns, rows))
        self._slots = np.argsort(order)  # edge of the list above -> its place in the sorted matrix
        self._columns = columns[order].astype(np.int32)
        self._starts = np.searchsorted(rows[order], np.arange(n + 3)).astype(np.int32)
        self._tails, self._heads = np.concatenate([tails, heads]), np.concatenate([heads, tails])
        self._weights = np.concatenate([weights, weights])
        self._flow = np.zeros(len(self._weights), dtype=np.int64)
        self._scale = 0.0

    def __call__(self, unary: NDArray[np.float64], scale: float = 64.0) -> NDArray[np.bool_]:
        """(n,) bool: the minimising x with the fewest ones."""
        scale = min(scale, LIMIT / max(1.0, float(np.abs(unary).sum() + 2 * self._weights.sum())))
        if scale != self._scale:
            self._scale, self._flow = scale, np.zeros_like(self._flow)
        arrived = np.bincount(self._heads, self._flow, self._n).astype(np.int64)
        wanted = arrived - np.rint(unary * scale).astype(np.int64)  # > 0: from the source, < 0: to the sink
        links = np.rint(self._weights * scale).astype(np.int64) - self._flow
        nothing = np.zeros(2 * self._n, dtype=np.int64)
        ends = np.concatenate([np.maximum(wanted, 0), np.maximum(-wanted, 0)])
        capacities = np.empty(len(self._columns), dtype=np.int32)
        capacities[self._slots] = np.concatenate([links, ends, nothing])
        graph = self._matrix(capacities)
        flow = np.asarray(maximum_flow(graph, self._n, self._n + 1).flow.data, dtype=np.int32)
        self._flow = self._flow + flow[self._slots[: len(links)]]
        residual = self._matrix(capacities - flow)
        residual.eliminate_zeros()
        reached = breadth_first_order(residual, self._n, return_predecessors=False)
        ones = np.zeros(self._n + 2, dtype=np.bool_)
        ones[reached] = True
        return ones[: self._n]

    def _matrix(self, data: NDArray[np.int32]) -> csr_array:
        """A copy of the graph with these values (scipy may sort or drop entries in place)."""
        shape = (self._n + 2, self._n + 2)
        return csr_array((data.copy(), self._columns.copy(), self._starts.copy()), shape=shape)
