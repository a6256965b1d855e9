"""Measures of regions, gathered band of rows by band of rows: exact, in memory that does not grow with the height."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from decoupe.export.base import AnyLabels

NEIGHBOURS = np.ones((3, 3), int)
"""8-connectivity."""
BAND = 1 << 22
"""Pixels of one band."""
COUNTED = 1 << 18
"""Pixels at which things are counted: larger masks are reduced to that, by the majority of each block."""
SMALLEST = 1 / 8
"""Reduction per side beyond which things are not counted: small ones would be lost."""


class Measures:
    """Sums over the bands of one image, of each region; feed the bands from the top with `add`."""

    def __init__(self, regions: int, width: int) -> None:
        self._count = regions
        self._top = 0
        self._pixels = np.zeros(regions, np.int64)
        self._x = np.zeros(regions, np.int64)
        self._y = np.zeros(regions, np.int64)
        self._low = np.full((regions, 2), np.iinfo(np.int64).max, np.int64)
        self._high = np.zeros((regions, 2), np.int64)
        self._components = np.zeros(regions, np.int64)
        self._edge = np.zeros(width, np.int64)  # component of each pixel of the last row so far; 0 before the first
        self._edge_labels: AnyLabels = np.zeros(width, np.int64)
        self._next = 1
        self._sums: NDArray[np.int64] | None = None
        self._squares: NDArray[np.int64] | None = None

    def add(self, labels: AnyLabels, image: NDArray[np.uint8] | None) -> None:
        """The next rows: (h, W) labels in [0, regions), and (h, W, C) uint8 of the same rows."""
        first = np.zeros(labels.shape[1], np.int64)
        last = np.zeros(labels.shape[1], np.int64)
        if image is not None and self._sums is None:
            self._sums = np.zeros((self._count, image.shape[2]), np.int64)
            self._squares = np.zeros_like(self._sums)
        for region, box in enumerate(ndimage.find_objects(labels.astype(np.int32) + 1, max_label=self._count)):
            if box is not None:
                self._region(region, box, labels, image, first, last)
        self._edge = self._join(labels[0], first, last) if self._top else last
        self._edge_labels = np.array(labels[-1])
        self._top += len(labels)

    def _region(
        self,
        region: int,
        box: tuple[slice, ...],
        labels: AnyLabels,
        image: NDArray[np.uint8] | None,
        first: NDArray[np.int64],
        last: NDArray[np.int64],
    ) -> None:
        mask = labels[box] == region
        parts, count = ndimage.label(mask, NEIGHBOURS)
        self._components[region] += count
        (y0, y1), (x0, x1) = (box[0].start, box[0].stop), (box[1].start, box[1].stop)
        if y0 == 0:
            first[x0:x1][mask[0]] = parts[0][mask[0]].astype(np.int64) + self._next - 1
        if y1 == len(labels):
            last[x0:x1][mask[-1]] = parts[-1][mask[-1]].astype(np.int64) + self._next - 1
        self._next += count
        self._pixels[region] += mask.sum()
        self._x[region] += int(mask.sum(0) @ np.arange(x0, x1))
        self._y[region] += int(mask.sum(1) @ np.arange(self._top + y0, self._top + y1))
        self._low[region] = np.minimum(self._low[region], (self._top + y0, x0))
        self._high[region] = np.maximum(self._high[region], (self._top + y1, x1))
        if image is not None and self._sums is not None and self._squares is not None:
            values = image[box][mask].astype(np.int64)
            self._sums[region] += values.sum(0)
            self._squares[region] += np.square(values).sum(0)

    def _join(self, row: AnyLabels, first: NDArray[np.int64], last: NDArray[np.int64]) -> NDArray[np.int64]:
        """Count components that go on below the seam once; returns `last` with one number for each of them."""
        parent: dict[int, int] = {}

        def find(part: int) -> int:
            while parent.setdefault(part, part) != part:
                parent[part] = part = parent[parent[part]]
            return part

        width = len(row)
        for step in (-1, 0, 1):
            here = slice(max(0, -step), width - max(0, step))
            there = slice(max(0, step), width - max(0, -step))
            same = row[here] == self._edge_labels[there]
            triples = np.stack([first[here][same], self._edge[there][same], row[here][same].astype(np.int64)], 1)
            for low, high, region in np.unique(triples, axis=0).tolist():
                a, b = find(low), find(high)
                if a != b:
                    parent[b] = a
                    self._components[region] -= 1
        parts, where = np.unique(last, return_inverse=True)
        roots = [find(part) if part in parent else part for part in parts.tolist()]
        return np.asarray(roots, np.int64)[where]

    def rows(self) -> list[list[Any]]:
        """Per region what `csv.measure` returns."""
        out: list[list[Any]] = []
        for region, pixels in enumerate(self._pixels.tolist()):
            if not pixels:
                out.append([0, 0])
                continue
            (y0, x0), (y1, x1) = self._low[region].tolist(), self._high[region].tolist()
            x, y = float(self._x[region]) / pixels, float(self._y[region]) / pixels
            row: list[Any] = [pixels, int(self._components[region]), round(x, 2), round(y, 2), x0, y0, x1, y1]
            if self._sums is not None and self._squares is not None:
                mean = self._sums[region] / pixels
                variance = np.maximum(self._squares[region] / pixels - mean**2, 0)
                row += [[round(float(v), 3) for v in mean], [round(float(v), 3) for v in np.sqrt(variance)]]
            out.append(row)
        return out


def count_instances(labels: AnyLabels, region: int) -> int | None:
    """Things of a region of (H, W) labels, touching ones counted apart; None where the image is too large to tell.

    Images above `COUNTED` pixels are reduced first, by the majority of square blocks: the rule that splits things
    knows no unit, so this changes the count only where things are a few pixels wide.
    """
    from decoupe.instances import separate

    step = int(np.ceil((labels.size / COUNTED) ** 0.5))
    if step > 1 / SMALLEST:
        return None
    mask = np.asarray(labels == region)
    if step > 1:
        height, width = (side - side % step for side in mask.shape)
        blocks = mask[:height, :width].reshape(height // step, step, width // step, step)
        mask = blocks.mean((1, 3)) > 0.5
    return int(separate(mask).max(initial=0))
