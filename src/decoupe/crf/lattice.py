"""Gaussian filtering in many dimensions on a permutohedral lattice (Adams, Baek and Davis 2010).

Points of a d-dimensional feature space are lifted onto the hyperplane of R^(d+1) whose coordinates sum to 0. There the
lattice A*_d cuts space into equal simplices of d + 1 vertices, one of each remainder class 0 .. d. A point gives its
value to the vertices of its simplex by barycentric weights (splat), vertices exchange values with their two neighbours
along each of d + 1 directions (blur), and points read them back by the same weights (slice): O(N d^2) at any width.

Only vertices that some point touches exist. They are found by sorting packed keys, class by class, and all three
steps are then weighted sums of rows: on a CPU and a GPU alike the same `embedding_bag`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from decoupe.errors import Fault


def elevation(d: int) -> Tensor:
    """(d + 1, d) float64: features in standard deviations -> the hyperplane, in steps of the lattice (section 3.2).

    Column i has i + 1 ones, then -(i + 1), at unit length; splat, blur and slice together blur by sqrt(2/3) (d + 1).
    """
    matrix = torch.zeros(d + 1, d, dtype=torch.float64)
    for i in range(d):
        matrix[: i + 1, i] = 1.0
        matrix[i + 1, i] = -(i + 1.0)
        matrix[:, i] /= ((i + 1.0) * (i + 2.0)) ** 0.5
    matrix *= (2.0 / 3.0) ** 0.5 * (d + 1)
    return matrix


class Simplices(NamedTuple):
    """The simplex that encloses each of N points."""

    base: Tensor
    """(d + 1, N) float32: its vertex of class 0, divided by d + 1 (whole numbers)."""
    rank: Tensor
    """(d + 1, N) int64: place of each coordinate's remainder in descending order, 0 .. d."""
    weights: Tensor
    """(d + 1, N) float32: barycentric weight of the vertex of each class; they sum to 1."""


def enclose(elevated: Tensor) -> Simplices:
    """(d + 1, N) points of the hyperplane -> their simplices (section 3.1)."""
    size = len(elevated)
    base = torch.round(elevated / size)
    excess = base.sum(0).to(torch.int16)
    rest = elevated / size - base
    small = torch.int8 if size < 60 else torch.int16
    rank = torch.arange(size, dtype=small, device=elevated.device)[:, None].repeat(1, elevated.shape[1])
    for i in range(size - 1):
        less = (rest[i] < rest[i + 1 :]).to(small)
        rank[i + 1 :] -= less
        for row in less:
            rank[i] += row
    rank += excess.to(small)
    under, over = rank < 0, rank >= size
    shift = under.to(small) - over.to(small)
    rank += shift * size
    base += shift
    rest -= shift
    place = rank.long()
    ordered = torch.empty_like(rest).scatter_(0, place, rest)
    weights = torch.empty_like(rest)
    weights[0] = 1.0 + ordered[-1] - ordered[0]
    weights[1:] = (ordered[:-1] - ordered[1:]).flip(0)
    return Simplices(base, place, weights)


class Keys(NamedTuple):
    """How lattice points become single integers: a sum of coordinate times stride."""

    first: Tensor
    """(N,) int64: key of each point's vertex of class 0."""
    strides: Tensor
    """(d + 1,) int64; the last is 0, since coordinates sum to 0."""
    capacity: int
    """All keys are in [0, capacity); 0 if they are hashes that fill 64 bits."""


def encode(base: Tensor) -> Keys:
    """Mixed radix where that fits 62 bits; else a linear hash modulo 2^64 (M vertices: odds of a collision M^2 / 2^64).

    Each digit has a margin, so that a neighbour's key never means another vertex.
    """
    low = base.amin(1) - 2
    extents = [int(extent) for extent in (base.amax(1) - low + 2).tolist()[:-1]]
    strides, capacity = [], 1
    for extent in reversed(extents):
        strides.append(capacity)
        capacity *= extent
    if capacity >= 1 << 62:
        generator = torch.Generator().manual_seed(20101101)
        numbers = torch.randint(-(1 << 62), 1 << 62, (len(extents),), generator=generator) * 2 + 1
        strides, capacity = numbers.tolist(), 0
    else:
        strides.reverse()
    stride = torch.tensor([*strides, 0], dtype=torch.int64, device=base.device)
    first = torch.zeros(base.shape[1], dtype=torch.int64, device=base.device)
    for i in range(len(extents)):
        first += (base[i] - low[i]).long() * stride[i]
    return Keys(first, stride, capacity)


def ordered(keys: Tensor, capacity: int) -> tuple[Tensor, Tensor]:
    """(N,) int64 keys -> (sorted keys, index of each): key and index packed into one integer where that fits."""
    bits = max(1, (len(keys) - 1).bit_length())
    if not 0 < capacity << bits < 1 << 63:
        values, index = torch.sort(keys, stable=True)
        return values, index
    packed = (keys << bits) | torch.arange(len(keys), device=keys.device)
    if packed.device.type == "cpu":
        packed = torch.from_numpy(np.sort(packed.numpy()))
    else:
        packed = torch.sort(packed).values
    return packed >> bits, packed & ((1 << bits) - 1)


def find(table: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
    """Place of each query in the sorted `table`, and whether it is there."""
    if table.device.type == "cpu":
        place = torch.from_numpy(np.searchsorted(table.numpy(), queries.numpy()))
    else:
        place = torch.searchsorted(table, queries)
    place.clamp_(max=len(table) - 1)
    return place, table[place] == queries


class Lattice:
    """A Gaussian filter of unit standard deviation over N points, built once, for any number of values.

    `filter` is linear and, but for vertices that do not exist, symmetric; its gain is not 1 (`kernels.Appearance`).
    """

    def __init__(self, features: Tensor) -> None:
        """`features`: (N, d) float, in units of the kernel's standard deviations. Fault if N * (d + 1) >= 2^31."""
        n, d = features.shape
        if n * (d + 1) >= 1 << 31:
            raise Fault("at most 2^31 / (channels + 3) pixels", f"{n:,}", "use a smaller image")
        elevated = elevation(d).to(features) @ features.T
        base, rank, weights = enclose(elevated)
        keys = encode(base)
        turns = torch.empty_like(rank).scatter_(0, rank, keys.strides[:, None].expand(d + 1, n))
        del base, rank, elevated
        self.points, self.corners = n, d + 1
        self._connect(keys, turns, weights)

    def _connect(self, keys: Keys, turns: Tensor, weights: Tensor) -> None:
        """Vertices of each class, who gives to them (rows of the splat) and who reads them (columns of the slice)."""
        n, corners, device = self.points, self.corners, weights.device
        slices = torch.empty(corners, n, dtype=torch.int32, device=device)
        self.splat_index = torch.empty(n * corners, dtype=torch.int32, device=device)
        self.splat_weights = torch.empty(n * corners, device=device)
        starts, tables, count, key = [], [], 0, keys.first
        for k in range(corners):
            if k:
                key = key - turns[corners - k]
            values, index = ordered(key, keys.capacity)
            new = torch.ones(n, dtype=torch.bool, device=device)
            torch.ne(values[1:], values[:-1], out=new[1:])
            start = new.nonzero().squeeze(1)
            slices[k].scatter_(0, index, new.cumsum(0, dtype=torch.int32).add_(count - 1))
            self.splat_index[k * n : (k + 1) * n] = index
            torch.index_select(weights[k], 0, index, out=self.splat_weights[k * n : (k + 1) * n])
            starts.append(start + k * n)
            tables.append(values[start])
            count += len(start)
        self.vertices = count
        end = torch.tensor([n * corners], device=device)
        self.splat_starts = torch.cat([*starts, end, end]).int()
        self.slice_index, self.slice_weights = slices.T.contiguous(), weights.T.contiguous()
        self.blur_index = [self._neighbours(tables, keys.strides, j) for j in range(corners)]
        self.blur_weights = torch.tensor([0.5, 0.25, 0.25], device=device).repeat(count + 1, 1)

    def _neighbours(self, tables: list[Tensor], strides: Tensor, j: int) -> Tensor:
        """(M + 1, 3) int32: each vertex, the next one and the one before in direction j; M (always 0) for missing ones.

        One step raises all coordinates by 1 but j, which falls by d: from class k to k + 1, and from d back to 0.
        """
        corners, total = self.corners, self.vertices
        index = torch.full((total + 1, 3), total, dtype=torch.int32, device=strides.device)
        index[:, 0] = torch.arange(total + 1, device=strides.device)
        offsets = np.cumsum([0, *(len(table) for table in tables)])
        for k in range(corners):
            after = (k + 1) % corners
            step = -strides[j] if after else strides.sum() - strides[j]
            place, there = find(tables[after], tables[k] + step)
            own = there.nonzero().squeeze(1)
            other = place[own]
            own += int(offsets[k])
            other += int(offsets[after])
            index[own, 1] = other.int()
            index[other, 2] = own.int()
        return index

    def scale(self, factors: Tensor) -> None:
        """Multiply what each of the (N,) points gives and reads: filter becomes diag(f) filter diag(f)."""
        self.splat_weights *= factors.index_select(0, self.splat_index)
        self.slice_weights *= factors[:, None]

    def splat_blur(self, values: Tensor, backward: bool = False) -> Tensor:
        """(N, K) contiguous values of points -> (M + 1, K) values of vertices; directions last to first if asked."""
        vertices = embedding_bag(
            self.splat_index, values, self.splat_starts, mode="sum",
            per_sample_weights=self.splat_weights, include_last_offset=True,
        )  # fmt: skip
        for index in reversed(self.blur_index) if backward else self.blur_index:
            vertices = embedding_bag(index, vertices, mode="sum", per_sample_weights=self.blur_weights)
        return vertices

    def slice(self, vertices: Tensor, first: int = 0, last: int | None = None) -> Tensor:
        """(M + 1, K) values of vertices -> (last - first, K) values of these points."""
        rows = slice(first, last)
        return embedding_bag(self.slice_index[rows], vertices, mode="sum", per_sample_weights=self.slice_weights[rows])

    def filter(self, values: Tensor, backward: bool = False) -> Tensor:
        """(N, K) -> (N, K). `backward` is the transpose of the other: where vertices are missing, order matters."""
        return self.slice(self.splat_blur(values.contiguous(), backward))
