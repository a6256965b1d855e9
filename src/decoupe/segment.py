"""Segment a folder: every image once, whatever stops it; several processes may share the work (`pipeline` does it)."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from decoupe.data.decode import MAX_PIXELS
from decoupe.data.sources import find
from decoupe.engine.launch import world
from decoupe.errors import Fault, UsageFault
from decoupe.export import FORMATS, Place, Writer, choose
from decoupe.export.jobs import check_out, geo_of, missing_jobs, names_of
from decoupe.export.ledger import Ledger
from decoupe.export.palette import chosen
from decoupe.pipeline import Pipeline

if TYPE_CHECKING:
    from decoupe.crf import Settings
    from decoupe.given import Given
    from decoupe.model import Model
    from decoupe.tiling import Tiler, Tiles


def _stamp(model: Model, crf: Settings | None, tiles: Tiles | None) -> dict[str, Any]:
    files = model.run.info.get("files", {})
    stamp = {
        "room": model.run.info.get("room"),
        "weights": files.get("weights.safetensors"),
        "selection": str(model.selection),
        "names": list(model.names),
        "merge": model.run.merges,
    }
    if crf is not None:
        stamp["crf"] = asdict(crf)
    if tiles is not None:
        stamp["tiles"] = asdict(tiles)
    if any(model.colours):
        stamp["colours"] = list(model.colours)
    return stamp


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
    `decoupe.export.FORMATS`. crf: preset of `decoupe.crf`, or settings: sharpens regions along the photo's edges
    ("none": does not; None: as the method itself does, which for most is not). tile, overlap: segment each image by
    overlapping squares of `tile` pixels and blend them (`decoupe.tiling`; overlap None: a quarter); None: as a whole.
    progress: called with (done, total). max_pixels: larger images are left out; with `tile` those that can be read band
    by band (TIFF, NPY) have no such limit. tags: a CSV of what is in the photos, for runs that infer masks from image
    and tags (`decoupe.given`).

    Under torchrun or Slurm (RANK, WORLD_SIZE) each process does its share of the images; whoever is last writes what
    belongs to all of them. They need nothing in common but `out`.

    Returns {"out", "images", "written", "skipped", "problems": [{"path", "reason"}], "files": {format: count or file
    name}, "replaced", "seconds", "images_per_s", "note"}. Fault if no image could be used, if `out` holds the photos or
    files of another origin, or if the disk refuses; UsageFault on an unknown format.
    """
    wanted = choose(formats)
    from decoupe.crf.regions import asked
    from decoupe.model import loaded

    settings, tiles, out, items = asked(crf), choose_tiles(tile, overlap), Path(out), find(source)
    check_out(out, items)
    model = loaded(run)
    if crf is None and tiles is None:
        settings = asked(getattr(model, "crf", None))
    if any(FORMATS[name].LAYERS for name in wanted):
        from decoupe.layers import check

        check(model, tiled=tiles is not None)
    from decoupe.given import given_tags

    known = None if tags is None else given_tags(model, tags, items, tiles is not None)
    started, here = time.perf_counter(), world()
    stamp = _stamp(model, settings, tiles) | ({} if known is None else {"tags": known.digest})
    with Ledger(out, stamp, here.rank if here.size > 1 else None) as ledger:
        keys, names = sorted(item.key for item in items), names_of(source, items)
        place = Place(
            out,
            model.names,
            chosen(model.names, model.colours),
            lambda name: ledger.records(name, keys),
            geo_of(items),
        )
        share = items if here.size == 1 else items[here.rank :: here.size]
        jobs = missing_jobs(place, ledger, share, names[here.rank :: here.size], wanted)
        done = [len(share) - len(jobs)]

        def advance(count: int) -> None:
            done[0] += count
            if progress is not None:
                progress(done[0], len(share))

        advance(0)
        writers = {name: FORMATS[name](place) for name in wanted}
        pipeline = _worker(model, writers, ledger, max_pixels, advance, tiles, settings, known)
        pipeline.run(jobs)
        usable = len(share) - len(pipeline.problems)
        if not usable and here.size == 1:
            first = pipeline.problems[0]
            raise Fault(
                "at least one image that can be read", f"{first['path']}: {first['reason']}", "run decoupe data check"
            )
        if here.size == 1 or ledger.end(hashlib.sha256("\0".join([*wanted, *keys]).encode()).hexdigest(), here.size):
            for writer in writers.values():
                writer.close()
        replaced = ledger.replaced
    return _summary(out, wanted, len(share), len(jobs), pipeline.problems, replaced, time.perf_counter() - started)


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
    if model.room.WHOLE:  # it cuts photos into overlapping tiles by itself
        from decoupe.counting import Things

        return Things(model, writers, ledger, max_pixels, advance, crf=crf)
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
