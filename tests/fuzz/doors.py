"""The doors: for each, valid files made on the spot, how they are damaged, and what opens them."""

from __future__ import annotations

import io
import json
import os
import tarfile
import traceback
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import lmdb
import numpy as np
import tifffile
import torch
from PIL import Image, PngImagePlugin

from decoupe.data.boxes import read_boxes
from decoupe.data.decode import BadImage, image_size, read_image, read_mask
from decoupe.data.geo import read_geo
from decoupe.data.sources import find
from decoupe.data.tags import read_tags
from decoupe.data.windows import open_windows
from decoupe.engine.files import dump_json
from decoupe.engine.runfolder import Run, _seal
from decoupe.engine.tensors import load_tensors, pack_tensors
from decoupe.errors import Fault
from decoupe.export import brush, rle
from decoupe.export.readers import read_masks
from decoupe.model import load
from decoupe.nn.backbones.weights import read_file
from tests.data.files import noise, smooth
from tests.fuzz import mutate
from tests.fuzz.mutate import Mutator

MASK = np.pad(np.ones((5, 6), bool), ((2, 5), (3, 3)))
"""(12, 12): what the files of masks hold."""


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


def picture(suffix: str, pixels: Any = None, mode: str | None = None, **options: Any) -> bytes:
    """A photo as the bytes of a file."""
    image = Image.fromarray(smooth() if pixels is None else pixels)
    target = io.BytesIO()
    (image.convert(mode) if mode else image).save(target, suffix, **options)
    return target.getvalue()


def pictures() -> list[bytes]:
    """PNG of several kinds."""
    about, exif = PngImagePlugin.PngInfo(), Image.Exif()
    about.add_text("Title", "t" * 40)
    about.add_itxt("Names", "a\nb", zip=True)
    exif[274] = 6
    frames = [Image.fromarray(noise(seed=n)) for n in range(2)]
    palette = {"transparency": b"\0\x80", "bits": 4}
    return [
        picture("PNG", pnginfo=about, exif=exif), picture("PNG", mode="P", **palette), picture("PNG", mode="1"),
        picture("PNG", noise()[..., 0].astype(np.uint16) * 257), picture("PNG", mode="RGBA"),
        picture("PNG", save_all=True, append_images=frames), picture("PNG", mode="LA"),
    ]  # fmt: skip


def indexed() -> list[bytes]:
    """PNG of class numbers."""
    return [picture("PNG", mode="P"), picture("PNG", MASK.astype(np.uint8)), picture("PNG", MASK.astype(np.uint16) * 3)]


def photographs() -> list[bytes]:
    """What cameras and the web write."""
    exif = Image.Exif()
    exif[274] = 8
    frames = {"save_all": True, "append_images": [Image.fromarray(noise(seed=n)) for n in range(2)]}
    return [
        picture("JPEG", exif=exif), picture("JPEG", progressive=True), picture("JPEG", mode="CMYK"),
        picture("JPEG", mode="L", subsampling=0), picture("GIF", mode="P", **frames), picture("GIF", interlace=1),
        picture("BMP"), picture("BMP", mode="P"), picture("BMP", mode="1"), picture("WEBP"), picture("PPM"),
        picture("WEBP", lossless=True, **frames), picture("PPM", mode="L"), picture("PPM", mode="1"),
    ]  # fmt: skip


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


def arrays() -> list[bytes]:
    """NPY and NPZ."""
    out = []
    for array in (smooth(), smooth().astype(np.float32) / 255, np.asfortranarray(smooth()[..., 0]), smooth() > 99):
        target = io.BytesIO()
        np.save(target, array)
        out.append(target.getvalue())
    for save in (np.savez, np.savez_compressed):
        target = io.BytesIO()
        save(target, image=smooth())
        out.append(target.getvalue())
    return out


def array_damage(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """Members of archives, text and bytes of headers."""
    if data[:2] == b"PK":
        return mutate.zipped(random, data, others)
    return random.choice((mutate.plain, mutate.digits))(random, data, others)


def tiffs() -> list[bytes]:
    """TIFF in strips and tiles, of several depths, with pages and tags."""
    scale = [
        (33550, "d", 3, (0.5, 0.5, 0.0)),
        (33922, "d", 6, (0.0,) * 6),
        (34735, "H", 8, (1, 1, 0, 1, 3076, 0, 1, 9001)),
    ]
    colour, out = {"photometric": "rgb"}, []
    kinds: list[tuple[Any, dict[str, Any]]] = [
        (smooth(), {**colour, "rowsperstrip": 5}), (smooth(), {**colour, "tile": (16, 16), "compression": "zlib"}),
        (smooth(), {**colour, "compression": "lzw", "predictor": True}), (smooth().astype(np.uint16) * 200, colour),
        (smooth().astype(np.float32)[..., 0], {"extratags": [(*tag[:3], tag[3], True) for tag in scale]}),
        (np.moveaxis(smooth(), 2, 0), {**colour, "planarconfig": "separate"}), (smooth()[..., 0] > 90, {}),
        (np.stack([smooth()[..., 0]] * 3), {"imagej": True, "metadata": {"unit": "um"}, "resolution": (2, 2)}),
        (np.stack([smooth()[..., 0]] * 2), {"ome": True, "metadata": {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}}),
        (smooth(), {**colour, "bigtiff": True, "byteorder": ">"}),
    ]  # fmt: skip
    for pixels, options in kinds:
        target = io.BytesIO()
        tifffile.imwrite(target, pixels, **options)
        out.append(target.getvalue())
    return [
        *out,
        picture("TIFF", compression="jpeg"),
        picture("TIFF", mode="P"),
        picture("TIFF", mode="1", compression="group4"),
    ]


def two_photos(folder: Path) -> None:
    """photos/a.png and photos/b.png."""
    (folder / "photos").mkdir()
    for name in "ab":
        (folder / "photos" / f"{name}.png").write_bytes(picture("PNG"))


@cache
def items(folder: Path) -> Any:
    """The two photos."""
    return find(folder / "photos")


def tables() -> list[bytes]:
    """CSV of boxes, tags and paths."""
    return [
        b"image,x0,y0,x1,y1\na.png,1,2,9,9.5\nb.png,0,0,5,5\na.png,3,3,7,8\n", b"image;tags\na.png;cat dog\nb.png;\n",
        b"filename\tcat\tdog\na.png\t1\t0\nb.png\t0\t1\n", b"path\nphotos/a.png\nphotos/b.png\n",
        b'\xef\xbb\xbfimage,tags\n"a.png","cat, big dog"\nb.png,cat|dog\n', b"file,x,y,w,h\r\nphotos/b.png,1,1,4,4\r\n",
    ]  # fmt: skip


def read_tables(path: Path) -> Any:
    """A CSV as boxes, as tags, as a list of photos, and as the text files of two data sets."""
    known = items(path.parent)
    other = path.with_name("bounding_boxes.txt")
    other.write_bytes(path.read_bytes().replace(b",", b" "))
    return each(
        lambda: len(read_boxes(path, known)), lambda: str(read_tags(path, known).names), lambda: len(find(path)),
        lambda: len(read_boxes(other, known)),
    )  # fmt: skip


def coco() -> list[bytes]:
    """COCO with its three kinds of masks, boxes, and panoptic."""
    counts, size = list(rle.encode(MASK)), [12, 12]
    shapes: list[Any] = [
        {"size": size, "counts": counts}, {"size": size, "counts": rle.to_string(counts)}, [[1, 1, 9, 1, 9, 9, 1, 9]],
    ]  # fmt: skip
    one = {
        "images": [
            {"id": 1, "file_name": "a.png", "height": 12, "width": 12},
            {"id": 2, "file_name": "b.png", "height": 12, "width": 12},
        ]
    }
    kinds = [{"id": 1, "name": "cat"}, {"id": 7, "name": "background"}]
    marked = [
        {"id": n, "image_id": 1 + n % 2, "category_id": 1, "segmentation": shape, "bbox": [1, 1, 5, 5]}
        for n, shape in enumerate(shapes)
    ]
    panoptic = [{"image_id": 1, "file_name": "a.png", "segments_info": [{"id": 5, "category_id": 1}]}]
    return [
        json.dumps({**one, "categories": kinds, "annotations": use}).encode() for use in (marked, marked[:1], panoptic)
    ]


def label_studio() -> list[bytes]:
    """Tasks with a brush, a polygon and a rectangle."""
    row = rle.encode(MASK.T)
    values: list[dict[str, Any]] = [
        {"format": "rle", "rle": list(brush.encode(row)), "brushlabels": ["cat"]},
        {"points": [[10, 10], [80, 10], [50, 90]], "polygonlabels": ["dog"]},
        {"x": 10, "y": 10, "width": 50, "height": 40, "rotation": 0, "rectanglelabels": ["cat"]},
    ]  # fmt: skip
    results = [{"original_width": 12, "original_height": 12, "image_rotation": 0, "value": value} for value in values]
    tasks = [
        {"data": {"image": "/data/local-files/?d=photos%2Fa.png"}, "annotations": [{"result": results}]},
        {"data": {"image": "b.png"}, "predictions": [{"result": results[:1], "score": 0.5}]},
    ]  # fmt: skip
    return [json.dumps(tasks).encode(), json.dumps(tasks[1:]).encode()]


def cvat() -> list[bytes]:
    """CVAT for images with masks, polygons and boxes."""
    shapes = (
        '<mask label="cat" rle="3, 4, 5" left="2" top="3" width="4" height="3" z_order="0"/>',
        '<polygon label="dog" points="1.0,1.0;9,1;5,9" occluded="0"/>',
        '<box label="cat" xtl="1" ytl="1" xbr="5" ybr="6"/>',
    )  # fmt: skip
    photo = f'<image id="0" name="a.png" width="12" height="12">{"".join(shapes)}</image>'
    labels = "<meta><job><labels><label><name>cat</name></label><label><name>dog</name></label></labels></job></meta>"
    return [f'<?xml version="1.0"?><annotations><version>1.1</version>{labels}{photo}</annotations>'.encode()]


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
    pixels[MASK] = 128, 0, 0
    for name in "ab":
        (folder / "SegmentationClass" / f"{name}.png").write_bytes(picture("PNG", pixels))


def run_lengths() -> list[bytes]:
    """Compressed run lengths, and brush bytes after a zero byte."""
    return [
        rle.to_string(rle.encode(MASK)).encode(),
        b"\0" + brush.encode(rle.encode(MASK.T)),
        b"\0" + brush.encode([144]),
    ]


def read_lengths(path: Path) -> Any:
    """The mask of run lengths."""
    data = path.read_bytes()
    if data[:1] == b"\0":
        return int(brush.decode(data[1:], (12, 12)).sum())
    return int(rle.decode(rle.from_string(data.decode("latin-1"), (12, 12)), (12, 12)).sum())


def stores() -> list[bytes]:
    """data.mdb of photos: small ones in leaves, large ones on pages of their own, enough for two levels."""
    import tempfile

    out = []
    for count, size in ((3, 24), (90, 8), (2, 120)):
        with tempfile.TemporaryDirectory() as name:
            with lmdb.open(name, map_size=1 << 22) as environment, environment.begin(write=True) as transaction:
                for number in range(count):
                    transaction.put(b"key%05d" % number, picture("WEBP", noise(size, size, seed=number)))
            out.append((Path(name) / "data.mdb").read_bytes())
    return out


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


def tars() -> list[bytes]:
    """Shards in three dialects."""
    out = []
    for dialect in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        target = io.BytesIO()
        with tarfile.open(fileobj=target, mode="w", format=dialect) as archive:
            for number, name in enumerate(("a.png", "b/c.jpg", "d" * 80 + "/" + "e" * 90 + ".png", "é.png")):
                data = picture("PNG", noise(8, 8, seed=number))
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
        out.append(target.getvalue())
    return out


def tensors() -> list[bytes]:
    """safetensors with and without our description."""
    some = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.ones(4, dtype=torch.uint8), "c": torch.zeros(0)}
    return [pack_tensors(some, {"room": "redraw", "images": 3}), pack_tensors(some)]


def weights() -> list[bytes]:
    """.pth of tensors as torch writes it now, and as it did once."""
    out = []
    for new in (True, False):
        target = io.BytesIO()
        torch.save({"state_dict": {"a": torch.arange(4.0)}}, target, _use_new_zipfile_serialization=new)
        out.append(target.getvalue())
    return out


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


@cache
def finished() -> dict[str, bytes]:
    """The files of a run that was trained for a moment."""
    import tempfile

    from decoupe.fit import fit
    from tests.tiny import TINY

    with tempfile.TemporaryDirectory() as name:
        folder, before = Path(name), os.environ.get("DECOUPE_CACHE")
        os.environ["DECOUPE_CACHE"] = str(folder / "cache")
        (folder / "photos").mkdir()
        for number in range(6):
            (folder / "photos" / f"{number}.png").write_bytes(picture("PNG", noise(40, 40, seed=number)))
        fit("baselines", folder / "photos", run=folder / "run", precision="fp32", **TINY["baselines"])
        os.environ.pop("DECOUPE_CACHE")
        if before is not None:
            os.environ["DECOUPE_CACHE"] = before
        run = folder / "run"
        return {str(p.relative_to(run)): p.read_bytes() for p in run.rglob("*") if p.is_file()}


def run_folder(folder: Path) -> None:
    """The finished run."""
    for name, data in finished().items():
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

    info = json.loads(finished()["run.json"])
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
    pixels[MASK] = 5, 0, 0
    (folder / "input" / "a.png").write_bytes(picture("PNG", pixels))


DOORS: dict[str, Door] = {
    "png": Door("input.png", pictures, mutate.chunks, look),
    "images": Door("input.jpg", photographs, mutate.plain, look),
    "npz": Door("input.npy", arrays, array_damage, look),
    "tiff": Door("input.tif", tiffs, mutate.plain, look),
    "csv": Door("input.csv", tables, mutate.text, read_tables, two_photos),
    "run": Door("run.json", lambda: [finished()["run.json"]], mutate.structured, read_run, run_folder),
    "names": Door("names.json", lambda: [finished()["names.json"]], mutate.structured, read_named, run_folder),
    "coco": Door("input.json", coco, mutate.structured, masks_or_boxes, panoptic_folder),
    "label-studio": Door("input.json", label_studio, mutate.structured, masks),
    "cvat": Door("input.xml", cvat, mutate.text, masks),
    "voc": Door("labelmap.txt", lambda: [b"# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:128,0,0::\n"],
                mutate.text, voc, voc_folder),
    "palette": Door("input.png", indexed, mutate.chunks, masks),
    "rle": Door("input.rle", run_lengths, mutate.plain, read_lengths),
    "safetensors": Door("input.safetensors", tensors, mutate.headed, lambda path: sorted(load_tensors(path)[0])),
    "pth": Door("input.pth", weights, stored, lambda path: sorted(read_file(path))),
    "lmdb": Door("store/data.mdb", stores, mutate.plain, lambda path: members(path.parent)),
    "tar": Door("input.tar", tars, mutate.blocks, members),
}  # fmt: skip
