"""Valid files of every kind, made on the spot: what the fuzzing damages."""

from __future__ import annotations

import io
import json
import os
import tarfile
from functools import cache
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import tifffile
import torch
from PIL import Image, PngImagePlugin

from decoupe.engine.tensors import pack_tensors
from decoupe.export import brush, rle
from tests.data.files import noise, smooth

MASK = np.pad(np.ones((5, 6), bool), ((2, 5), (3, 3)))
"""(12, 12): what the files of masks hold."""


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


def tables() -> list[bytes]:
    """CSV of boxes, tags and paths."""
    return [
        b"image,x0,y0,x1,y1\na.png,1,2,9,9.5\nb.png,0,0,5,5\na.png,3,3,7,8\n", b"image;tags\na.png;cat dog\nb.png;\n",
        b"filename\tcat\tdog\na.png\t1\t0\nb.png\t0\t1\n", b"path\nphotos/a.png\nphotos/b.png\n",
        b'\xef\xbb\xbfimage,tags\n"a.png","cat, big dog"\nb.png,cat|dog\n', b"file,x,y,w,h\r\nphotos/b.png,1,1,4,4\r\n",
    ]  # fmt: skip


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


def run_lengths() -> list[bytes]:
    """Compressed run lengths, and brush bytes after a zero byte."""
    return [
        rle.to_string(rle.encode(MASK)).encode(),
        b"\0" + brush.encode(rle.encode(MASK.T)),
        b"\0" + brush.encode([144]),
    ]


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
