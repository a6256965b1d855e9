"""A look at every photo in the background: how sure the model is, how much it contradicts itself, and good crops.

confidence     mean over the pixels of the largest probability: 1 where the model has no doubt
disagreement   1 - sum min(p, p') / sum max(p, p'), p' from the mirrored photo and mirrored back: 0 where both agree

Neither needs labels. The scan yields to whoever is using the page and goes on where it stopped in another session.
"""

from __future__ import annotations

import contextlib
import hashlib
import heapq
import os
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from decoupe.data.paths import inside
from decoupe.engine.files import dump_json, parse_json, write_atomic
from decoupe.errors import Fault
from decoupe.review.studio import Studio
from decoupe.types import Probabilities

BATCH = 16
CROPS = 18
"""Crops kept per region of the method."""
SMALLEST = 0.004
"""Share of a photo below which a region gives no crop."""
SAVE_EVERY_S = 10.0
POLITE_S = 0.4
"""Seconds without a request before the scan goes on."""
UNREAD = -1.0
"""Confidence of a photo that cannot be read."""


def measures(probs: NDArray[np.float32], mirrored: NDArray[np.float32]) -> tuple[NDArray[Any], NDArray[Any]]:
    """(B, K, S, S), and the same of mirrored photos mirrored back -> confidence (B,), disagreement (B,)."""
    axes = (1, 2, 3)
    both = np.minimum(probs, mirrored).sum(axes) / np.maximum(probs, mirrored).sum(axes).clip(1e-9)
    return probs.max(1).mean((1, 2)), 1 - both


def best_box(probs: Probabilities, labels: NDArray[Any], region: int) -> tuple[float, list[float]] | None:
    """(mean probability, box in shares of the sides y0, x0, y1, x1) of a region's largest part; None if too small."""
    parts, count = ndimage.label(labels == region, np.ones((3, 3), int))
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    sizes[0] = 0
    largest = int(sizes.argmax())
    if sizes[largest] < SMALLEST * labels.size:
        return None
    rows, columns = ndimage.find_objects(parts, largest)[largest - 1]
    height, width = labels.shape
    box = [rows.start / height, columns.start / width, rows.stop / height, columns.stop / width]
    return float(probs[region][parts == largest].mean()), [round(float(v), 4) for v in box]


class Scan:
    """What is known of all photos so far, and the thread that finds out more."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        count, regions = len(studio.album), len(studio.model.names)
        self.confidence = np.full(count, np.nan, np.float32)
        self.disagreement = np.full(count, np.nan, np.float32)
        self.shares = np.zeros((count, regions), np.float32)
        self.crops: list[list[tuple[float, int, list[float]]]] = [[] for _ in range(regions)]
        self.asked = 0.0
        """When somebody last wanted something (time.monotonic)."""
        self._path = inside(studio.cache, "scan.json")
        self.mark = self._fingerprint()
        self._stop, self._lock = threading.Event(), threading.Lock()
        self._thread = threading.Thread(target=self._run, name="scan", daemon=True)
        self._load()

    @property
    def done(self) -> int:
        """Photos looked at."""
        return int(np.isfinite(self.confidence).sum())

    def start(self) -> None:
        """Begin, or go on, in the background."""
        self._thread.start()

    def stop(self) -> None:
        """End and save what is known."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(10)

    def best(self, members: Sequence[int]) -> list[tuple[float, int, list[float]]]:
        """(mean probability, photo, box) of the most confident crops of some regions together, best first."""
        with self._lock:
            rows = [row for region in members for row in self.crops[region]]
        first: dict[int, tuple[float, int, list[float]]] = {}
        for row in sorted(rows, key=lambda row: -row[0]):
            first.setdefault(row[1], row)
        return list(first.values())[:CROPS]

    def _fingerprint(self) -> str:
        studio = self._studio
        names = "\n".join(f"{photo.key}|{photo.file}" for photo in studio.album.photos)
        weights = (studio.model.run.info.get("files") or {}).get("weights.safetensors")
        return hashlib.sha256(f"{weights}|{names}".encode(errors="replace")).hexdigest()

    def _run(self) -> None:
        with contextlib.suppress(OSError, AttributeError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)  # of this thread alone, on Linux
        saved = time.monotonic()
        waiting = np.flatnonzero(~np.isfinite(self.confidence))
        for start in range(0, len(waiting), BATCH):
            while not self._stop.is_set() and time.monotonic() - self.asked < POLITE_S:
                self._stop.wait(0.05)
            if self._stop.is_set():
                break
            try:
                self.look(waiting[start : start + BATCH])
            except Fault:  # the cache cannot be written, say: what is known stays
                break
            if time.monotonic() - saved > SAVE_EVERY_S:
                self._save()
                saved = time.monotonic()
        self._save()

    def look(self, numbers: Iterable[Any]) -> None:
        """Look at some photos now."""
        squares, kept = [], []
        for number in numbers:
            try:
                squares.append(self._studio.square(self._studio.album[int(number)]))
                kept.append(int(number))
            except Fault:
                self.confidence[number], self.disagreement[number] = UNREAD, UNREAD
        if not kept:
            return
        batch = np.stack(squares)
        probs = self._studio.predict(batch)
        mirrored = self._studio.predict(np.ascontiguousarray(batch[..., ::-1]))[..., ::-1]
        confidence, disagreement = measures(probs, mirrored)
        for number, one, sure, off in zip(kept, probs, confidence, disagreement, strict=True):
            self._remember(number, one)
            self.disagreement[number], self.confidence[number] = off, sure

    def _remember(self, number: int, probs: Probabilities) -> None:
        labels = probs.argmax(0)
        self.shares[number] = np.bincount(labels.ravel(), minlength=len(probs)) / labels.size
        for region in range(len(probs)):
            heap = self.crops[region]
            inside_it = labels == region
            if not inside_it.any():
                continue
            if len(heap) >= CROPS and float(probs[region][inside_it].mean()) < heap[0][0] - 0.05:
                continue
            found = best_box(probs, labels, region)
            if found is None:
                continue
            with self._lock:
                push = heapq.heappush if len(heap) < CROPS else heapq.heappushpop
                push(heap, (found[0], number, found[1]))

    def _save(self) -> None:
        content = {
            "mark": self.mark,
            "confidence": _numbers(self.confidence),
            "disagreement": _numbers(self.disagreement),
            "shares": [_numbers(row) for row in self.shares],
            "crops": self.crops,
        }
        with contextlib.suppress(Fault):
            write_atomic(self._path, dump_json(content, None))

    def _load(self) -> None:
        """Take up what another session found, if it is of the same photos and weights."""
        with contextlib.suppress(OSError, Fault, KeyError, TypeError, ValueError):
            content = parse_json(self._path.read_bytes(), "scan.json")
            if content["mark"] != self.mark:
                return
            sure, off = (_array(content[name], self.confidence.shape) for name in ("confidence", "disagreement"))
            shares = _array(content["shares"], self.shares.shape)
            crops = [[(float(s), int(n), [float(v) for v in box]) for s, n, box in rows] for rows in content["crops"]]
            if len(crops) == len(self.crops) and all(
                0 <= n < len(sure) and len(b) == 4 for rows in crops for _, n, b in rows
            ):
                self.confidence, self.disagreement, self.shares, self.crops = sure, off, shares, crops
                for heap in self.crops:
                    heapq.heapify(heap)


def _numbers(values: NDArray[np.float32]) -> list[float | None]:
    return [round(float(v), 4) if np.isfinite(v) else None for v in values]


def _array(rows: Any, shape: tuple[int, ...]) -> NDArray[np.float32]:
    found = np.array(rows, np.float32)
    if found.shape != shape:
        raise ValueError("another number of photos")
    return found
