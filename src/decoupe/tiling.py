"""Images of any size by overlapping tiles: each is segmented as a photo of its own, and their masks are blended.

A tile is a square of `tile` pixels of the photo that is resized to the S x S the network was trained on, so `tile`
sets the scale: choose the side of the photos the run was trained on, in pixels of the large image. Where tiles overlap
their probabilities are averaged with the weights of a Hann window, so that nothing jumps at a tile's edge:

    p(x) = sum_t w(x - x_t) p_t(x) / sum_t w(x - x_t),   w(x) = sin^2(pi (x + 1/2) / tile), along both axes alike

Memory holds a band of rows of the photo and the networks' outputs of two rows of tiles, whatever the image's height.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from decoupe.data.windows import Windows, open_windows
from decoupe.errors import Fault, UsageFault
from decoupe.export import FORMATS, Record, Writer
from decoupe.export.base import AnyLabels
from decoupe.export.jobs import Job
from decoupe.export.ledger import Ledger
from decoupe.export.upsample import taps
from decoupe.types import Image, Probabilities, Regions

if TYPE_CHECKING:
    from decoupe.crf import Settings
    from decoupe.model import Model

CELL = 32
"""Tiles start at multiples of so many pixels of the network: layers that halve five times see the same grid in all."""
BATCH = 32
"""Tiles per call of the network."""
STRIP = 1 << 24
"""Bytes of probabilities that are blended at a time."""
Predict = Callable[[list[Image]], NDArray[np.float32]]
"""Tiles (tile, tile, C) uint8 -> (n, K, p, p) float32: their regions at any resolution p."""
Row = tuple[int, NDArray[np.float32]]
"""First pixel of a row of tiles, and the regions of its tiles (n, K, p, p)."""


@dataclass(frozen=True)
class Tiles:
    """How an image is cut."""

    tile: int
    """Side in pixels of the photo."""
    overlap: int
    """Least overlap of neighbours in pixels."""

    @classmethod
    def choose(cls, tile: int, overlap: int | None = None) -> Tiles:
        """`overlap` None = a quarter of the tile. UsageFault on sizes that do not go together."""
        if tile < 32:
            raise UsageFault("--tile of 32 pixels or more", str(tile), "choose the side of the photos of the run")
        chosen = tile // 4 if overlap is None else overlap
        if not 0 <= chosen <= tile // 2:
            raise UsageFault(f"--overlap from 0 to half of --tile ({tile // 2})", str(chosen), "choose a quarter of it")
        return cls(tile, chosen)

    def starts(self, length: int, size: int) -> list[int]:
        """First pixel of each tile along a side of `length`, for a network of S = `size`: multiples of its cells.

        The last tile may reach over the end by less than a cell, one that is longer than the side by more.
        """
        cell = max(1, round(CELL * self.tile / size))
        stride = self.tile - self.overlap
        stride = stride // cell * cell or stride
        last = -(-max(0, length - self.tile) // cell) * cell
        return [*range(0, last, stride), last]


def window(tile: int) -> NDArray[np.float32]:
    """w(x) of the top of this file, (tile,), above 0."""
    return np.asarray(np.sin(np.pi * (np.arange(tile) + 0.5) / tile) ** 2, np.float32)


def blended(image: Windows, tiles: Tiles, size: int, predict: Predict) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Strips of an image's regions from the top: (first row, (K, rows, W) float32 summing to 1 over K)."""
    height, width, _ = image.shape
    downs, across = tiles.starts(height, size), tiles.starts(width, size)
    ready: list[Row] = []
    done = 0
    for index, top in enumerate(downs):
        ready.append((top, _row(image, top, across, tiles.tile, predict)))
        end = downs[index + 1] if index + 1 < len(downs) else height
        rows = max(1, STRIP // (4 * width * ready[0][1].shape[1]))
        for first in range(done, end, rows):
            yield first, _mix(ready, across, tiles.tile, first, min(first + rows, end), width)
        done = end
        ready = [(start, found) for start, found in ready if start + tiles.tile > done]


def _row(image: Windows, top: int, across: Sequence[int], tile: int, predict: Predict) -> NDArray[np.float32]:
    """(n, K, p, p): the regions of one row of tiles; what lies beyond the image is its mirror image."""
    height, width, _ = image.shape
    band = image[top : min(top + tile, height)]
    below, beyond = tile - len(band), max(across) + tile - width
    if below > 0 or beyond > 0:
        band = np.pad(band, ((0, max(0, below)), (0, max(0, beyond)), (0, 0)), mode="symmetric")
    found = [
        predict([band[:, left : left + tile] for left in across[first : first + BATCH]])
        for first in range(0, len(across), BATCH)
    ]
    return np.concatenate(found)


def _mix(
    ready: Sequence[Row], across: Sequence[int], tile: int, first: int, last: int, width: int
) -> NDArray[np.float32]:
    """Rows [first, last) of the weighted mean of all tiles that reach them: (K, rows, W)."""
    regions, weights = ready[0][1].shape[1], window(tile)
    total = np.zeros((regions, last - first, width), np.float32)
    sideways = np.zeros(width, np.float32)
    for left in across:
        sideways[left : left + tile] += weights[: width - left]
    downwards = np.zeros(last - first, np.float32)
    for top, found in ready:
        rows = np.arange(max(first, top), min(last, top + tile))
        if not len(rows):
            continue
        down = weights[rows - top]
        downwards[rows - first] += down
        for left, one in zip(across, found, strict=True):
            part = _enlarged(one, rows - top, tile)[..., : width - left]
            part *= down[:, None]
            part *= weights[: part.shape[2]]
            total[:, rows[0] - first : rows[-1] + 1 - first, left : left + part.shape[2]] += part
    total /= downwards[:, None] * sideways
    return total


def _enlarged(found: NDArray[np.float32], rows: NDArray[np.int64], tile: int) -> NDArray[np.float32]:
    """(K, p, p) -> (K, len(rows), tile): those rows of it, resized bilinearly to tile x tile."""
    if found.shape[1] == tile:
        return found[:, rows]
    above, below, weight = (values[rows] for values in taps(found.shape[1], tile))
    tall = found[:, above] * (1 - weight[:, None]) + found[:, below] * weight[:, None]
    left, right, share = taps(found.shape[2], tile)
    return np.asarray(tall[..., left] * (1 - share) + tall[..., right] * share, np.float32)


@dataclass
class Tiler:
    """Does jobs one image at a time, tile by tile; the counterpart of `segment.Pipeline` for large images."""

    model: Model
    writers: dict[str, Writer]
    ledger: Ledger
    max_pixels: int
    progress: Callable[[int], None]
    tiles: Tiles
    crf: Settings | None = None
    """Dense CRF over each tile, before they are blended; None: none."""
    problems: list[dict[str, str]] = field(default_factory=list)

    def run(self, jobs: Sequence[Job]) -> None:
        """Do all jobs. Fault if the disk refuses; images that cannot be read are gathered in `problems`."""
        for job in jobs:
            try:
                image = open_windows(job.item.path, max_pixels=self.max_pixels, frame=job.item.frame)
                with self._segmented(image, job) as regions:
                    self._write(job, image, regions)
            except Fault as fault:
                if not hasattr(fault, "reason"):
                    raise
                self.problems.append({"path": str(job.item.path), "reason": fault.reason})
            self.progress(1)

    @contextlib.contextmanager
    def _segmented(self, image: Windows, job: Job) -> Iterator[Stored]:
        """The regions of an image, in files of their own that are gone afterwards."""
        folder = self.ledger.folder
        exact = any(FORMATS[name].PROBS for name in job.formats)
        stored = Stored(folder, image.shape[:2], self.model.names, exact)
        try:
            for top, probs in blended(image, self.tiles, self.model.spec.size, self._predict):
                stored.put(top, probs)
            yield stored.finished()
        finally:
            stored.remove()

    def _predict(self, tiles: list[Image]) -> NDArray[np.float32]:
        squares = np.stack([self.model.square(tile) for tile in tiles])
        found = self.model.predict(squares)
        if self.crf is None:
            return found
        from decoupe.crf import sharpen
        from decoupe.data.decode import resize_probs

        side, device = self.tiles.tile, str(getattr(self.model, "device", "cpu"))
        wide = [Regions(resize_probs(one, side, side), self.model.names) for one in found]
        return np.stack([sharpen(one, tile, self.crf, device).probs for one, tile in zip(wide, tiles, strict=True)])

    def _write(self, job: Job, image: Windows, regions: Stored) -> None:
        whole: Any = None
        done = {}
        for name in job.formats:
            writer = FORMATS[name]
            if writer.IMAGE and not writer.BANDS and whole is None:
                whole = image.whole()
            photo: Any = image if writer.BANDS else whole
            done[name] = self.writers[name].write(job.item.key, photo, regions)
        size = (image.shape[0], image.shape[1])
        self.ledger.add(Record(job.item.key, job.name, size, None), job.source, done)


class Stored:
    """Regions of one large image, written strip by strip to files and read from there (`export.base.Segmented`)."""

    def __init__(self, folder: Path, size: tuple[int, int], names: tuple[str, ...], exact: bool) -> None:
        """folder: where the files go; exact: keep the probabilities too."""
        stem = f"{os.getpid()}-{threading.get_ident()}"
        self._size, self.names = size, names
        self._kind: Any = np.uint8 if len(names) <= 256 else np.uint16
        self._paths = (folder / f"{stem}-labels.tmp", folder / f"{stem}-probs.tmp")
        self._probs_file = self._paths[1].open("wb") if exact else None
        self._labels_file = self._paths[0].open("wb")

    def put(self, top: int, probs: NDArray[np.float32]) -> None:
        """Keep the strip (K, rows, W) that begins at row `top`. Fault if the disk refuses."""
        try:
            self._labels_file.write(probs.argmax(0).astype(self._kind).data)
            if self._probs_file is not None:
                height, width = self._size
                for region, plane in enumerate(probs):
                    self._probs_file.seek(4 * width * (region * height + top))
                    self._probs_file.write(np.ascontiguousarray(plane).data)
        except OSError as error:
            raise Fault(f"room in {self._paths[0].parent}", error.strerror or str(error), "free space") from error

    def finished(self) -> Stored:
        """Everything is there to be read."""
        self._close()
        self._labels = np.memmap(self._paths[0], self._kind, "r", shape=self._size)
        if self._probs_file is not None:
            self._probs = np.memmap(self._paths[1], np.float32, "r", shape=(len(self.names), *self._size))
        return self

    @property
    def labels(self) -> AnyLabels:
        """(H, W) region index, mapped from its file."""
        return self._labels

    @property
    def probs(self) -> Probabilities:
        """(K, H, W) float32, mapped from its file."""
        return self._probs

    def _close(self) -> None:
        for file in (self._labels_file, self._probs_file):
            if file is not None:
                file.close()

    def remove(self) -> None:
        """Delete the files."""
        self._close()
        for path in self._paths:
            path.unlink(missing_ok=True)
