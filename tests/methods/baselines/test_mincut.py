"""Cuts against enumeration of every labelling, and against a second maximum-flow algorithm."""

from __future__ import annotations

from itertools import product

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decoupe.methods.baselines.mincut import GridCut, neighbours

Pairs = list[tuple[np.ndarray, np.ndarray, float]]


def energy(x: np.ndarray, unary: np.ndarray, tails: np.ndarray, heads: np.ndarray, weights: np.ndarray) -> float:
    return float((unary * x).sum() + (weights * (x[tails] != x[heads])).sum())


def grid(height: int, width: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.random.Generator]:
    rng = np.random.default_rng(seed)
    pairs = neighbours(height, width)
    tails, heads = np.concatenate([p[0] for p in pairs]), np.concatenate([p[1] for p in pairs])
    return tails, heads, rng.integers(0, 200, len(tails)) / 64, rng


def test_neighbours_are_the_eight() -> None:
    height, width = 4, 5
    pairs = neighbours(height, width)
    found = {(min(a, b), max(a, b), d) for m, n, d in pairs for a, b in zip(m, n, strict=True)}
    expected = {
        (a, b, float(np.hypot(a // width - b // width, a % width - b % width)))
        for a in range(20) for b in range(a + 1, 20)
        if max(abs(a // width - b // width), abs(a % width - b % width)) == 1
    }  # fmt: skip
    assert found == expected
    assert sum(len(tails) for tails, _, _ in pairs) == len(expected)


@given(st.integers(0, 100_000), st.sampled_from([(3, 3), (2, 5), (1, 4), (4, 1)]))
@settings(max_examples=30, deadline=None)
@pytest.mark.slow
def test_cut_is_the_least_of_all_labellings_and_stays_so(seed: int, shape: tuple[int, int]) -> None:
    tails, heads, weights, rng = grid(*shape, seed)
    n = shape[0] * shape[1]
    cut = GridCut(tails, heads, weights, n)
    labellings = [np.array(x) for x in product((0, 1), repeat=n)]
    for _ in range(3):  # later cuts start from the flow of the earlier ones
        unary = rng.integers(-400, 400, n) / 64
        least = min(energy(x, unary, tails, heads, weights) for x in labellings)
        got = cut(unary)
        assert energy(got, unary, tails, heads, weights) == pytest.approx(least)
        ones = [int(x.sum()) for x in labellings if energy(x, unary, tails, heads, weights) == pytest.approx(least)]
        assert got.sum() == min(ones)


def test_cut_value_is_the_maximum_flow() -> None:
    tails, heads, weights, rng = grid(12, 15, 0)
    graph = nx.Graph()
    for a, b, w in zip(tails, heads, weights, strict=True):
        graph.add_edge(int(a), int(b), capacity=float(w))
    unary = rng.integers(-400, 400, 180) / 64
    for p, u in enumerate(unary):
        graph.add_edge("s" if u < 0 else "t", p, capacity=abs(float(u)))
    flow = nx.maximum_flow_value(graph, "s", "t")
    got = GridCut(tails, heads, weights, 180)(unary)
    assert energy(got, unary, tails, heads, weights) - unary[unary < 0].sum() == pytest.approx(flow)


def test_huge_costs_are_scaled_into_the_range_of_the_flow() -> None:
    tails, heads, weights, _ = grid(3, 3, 0)
    unary = np.array([-1e9] * 4 + [1e9] * 5)
    assert GridCut(tails, heads, weights, 9)(unary).tolist() == [True] * 4 + [False] * 5
