"""The two kernels of Kraehenbuehl and Koltun 2011 (equation 3), normalised: D^(-1/2) K D^(-1/2), D = diag(K 1).

A pixel's kernel with itself, 1, is part of every sum, as in the authors' program (their Algorithm 1 leaves it out).
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

from decoupe.crf.lattice import Lattice
from decoupe.crf.settings import Settings

CACHED = 64 * 1024 * 1024
"""Entries of the exact kernel that are kept between iterations; larger ones are computed anew, block by block."""
TURNS = 128 * 128
"""Images of at most so many pixels blur the lattice in both orders, by turns: half the error of one order.

Larger ones keep to the order of the authors' program, whose labels they reproduce (docs/crf.md has both measured).
"""
REACH = 5.0
"""The smoothness kernel is cut at this many standard deviations: 6e-7 of its mass lies beyond."""


def positions(height: int, width: int, device: torch.device) -> Tensor:
    """(H W, 2) float32 columns and rows of the pixels, row by row."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([x, y], -1).view(-1, 2).to(device, torch.float32)


def appearance_features(image: Tensor, settings: Settings) -> Tensor:
    """(H, W, C) float32 -> (H W, 2 + C) features whose unit is the kernel's standard deviation."""
    height, width, channels = image.shape
    place = positions(height, width, image.device) / settings.appearance_sxy
    return torch.cat([place, image.reshape(-1, channels) / settings.srgb], 1)


class Appearance:
    """exp(-|p_i - p_j|^2 / 2 sxy^2 - |I_i - I_j|^2 / 2 srgb^2) over all pixels, on a permutohedral lattice."""

    def __init__(self, image: Tensor, settings: Settings) -> None:
        """`image`: (H, W, C) float32."""
        self.lattice = Lattice(appearance_features(image, settings))
        ones = torch.ones(self.lattice.points, 1, device=image.device)
        mass = self.lattice.filter(ones)
        self.turns = self.lattice.points <= TURNS
        if self.turns:
            mass = 0.5 * (mass + self.lattice.filter(ones, backward=True))
        self.lattice.scale((mass[:, 0] + 1e-20).rsqrt())

    def vertices(self, q: Tensor, iteration: int) -> Tensor:
        """Values of the lattice in one update; in small images the two orders of blurring take turns."""
        return self.lattice.splat_blur(q, backward=self.turns and iteration % 2 == 1)


class Axis:
    """A normalised Gaussian along one axis: its banded matrix, in the blocks that are asked for."""

    def __init__(self, length: int, sigma: float, device: torch.device) -> None:
        self.length, self.sigma, self.device = length, sigma, device
        self.reach = min(length - 1, max(1, math.ceil(REACH * sigma)))
        self.place = torch.arange(length, dtype=torch.float64)
        # sum over the pixels that exist, by running sums of the one-sided kernel
        tail = torch.exp(-0.5 * (self.place / sigma) ** 2)
        tail[self.reach + 1 :] = 0
        total = tail.cumsum(0)
        self.factor = (total + total.flip(0) - 1.0).rsqrt()
        self._blocks: dict[tuple[int, int], tuple[int, int, Tensor]] = {}

    def block(self, first: int, last: int) -> tuple[int, int, Tensor]:
        """(low, high, (last - first, high - low) kernel): outputs first .. last - 1 need inputs low .. high - 1."""
        if (first, last) not in self._blocks:
            low, high = max(0, first - self.reach), min(self.length, last + self.reach)
            apart = (self.place[first:last, None] - self.place[None, low:high]).abs()
            kernel = torch.where(apart <= self.reach, torch.exp(-0.5 * (apart / self.sigma) ** 2), 0.0)
            kernel *= self.factor[first:last, None] * self.factor[None, low:high]
            self._blocks[first, last] = low, high, kernel.float().to(self.device)
        return self._blocks[first, last]


class Smoothness:
    """exp(-|p_i - p_j|^2 / 2 sxy^2) over all pairs of pixels: separable, exact but for its cut tail.

    Kernel, sum over the pixels that exist, and so the normalisation are each a product of one factor per axis.
    """

    def __init__(self, height: int, width: int, sigma: float, device: torch.device) -> None:
        self.size = height, width
        self.rows, self.columns = Axis(height, sigma, device), Axis(width, sigma, device)
        step = max(32, self.columns.reach)
        self.parts = [(first, min(first + step, width)) for first in range(0, width, step)]

    def add(self, q: Tensor, first: int, last: int, weight: float, out: Tensor) -> None:
        """Add `weight` times the filtered values of image rows first .. last - 1 to `out`; q: (H W, K) contiguous."""
        height, width = self.size
        low, high, kernel = self.rows.block(first, last)
        strip = torch.mm(kernel, q.view(height, -1)[low:high]).view(last - first, width, -1)
        out = out.view(strip.shape)
        for start, end in self.parts:
            low, high, kernel = self.columns.block(start, end)
            out[:, start:end].add_(torch.bmm(kernel.expand(len(strip), -1, -1), strip[:, low:high]), alpha=weight)


class Messages(Protocol):
    """What mean field asks of the kernels: w1 K1 Q + w2 K2 Q, for a run of pixels at a time."""

    def begin(self, q: Tensor, iteration: int) -> list[tuple[int, int]]:
        """Take the (N, K) distribution of an update; the runs of pixels (first, last) to ask for."""

    def add(self, first: int, last: int, out: Tensor) -> None:
        """Add the messages to pixels first .. last - 1 to `out` (last - first, K)."""


class Fast:
    """Both kernels by their fast filters; one whose weight is 0 is left out."""

    def __init__(self, image: Tensor, settings: Settings) -> None:
        """`image`: (H, W, C) float32."""
        self.size, self.settings = (image.shape[0], image.shape[1]), settings
        self.appearance = Appearance(image, settings) if settings.appearance else None
        self.smoothness = Smoothness(*self.size, settings.smoothness_sxy, image.device) if settings.smoothness else None

    def begin(self, q: Tensor, iteration: int) -> list[tuple[int, int]]:
        """See `Messages`; runs are strips of the image that fit a core's cache (the whole image on a GPU)."""
        self._q = q
        self._vertices = self.appearance.vertices(q, iteration) if self.appearance else None
        height, width = self.size
        rows = height
        if q.device.type == "cpu":
            rows = min(64, max(16, (1 << 19) // (width * q.shape[1]))) * torch.get_num_threads()
        return [(first * width, min(first + rows, height) * width) for first in range(0, height, rows)]

    def add(self, first: int, last: int, out: Tensor) -> None:
        """See `Messages`."""
        width = self.size[1]
        if self.appearance is not None and self._vertices is not None:
            out.add_(self.appearance.lattice.slice(self._vertices, first, last), alpha=self.settings.appearance)
        if self.smoothness is not None:
            self.smoothness.add(self._q, first // width, last // width, self.settings.smoothness, out)


class Exact:
    """Both kernels over all pairs of pixels, O(N^2): a reference, and an alternative for small images."""

    def __init__(self, image: Tensor, settings: Settings) -> None:
        """`image`: (H, W, C) float32."""
        height, width = image.shape[:2]
        self.kernels: list[tuple[float, Tensor, Tensor]] = []
        if settings.appearance:
            self._add(settings.appearance, appearance_features(image, settings))
        if settings.smoothness:
            place = positions(height, width, image.device) / settings.smoothness_sxy
            self._add(settings.smoothness, place)
        self.points = height * width
        self.rows = min(self.points, max(1, CACHED // self.points))
        self._kept = self._block(0, self.points) if self.rows == self.points else None

    def _add(self, weight: float, features: Tensor) -> None:
        n = len(features)
        rows = max(1, CACHED // n)
        mass = torch.cat([gaussian(features[i : i + rows], features).sum(1) for i in range(0, n, rows)])
        self.kernels.append((weight, features, mass.rsqrt()))

    def _block(self, first: int, last: int) -> Tensor:
        """Rows first .. last - 1 of w1 K1 + w2 K2."""
        block = torch.zeros(last - first, self.points, device=self.kernels[0][1].device)
        for weight, features, factor in self.kernels:
            kernel = gaussian(features[first:last], features)
            block += kernel.mul_(factor[None]).mul_(weight * factor[first:last, None])
        return block

    def begin(self, q: Tensor, iteration: int) -> list[tuple[int, int]]:
        """See `Messages`."""
        self._q = q
        return [(first, min(first + self.rows, self.points)) for first in range(0, self.points, self.rows)]

    def add(self, first: int, last: int, out: Tensor) -> None:
        """See `Messages`."""
        out.add_((self._block(first, last) if self._kept is None else self._kept) @ self._q)


def gaussian(a: Tensor, b: Tensor) -> Tensor:
    """(n, d), (m, d) -> (n, m) float32 exp(-|a_i - b_j|^2 / 2); squares in float64, where they do not cancel."""
    a, b = a.double(), b.double()
    right = -0.5 * b.square().sum(1)
    out = torch.empty(len(a), len(b), device=a.device)
    step = max(1, (1 << 17) // len(b))
    for first in range(0, len(a), step):
        part = a[first : first + step]
        exponent = (part @ b.T).add_(right).sub_(0.5 * part.square().sum(1, keepdim=True))
        out[first : first + step] = exponent.clamp_(max=0)
    return out.exp_()
