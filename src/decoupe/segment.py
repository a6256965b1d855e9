"""Segment a folder: every core decodes, segments and writes its own batches; resume where it stopped."""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from decoupe.data.decode import MAX_PIXELS, decode, read_image
from decoupe.data.geo import Geo, read_geo
from decoupe.data.sources import Item, find
from decoupe.errors import Fault, UsageFault
from decoupe.export import FORMATS, Place, Record, Writer, choose
from decoupe.export.jobs import Job, check_out, missing_jobs, names_of
from decoupe.export.ledger import Ledger
from decoupe.export.palette import colours
from decoupe.export.upsample import Upsampled
from decoupe.types import Image, Regions

if TYPE_CHECKING:
    from decoupe.crf import Settings
    from decoupe.given import Given
    from decoupe.model import Model
    from decoupe.tiling import Tiler, Tiles

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

    def _write(
        self, decoded: Decoded, square: NDArray[np.float32], layers: NDArray[np.float32] | None = None
    ) -> None:
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


def _model(run: Any) -> Model:
    from decoupe.engine.runfolder import Run
    from decoupe.model import load

    loaded: Model = load(run) if isinstance(run, str | Path | Run) else run
    return loaded


def _geo_of(items: Sequence[Item]) -> Callable[[str], Geo | None]:
    """Reads the pixel size and georeference of the photo with a key."""
    by_key = {item.key: item for item in items}

    def geo(key: str) -> Geo | None:
        item = by_key.get(key)
        return None if item is None else read_geo(item.path, item.frame)

    return geo


def _stamp(model: Model, crf: Settings | None, tiles: Tiles | None) -> dict[str, Any]:
    files = model.run.info.get("files", {})
    given = ({} if crf is None else {"crf": asdict(crf)}) | ({} if tiles is None else {"tiles": asdict(tiles)})
    return given | {
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
    overlap: int | None = None,
    crf: str | Settings | None = None,
    progress: Callable[[int, int], None] | None = None,
    max_pixels: int = MAX_PIXELS,
    tags: str | Path | None = None,
) -> dict[str, Any]:
    """Segment every image of `source` into `out`; what is there already and complete is skipped.

    run: a loaded `Model`, a run, or its path. source: folder, glob, file, CSV manifest or list. formats: names of
    `decoupe.export.FORMATS`. crf: preset of `decoupe.crf`, or settings: sharpens regions along the photo's edges ("none":
    does not; None: as the method itself does, which for most is not). tile, overlap: segment each image by overlapping squares of `tile` pixels and blend them
    (`decoupe.tiling`; overlap None: a quarter); None: as a whole. progress: called with (done, total). max_pixels:
    larger images are left out; with `tile` those that can be read band by band (TIFF, NPY) have no such limit. tags:
    a CSV of what is in the photos, for runs that infer masks from image and tags (`decoupe.given`).

    Returns {"out", "images", "written", "skipped", "problems": [{"path", "reason"}], "files": {format: count or file
    name}, "replaced", "seconds", "images_per_s", "note"}. Fault if no image could be used, if `out` holds the photos or
    files of another origin, or if the disk refuses; UsageFault on an unknown format.
    """
    wanted = choose(formats)
    from decoupe.crf.regions import asked

    settings, tiles, out = asked(crf), choose_tiles(tile, overlap), Path(out)
    items = find(source)
    check_out(out, items)
    model = _model(run)
    if crf is None and tiles is None:
        settings = asked(getattr(model, "crf", None))
    if any(FORMATS[name].LAYERS for name in wanted):
        from decoupe.layers import check

        check(model, tiled=tiles is not None)
    from decoupe.given import given_tags

    known = None if tags is None else given_tags(model, tags, items, tiles is not None)
    started = time.perf_counter()
    with Ledger(out, _stamp(model, settings, tiles) | ({} if known is None else {"tags": known.digest})) as ledger:
        keys = sorted(item.key for item in items)
        place = Place(out, model.names, colours(model.names), lambda name: ledger.records(name, keys), _geo_of(items))
        jobs = missing_jobs(place, ledger, items, names_of(source, items), wanted)
        done = [len(items) - len(jobs)]

        def advance(count: int) -> None:
            done[0] += count
            if progress is not None:
                progress(done[0], len(items))

        advance(0)
        writers = {name: FORMATS[name](place) for name in wanted}
        pipeline = _worker(model, writers, ledger, max_pixels, advance, tiles, settings, known)
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


def choose_tiles(tile: int | None, overlap: int | None) -> Tiles | None:
    """How images are cut; None: not at all. UsageFault on sizes that do not go together."""
    from decoupe.tiling import Tiles

    if tile is None:
        if overlap is not None:
            raise UsageFault("--tile with --overlap", "none", "write --tile PX --overlap PX")
        return None
    return Tiles.choose(tile, overlap)


def _worker(
    model: Model,
    writers: dict[str, Writer],
    ledger: Ledger,
    max_pixels: int,
    advance: Callable[[int], None],
    tiles: Tiles | None,
    crf: Settings | None,
    given: Given | None,
) -> Pipeline | Tiler:
    if tiles is None:
        return Pipeline(model, writers, ledger, max_pixels, advance, crf=crf, given=given)
    from decoupe.tiling import Tiler

    return Tiler(model, writers, ledger, max_pixels, advance, tiles, crf=crf)


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
