"""Segment a folder: decode in threads, run the network on full batches, write in threads; resume where it stopped."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from decoupe.data.decode import MAX_PIXELS, read_image
from decoupe.data.paths import MARKER
from decoupe.data.sources import Item, find
from decoupe.errors import Fault, UsageFault
from decoupe.export import FORMATS, Place, Record, Writer, choose
from decoupe.export.ledger import Ledger, signature
from decoupe.export.palette import colours
from decoupe.export.upsample import Upsampled
from decoupe.types import Image

if TYPE_CHECKING:
    from decoupe.model import Model

BATCH = 32
"""Images per call of the network; the last call is filled up, so that a result never depends on its neighbours."""
HELD = 512 * 1024 * 1024
"""Bytes of decoded photos kept at a time between decoding and writing (only formats that look at the photo)."""


@dataclass(frozen=True)
class Job:
    """One image to do."""

    item: Item
    name: str
    source: str
    """Signature of the file as it is now."""
    formats: tuple[str, ...]
    """Formats still missing."""


@dataclass
class Decoded:
    """One image ready for the network, or why it is not."""

    job: Job
    square: NDArray[np.uint8] | None = None
    """(C, S, S)."""
    size: tuple[int, int] = (0, 0)
    image: Image | None = None
    """Kept only if a missing format looks at it."""
    reason: str = ""
    held: int = 0


class Budget:
    """Bytes in flight. No single image takes more than half, a batch is closed at a quarter: nobody waits for ever."""

    def __init__(self, limit: int) -> None:
        self.limit, self._used, self._free = limit, 0, threading.Condition()
        self.closed = False

    def take(self, amount: int) -> int:
        """Wait until `amount` fits; returns what was taken."""
        amount = min(amount, self.limit // 2)
        with self._free:
            self._free.wait_for(lambda: self.closed or self._used + amount <= self.limit)
            self._used += amount
        return amount

    def give(self, amount: int) -> None:
        """Return what `take` took."""
        with self._free:
            self._used -= amount
            self._free.notify_all()

    def close(self) -> None:
        """Let everyone pass: the work is being abandoned."""
        with self._free:
            self.closed = True
            self._free.notify_all()


@dataclass
class Pipeline:
    """The three stations and what runs between them."""

    model: Model
    writers: dict[str, Writer]
    ledger: Ledger
    max_pixels: int
    progress: Callable[[int], None]
    workers: int = field(default_factory=lambda: max(2, min(16, len(os.sched_getaffinity(0)))))
    batch: int = BATCH

    def __post_init__(self) -> None:
        self.budget = Budget(HELD)
        self.problems: list[dict[str, str]] = []
        self._ready: queue.SimpleQueue[Decoded | BaseException] = queue.SimpleQueue()
        self._writes: set[Future[None]] = set()
        self._lock = threading.Lock()

    def run(self, jobs: Sequence[Job]) -> None:
        """Do all jobs. Fault if the disk refuses; images that cannot be read are gathered in `problems`."""
        with ThreadPoolExecutor(self.workers) as decoders, ThreadPoolExecutor(self.workers) as writing:
            try:
                for group in self._groups(jobs, decoders):
                    self._segment(group, writing)
                for future in self._writes:
                    future.result()
            except BaseException:
                self.budget.close()
                decoders.shutdown(wait=False, cancel_futures=True)
                writing.shutdown(wait=False, cancel_futures=True)
                raise

    def _groups(self, jobs: Sequence[Job], decoders: ThreadPoolExecutor) -> Iterator[list[Decoded]]:
        """Readable images in batches, as they come out of the decoders."""
        waiting, ahead = iter(jobs), 2 * self.batch
        for job, _ in zip(waiting, range(ahead), strict=False):
            decoders.submit(self._decode, job)
        group: list[Decoded] = []
        for _ in range(len(jobs)):
            decoded = self._ready.get()
            if isinstance(decoded, BaseException):
                raise decoded
            if (following := next(waiting, None)) is not None:
                decoders.submit(self._decode, following)
            if decoded.square is None:
                self.problems.append({"path": str(decoded.job.item.path), "reason": decoded.reason})
                self.progress(1)
                continue
            group.append(decoded)
            if len(group) == self.batch or sum(d.held for d in group) >= HELD // 4:
                yield group
                group = []
        if group:
            yield group

    def _decode(self, job: Job) -> None:
        try:
            self._ready.put(self._read(job))
        except BaseException as error:
            self._ready.put(error)

    def _read(self, job: Job) -> Decoded:
        try:
            image = read_image(job.item.path, max_pixels=self.max_pixels, frame=job.item.frame)
            square = self.model.square(image)
        except Fault as fault:
            return Decoded(job, reason=fault.got)
        keep = any(FORMATS[name].IMAGE for name in job.formats)
        held = self.budget.take(image.nbytes) if keep else 0
        return Decoded(job, square, (image.shape[0], image.shape[1]), image if keep else None, held=held)

    def _segment(self, group: list[Decoded], writing: ThreadPoolExecutor) -> None:
        squares = np.stack([decoded.square for decoded in group if decoded.square is not None])
        missing = self.batch - len(squares)
        probs = self.model.predict(np.pad(squares, [(0, missing), (0, 0), (0, 0), (0, 0)], "edge"))
        while len(self._writes) > 2 * self.batch:
            finished, self._writes = wait(self._writes, return_when=FIRST_COMPLETED)
            for future in finished:
                future.result()
        for decoded, square in zip(group, probs, strict=False):
            self._writes.add(writing.submit(self._write, decoded, square))

    def _write(self, decoded: Decoded, square: NDArray[np.float32]) -> None:
        job = decoded.job
        exact = any(FORMATS[name].PROBS for name in job.formats)
        regions = Upsampled(square, decoded.size, self.model.names, exact)
        try:
            done = {name: self.writers[name].write(job.item.key, decoded.image, regions) for name in job.formats}
        finally:
            self.budget.give(decoded.held)
        with self._lock:
            self.ledger.add(Record(job.item.key, job.name, decoded.size, None), job.source, done)
            self.progress(1)


def _model(run: Any) -> Model:
    from decoupe.model import Model, load

    return run if isinstance(run, Model) else load(run)


def _check_out(out: Path, items: Sequence[Item]) -> None:
    """Fault if writing to `out` could touch or hide files that are not ours."""
    resolved = out.resolve()
    for folder in {item.path.parent for item in items}:
        parent = folder.resolve()
        if parent == resolved or resolved in parent.parents:
            raise Fault(
                "--out apart from the photos", f"{out}, which holds {folder}", "choose a new folder, such as masks/"
            )
    if out.exists() and not (out / MARKER).is_file():
        if not out.is_dir():
            raise Fault("--out to be a folder", f"the file {out}", "choose a new folder")
        if any(entry.is_file() and not entry.name.startswith(".") for entry in out.iterdir()):
            raise Fault(
                "--out to be new, empty or made by segment",
                f"{out} with files of another origin",
                "choose a new folder",
            )


def _names(source: Any, items: Sequence[Item]) -> list[str]:
    """Of each item, its file name as users know it: relative to their folder where it is in one, never absolute."""
    root = Path(source) if isinstance(source, str | Path) else None
    names = []
    for item in items:
        if root is not None and root.is_dir() and item.path.is_relative_to(root):
            name = item.path.relative_to(root).as_posix()
        else:
            name = item.key + item.path.suffix
        names.append(name + (f"#{item.frame}" if item.frame else ""))
    return names


def _jobs(
    place: Place, ledger: Ledger, items: Sequence[Item], names: Sequence[str], wanted: Sequence[str]
) -> list[Job]:
    """What is not complete yet: recorded, made from the same file, and on disk with the recorded size."""
    jobs = []
    for item, name in zip(items, names, strict=True):
        source = signature(item.path, item.frame)
        done = ledger.done(item.key, source)
        missing = []
        for kind in wanted:
            suffix, complete = FORMATS[kind].SUFFIX, kind in done
            if complete and suffix is not None:
                path = place.file(item.key, suffix)
                complete = path.is_file() and path.stat().st_size == done[kind]
            if not complete:
                missing.append(kind)
        if missing:
            jobs.append(Job(item, name, source, tuple(missing)))
    return jobs


def _stamp(model: Model) -> dict[str, Any]:
    files = model.run.info.get("files", {})
    return {
        "room": model.run.info.get("room"),
        "weights": files.get("weights.safetensors"),
        "selection": str(model.selection),
        "names": list(model.names),
        "merge": model.run.merges,
    }


def segment(
    run: Any,
    source: str | Path | Sequence[str | Path],
    out: str | Path,
    formats: str | Sequence[str] = ("png",),
    tile: int | None = None,
    overlap: int = 0,
    crf: str | None = None,
    progress: Callable[[int, int], None] | None = None,
    max_pixels: int = MAX_PIXELS,
) -> dict[str, Any]:
    """Segment every image of `source` into `out`; what is there already and complete is skipped.

    run: a `Model`, or the path of a run. source: folder, glob, file, CSV manifest or list. formats: names of
    `decoupe.export.FORMATS`. progress: called with (done, total). max_pixels: larger images are left out.

    Returns {"out", "images", "written", "skipped", "problems": [{"path", "reason"}], "files": {format: count or file
    name}, "replaced", "seconds", "images_per_s", "note"}. Fault if no image could be used, if `out` holds the photos or
    files of another origin, or if the disk refuses; UsageFault on an unknown format.
    """
    wanted = choose(formats)
    if tile is not None or overlap:
        raise UsageFault("no --tile", f"{tile}", "leave it out: this version segments whole images")
    if crf is not None:
        raise UsageFault("no --crf", repr(crf), "leave it out: this version has no dense CRF")
    out = Path(out)
    items = find(source)
    _check_out(out, items)
    model = _model(run)
    started = time.perf_counter()
    with Ledger(out, _stamp(model)) as ledger:
        keys = sorted(item.key for item in items)
        place = Place(out, model.names, colours(model.names), lambda name: ledger.records(name, keys))
        jobs = _jobs(place, ledger, items, _names(source, items), wanted)
        done = [len(items) - len(jobs)]

        def advance(count: int) -> None:
            done[0] += count
            if progress is not None:
                progress(done[0], len(items))

        advance(0)
        writers = {name: FORMATS[name](place) for name in wanted}
        pipeline = Pipeline(model, writers, ledger, max_pixels, advance)
        pipeline.run(jobs)
        usable = len(items) - len(pipeline.problems)
        if not usable:
            first = pipeline.problems[0]
            raise Fault(
                "at least one image that can be read", f"{first['path']}: {first['reason']}", "run decoupe data check"
            )
        for writer in writers.values():
            writer.close()
        replaced = ledger.replaced
    return _summary(out, wanted, len(items), len(jobs), pipeline.problems, replaced, time.perf_counter() - started)


def _summary(
    out: Path,
    wanted: Sequence[str],
    images: int,
    jobs: int,
    problems: list[dict[str, str]],
    replaced: bool,
    seconds: float,
) -> dict[str, Any]:
    usable, written = images - len(problems), jobs - len(problems)
    notes = []
    if images > jobs:
        notes.append(f"{images - jobs} were complete already")
    if problems:
        notes.append(f"{len(problems)} could not be read and were left out")
    if replaced:
        notes.append("outputs of another model or other names were replaced")
    return {
        "out": str(out),
        "images": images,
        "written": written,
        "skipped": images - jobs,
        "problems": sorted(problems, key=lambda problem: problem["path"]),
        "files": {name: FORMATS[name].FILE or usable for name in wanted},
        "replaced": replaced,
        "seconds": round(seconds, 3),
        "images_per_s": round(written / seconds, 2) if seconds > 0 else 0.0,
        "note": "; ".join(notes),
    }
