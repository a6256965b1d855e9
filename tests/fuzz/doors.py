"""The doors: for each, valid files made on the spot, how they are damaged, and what opens them."""

from __future__ import annotations

import io
import json
import os
import traceback
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from decoupe.data.boxes import read_boxes
from decoupe.data.decode import BadImage, image_size, read_image, read_mask
from decoupe.data.geo import read_geo
from decoupe.data.sources import find
from decoupe.data.tags import read_tags
from decoupe.data.windows import open_windows
from decoupe.engine.files import dump_json
from decoupe.engine.runfolder import Run, _seal
from decoupe.engine.tensors import load_tensors
from decoupe.errors import Fault
from decoupe.export import brush, rle
from decoupe.export.readers import read_masks
from decoupe.model import load
from decoupe.nn.backbones.weights import read_file
from tests.fuzz import mutate, seeds
from tests.fuzz.mutate import Mutator


@dataclass(frozen=True)
class Door:
    """One kind of file."""

    file: str
    """Name below the scratch folder under which an input is written."""
    seeds: Callable[[], list[bytes]]
    mutator: Mutator
    open: Callable[[Path], Any]
    """Opens the file as decoupe does; returns what tells different contents apart. Only a Fault may come out."""
    prepare: Callable[[Path], None] = lambda folder: None
    """Puts what the input needs beside it."""


def each(*steps: Callable[[], Any]) -> Any:
    """All of the ways in: what each read, or the line of code at which it refused. The last Fault if all refuse."""
    told, last, count = [], None, 0
    for step in steps:
        try:
            told.append(str(step()))
        except Fault as fault:
            last, count = fault, count + 1
            told.append(places(fault))
    if last is not None and count == len(steps):
        raise last
    return told


def places(error: BaseException | None) -> str:
    """The lines of code that an exception, and those that led to it, passed through."""
    found: list[str] = []
    while error is not None:
        found += [f"{os.path.basename(f.filename)}:{f.lineno}" for f in traceback.extract_tb(error.__traceback__)]
        error = error.__cause__ or error.__context__
    return " ".join(found)


def look(path: Path) -> Any:
    """An image by all of its readers."""
    return each(
        lambda: read_image(path).shape, lambda: image_size(path), lambda: read_mask(path).shape,
        lambda: read_image(path, frame=1).shape, lambda: str(read_geo(path)), lambda: bands(path),
    )  # fmt: skip


def bands(path: Path) -> tuple[int, ...]:
    """The first and the last rows of an image that is read band by band."""
    image = open_windows(path)
    height = image.shape[0]
    return image.rows(0, min(8, height)).shape + image.rows(max(0, height - 3), height).shape


def array_damage(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """Members of archives, text and bytes of headers."""
    if data[:2] == b"PK":
        return mutate.zipped(random, data, others)
    return random.choice((mutate.plain, mutate.digits))(random, data, others)


def two_photos(folder: Path) -> None:
    """photos/a.png and photos/b.png."""
    (folder / "photos").mkdir()
    for name in "ab":
        (folder / "photos" / f"{name}.png").write_bytes(seeds.picture("PNG"))


@cache
def items(folder: Path) -> Any:
    """The two photos."""
    return find(folder / "photos")


def read_tables(path: Path) -> Any:
    """A CSV as boxes, as tags, as a list of photos, and as the text files of two data sets."""
    known = items(path.parent)
    other = path.with_name("bounding_boxes.txt")
    other.write_bytes(path.read_bytes().replace(b",", b" "))
    return each(
        lambda: len(read_boxes(path, known)), lambda: str(read_tags(path, known).names), lambda: len(find(path)),
        lambda: len(read_boxes(other, known)),
    )  # fmt: skip


def masks(path: Path) -> Any:
    """A file of masks, painted; and as boxes where it is JSON."""
    found = read_masks(path)
    return [(one.name[:9], one.labels().shape) for one in found.images[:20]], len(found.names)


def masks_or_boxes(path: Path) -> Any:
    """A JSON file of masks, or of boxes."""
    return each(lambda: masks(path), lambda: len(read_boxes(path, items(path.parent))))


def voc(path: Path) -> Any:
    """A folder of colour masks whose list of colours is the input."""
    return masks(path.parent)


def voc_folder(folder: Path) -> None:
    """SegmentationClass with two masks."""
    (folder / "SegmentationClass").mkdir()
    pixels = np.zeros((12, 12, 3), np.uint8)
    pixels[seeds.MASK] = 128, 0, 0
    for name in "ab":
        (folder / "SegmentationClass" / f"{name}.png").write_bytes(seeds.picture("PNG", pixels))


def read_lengths(path: Path) -> Any:
    """The mask of run lengths."""
    data = path.read_bytes()
    if data[:1] == b"\0":
        return int(brush.decode(data[1:], (12, 12)).sum())
    return int(rle.decode(rle.from_string(data.decode("latin-1"), (12, 12)), (12, 12)).sum())


def members(path: Path) -> Any:
    """All photos of a tar or a store that is found in a folder."""
    found, refused = find(path), None
    for item in found[:20]:
        try:
            read_image(item.path)
        except BadImage as fault:
            refused = fault
    if refused is not None:
        raise refused
    return len(found)


def stored(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """A .pth: a member changes and all stay stored; or any bytes."""
    if data[:2] != b"PK" or random.random() < 0.4:
        return mutate.plain(random, data, others)
    try:
        target = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(target, "w") as new:
            chosen = random.choice(old.namelist())
            for name in old.namelist():
                new.writestr(name, mutate.plain(random, old.read(name), ()) if name == chosen else old.read(name))
        return target.getvalue()
    except Exception:  # noqa: BLE001 the archive was damaged by an earlier turn
        return mutate.plain(random, data, others)


def run_folder(folder: Path) -> None:
    """The finished run."""
    for name, data in seeds.finished().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def read_run(path: Path) -> Any:
    """run.json of a finished run, sealed again as somebody who knows how would."""
    try:
        info = json.loads(path.read_bytes())
        info["seal"] = _seal(info)
        path.write_bytes(dump_json(info))
    except Exception:  # noqa: BLE001 then it stays as it is
        pass
    return opened(path.parent)


def read_named(path: Path) -> Any:
    """names.json of a finished run whose manifest agrees."""
    import hashlib

    info = json.loads(seeds.finished()["run.json"])
    info["files"]["names.json"] = hashlib.sha256(path.read_bytes()).hexdigest()
    info["seal"] = _seal(info)
    path.with_name("run.json").write_bytes(dump_json(info))
    return opened(path.parent)


def opened(folder: Path) -> Any:
    """A run, with all that its folder tells, and as a model."""
    run = Run.open(folder)
    return each(
        lambda: run.names, lambda: run.merges, lambda: run.colours, lambda: len(run.candidates()),
        lambda: len(run.metrics()), lambda: len(run.results()), lambda: load(folder).names,
    )  # fmt: skip


def panoptic_folder(folder: Path) -> None:
    """Two photos, and a.png as the panoptic mask of input.json."""
    two_photos(folder)
    (folder / "input").mkdir()
    pixels = np.zeros((12, 12, 3), np.uint8)
    pixels[seeds.MASK] = 5, 0, 0
    (folder / "input" / "a.png").write_bytes(seeds.picture("PNG", pixels))


DOORS: dict[str, Door] = {
    "png": Door("input.png", seeds.pictures, mutate.chunks, look),
    "images": Door("input.jpg", seeds.photographs, mutate.plain, look),
    "npz": Door("input.npy", seeds.arrays, array_damage, look),
    "tiff": Door("input.tif", seeds.tiffs, mutate.plain, look),
    "csv": Door("input.csv", seeds.tables, mutate.text, read_tables, two_photos),
    "run": Door("run.json", lambda: [seeds.finished()["run.json"]], mutate.structured, read_run, run_folder),
    "names": Door("names.json", lambda: [seeds.finished()["names.json"]], mutate.structured, read_named, run_folder),
    "coco": Door("input.json", seeds.coco, mutate.structured, masks_or_boxes, panoptic_folder),
    "label-studio": Door("input.json", seeds.label_studio, mutate.structured, masks),
    "cvat": Door("input.xml", seeds.cvat, mutate.text, masks),
    "voc": Door("labelmap.txt", lambda: [b"# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:128,0,0::\n"],
                mutate.text, voc, voc_folder),
    "palette": Door("input.png", seeds.indexed, mutate.chunks, masks),
    "rle": Door("input.rle", seeds.run_lengths, mutate.plain, read_lengths),
    "safetensors": Door("input.safetensors", seeds.tensors, mutate.headed, lambda path: sorted(load_tensors(path)[0])),
    "pth": Door("input.pth", seeds.weights, stored, lambda path: sorted(read_file(path))),
    "lmdb": Door("store/data.mdb", seeds.stores, mutate.plain, lambda path: members(path.parent)),
    "tar": Door("input.tar", seeds.tars, mutate.blocks, members),
}  # fmt: skip
