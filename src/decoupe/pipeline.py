"""Workers that decode, segment and write: what `segment` keeps every core busy with."""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from decoupe.data.decode import decode, read_image
from decoupe.errors import Fault
from decoupe.export import FORMATS, Record, Writer
from decoupe.export.jobs import Job
from decoupe.export.ledger import Ledger
from decoupe.export.upsample import Upsampled
from decoupe.types import Image, Regions

if TYPE_CHECKING:
    from decoupe.crf import Settings
    from decoupe.given import Given
    from decoupe.model import Model

BATCH = 32
"""Images per call of the network; the last call is filled up, so that a result never depends on its neighbours."""
HELD = 512 * 1024 * 1024
"""Bytes of decoded photos that all workers together keep until they are written (formats that look at the photo)."""

REDUCED = 2
"""A JPEG may be decoded at 1/2, 1/4 or 1/8 of its size for the network while its sides stay this many times S.

Measured on 640x480 photos at 64 px: 0.04 % of the pixels change their label, all at borders, and decoding halves.
"""


@dataclass(frozen=True)
class Decoded:
    """One image ready for the network."""

    job: Job
    square: NDArray[np.uint8]
    """(C, S, S)."""
    size: tuple[int, int]
    """(H, W) of the photo."""
    image: Image | None
    """The photo, only if a missing format looks at it."""


@dataclass
class Pipeline:
    """Workers that each take a few images from the list and carry them through: decode, network, write.

    Decoding, the network and the encoders all leave Python's lock, so one worker per core with single-threaded
    kernels keeps every core busy without anyone waiting for another: faster than one network thread fed by others,
    and far faster where other programs run beside. A GPU is used by one worker at a time.
    """

    model: Model
    writers: dict[str, Writer]
    ledger: Ledger
    max_pixels: int
    progress: Callable[[int], None]
    workers: int = field(default_factory=lambda: max(1, min(16, len(os.sched_getaffinity(0)))))
    batch: int = BATCH
    crf: Settings | None = None
    """Dense CRF over the photo, after upsampling; None: none."""
    given: Given | None = None
    """Tags of the photos, observed beside them."""

    def __post_init__(self) -> None:
        self.problems: list[dict[str, str]] = []
        self._stop = False
        self._hint = REDUCED * self.model.spec.size
        self._lock = threading.Lock()
        self._device = str(getattr(self.model, "device", "cpu"))
        self._turn: Any = contextlib.nullcontext() if self._device == "cpu" else threading.Lock()

    def run(self, jobs: Sequence[Job]) -> None:
        """Do all jobs. Fault if the disk refuses; images that cannot be read are gathered in `problems`."""
        waiting = iter(jobs)
        count = min(self.workers, max(1, -(-len(jobs) // self.batch)))
        with single_threaded(count), ThreadPoolExecutor(count) as pool:
            futures = [pool.submit(self._work, waiting) for _ in range(count)]
            try:
                for future in as_completed(futures):
                    future.result()
            finally:
                self._stop = True

    def _work(self, waiting: Iterator[Job]) -> None:
        while not self._stop:
            with self._lock:
                jobs = list(itertools.islice(waiting, self.batch))
            if not jobs:
                return
            group: list[Decoded] = []
            held = 0
            for job in jobs:
                if self._stop:
                    return
                decoded = self._read(job)
                if decoded is None:
                    continue
                group.append(decoded)
                held += decoded.image.nbytes if decoded.image is not None else 0
                if held >= HELD // self.workers:
                    self._finish(group)
                    group, held = [], 0
            self._finish(group)

    def _read(self, job: Job) -> Decoded | None:
        """The image for the network, whatever the formats: JPEGs from a reduced decoding if far above its size."""
        keep = self.crf is not None or any(FORMATS[name].IMAGE for name in job.formats)
        try:
            looked = decode(job.item.path, max_pixels=self.max_pixels, frame=job.item.frame, hint=self._hint)
            square = self.model.square(looked.pixels)
            image = looked.pixels if keep else None
            if image is not None and image.shape[:2] != looked.full:
                image = read_image(job.item.path, max_pixels=self.max_pixels, frame=job.item.frame)
        except Fault as fault:
            with self._lock:
                self.problems.append({"path": str(job.item.path), "reason": getattr(fault, "reason", fault.got)})
                self.progress(1)
            return None
        return Decoded(job, square, looked.full, image)

    def _finish(self, group: list[Decoded]) -> None:
        if not group:
            return
        squares = np.empty((self.batch, *group[0].square.shape), np.uint8)
        for row in range(self.batch):
            squares[row] = group[min(row, len(group) - 1)].square
        with self._turn:
            keys = [one.job.item.key for one in group]
            given = () if self.given is None else (self.given.of(keys, self.batch),)
            probs = self.model.predict(squares, *given)
            layers = self._layers(squares, group)
        for index, (decoded, square) in enumerate(zip(group, probs, strict=False)):
            if self._stop:
                return
            self._write(decoded, square, None if layers is None else layers[index])

    def _layers(self, squares: NDArray[np.uint8], group: Sequence[Decoded]) -> NDArray[np.float32] | None:
        if not any(FORMATS[name].LAYERS for one in group for name in one.job.formats):
            return None
        from decoupe.layers import rgba

        return rgba(self.model, squares)

    def _write(self, decoded: Decoded, square: NDArray[np.float32], layers: NDArray[np.float32] | None = None) -> None:
        exact = self.crf is not None or any(FORMATS[name].PROBS for name in decoded.job.formats)
        regions: Upsampled | Regions = Upsampled(square, decoded.size, self.model.names, exact, layers)
        if self.crf is not None and decoded.image is not None:
            from decoupe.crf import sharpen

            with self._turn:
                found = sharpen(Regions(regions.probs, regions.names), decoded.image, self.crf, self._device)
            regions = replace(found, layers=regions.layers)
        self._deliver(decoded, regions)

    def _deliver(self, decoded: Decoded, regions: Upsampled | Regions) -> None:
        job = decoded.job
        done = {name: self.writers[name].write(job.item.key, decoded.image, regions) for name in job.formats}
        with self._lock:
            self.ledger.add(Record(job.item.key, job.name, decoded.size, None), job.source, done)
            self.progress(1)


@contextlib.contextmanager
def single_threaded(workers: int) -> Iterator[None]:
    """One kernel thread per worker while there are several workers; as it was afterwards."""
    import torch

    before = torch.get_num_threads()
    if workers > 1:
        torch.set_num_threads(max(1, before // workers))
    try:
        yield
    finally:
        torch.set_num_threads(before)
