"""A thousand files that unpack to far more than they hold, each another one."""

from __future__ import annotations

import io
import json
import os
import resource
import struct
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from decoupe.data.decode import read_image
from decoupe.engine.files import parse_json
from decoupe.errors import Fault
from decoupe.export.readers import read_masks
from tests.data.files import gif_of, png_claiming, tiff_claiming

LIMIT = 1_000_000
"""--max-pixels."""
ALLOWED = 200_000_000 + 8 * LIMIT
"""Bytes on top of the process itself: the limit's own, and 200 MB."""
Bomb = tuple[str, bytes]
"""Suffix and content."""


def _png(random: Random) -> Bomb:
    side, colour = random.randint(1500, 3500), random.choice((0, 2))
    return "png", png_claiming(side, random.randint(1500, 3500), 8 if colour else random.choice((1, 8)), colour, True)


def _claim(random: Random) -> Bomb:
    return "png", png_claiming(random.randint(2000, 2**31 - 1), random.randint(2000, 2**31 - 1), 16, 2)


def _tiff(random: Random) -> Bomb:
    return "tif", tiff_claiming(
        random.randint(2000, 2**32 - 1), random.randint(2000, 2**32 - 1), random.randint(1, 60000)
    )


def _packed_tiff(random: Random) -> Bomb:
    import tifffile

    target, side = io.BytesIO(), random.randint(1500, 3000)
    tifffile.imwrite(target, np.zeros((side, side), np.uint8), compression="zlib", rowsperstrip=random.randint(1, side))
    return "tif", target.getvalue()


def _npy_head(random: Random) -> bytes:
    shape = (random.randint(2000, 10**7), random.randint(2000, 10**7))
    target = io.BytesIO()
    kind = random.choice(("|u1", "<f8", "<u2", "|b1"))
    np.lib.format.write_array_header_1_0(
        target, {"descr": kind, "fortran_order": random.random() < 0.5, "shape": shape}
    )
    return target.getvalue()


def _npy(random: Random) -> Bomb:
    return "npy", _npy_head(random)


def _npz(random: Random) -> Bomb:
    target, count = io.BytesIO(), random.randint(2, 40)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("image.npy", "w") as member:
        np.lib.format.write_array_header_1_0(
            member, {"descr": "|u1", "fortran_order": False, "shape": (count * 1000, 1000)}
        )  # fmt: skip
        for _ in range(count):
            member.write(bytes(1_000_000))
    return "npz", target.getvalue()


def _gif(random: Random) -> Bomb:
    return "gif", gif_of(random.randint(1000, 40_000))


def _sized(
    suffix: str, format_: str, where: Callable[[bytes], int], order: str, **options: object
) -> Callable[[Random], Bomb]:
    """A small picture whose header claims a large one."""

    def make(random: Random) -> Bomb:
        target = io.BytesIO()
        Image.new("RGB", (16, 16), (random.randrange(256), 0, 0)).save(target, format_, **options)  # type: ignore[arg-type]
        data = bytearray(target.getvalue())
        at = where(bytes(data))
        for step in (0, struct.calcsize(order)):
            struct.pack_into(order, data, at + step, random.randint(2000, 30_000))
        return suffix, bytes(data)

    return make


def _ppm(random: Random) -> Bomb:
    return "ppm", b"P6 %d %d 255\n" % (random.randint(2000, 10**9), random.randint(2000, 10**9)) + bytes(500)


def _text(random: Random) -> Bomb:
    packed = zlib.compress(bytes(random.randint(2, 60) * 1_000_000))
    return "png", _with_chunk(b"zTXt" if random.random() < 0.5 else b"iCCP", b"k\0\0" + packed)


def _with_chunk(name: bytes, data: bytes) -> bytes:
    target = io.BytesIO()
    Image.new("L", (8, 8)).save(target, "PNG")
    whole = target.getvalue()
    chunk = struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    return whole[:33] + chunk + whole[33:]


def _coco(random: Random) -> Bomb:
    height, width = random.randint(2, 10**6), random.randint(10**6, 10**9)
    counts: object = [height * width] if random.random() < 0.5 else "P" * random.randint(1, 50)
    one = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": {"size": [height, width], "counts": counts}}
    image = {"id": 1, "file_name": "a.png", "height": height, "width": width}
    return "json", json.dumps(
        {"images": [image], "categories": [{"id": 1, "name": "a"}], "annotations": [one]}
    ).encode()


def _studio(random: Random) -> Bomb:
    value = {"format": "rle", "rle": [255] * random.randint(1, 300), "brushlabels": ["a"]}
    size = {"original_width": random.randint(10**4, 10**9), "original_height": random.randint(10**4, 10**9)}
    return "json", json.dumps(
        [{"data": {"image": "a.png"}, "annotations": [{"result": [{"value": value, **size}]}]}]
    ).encode()


def _xml(random: Random) -> Bomb:
    entities = "".join(
        f'<!ENTITY a{n} "{f"&a{n - 1};" * random.randint(5, 12)}">' for n in range(1, random.randint(6, 12))
    )
    text = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a0 "boom">{entities}]><annotations>&a5;</annotations>'
    return "xml", text.encode()


def _deep(random: Random) -> Bomb:
    return "deep", random.choice((b"[", b'{"a":')) * random.randint(2000, 200_000)


def _jpeg_size(data: bytes) -> int:
    return data.index(b"\xff\xc0") + 5


MAKERS: tuple[tuple[int, Callable[[Random], Bomb]], ...] = (
    (60, _png), (120, _claim), (120, _tiff), (40, _packed_tiff), (100, _npy), (60, _npz), (20, _gif), (80, _ppm),
    (60, _text),
    (80, _sized("jpg", "JPEG", _jpeg_size, ">H")), (60, _sized("bmp", "BMP", lambda data: 18, "<I")),
    (40, _sized("gif", "GIF", lambda data: 6, "<H")), (50, _coco), (50, _studio), (30, _xml), (30, _deep),
)  # fmt: skip
"""How many of each kind."""


def _open(path: Path) -> None:
    if path.suffix == ".deep":
        parse_json(path.read_bytes(), path.name)
    elif path.suffix in (".json", ".xml"):
        for image in read_masks(path).images:
            image.labels()
    else:
        pixels = read_image(path, max_pixels=LIMIT)
        if pixels.shape[0] * pixels.shape[1] > LIMIT:
            raise AssertionError(f"{pixels.shape} is beyond the limit")


def burst(seed: int = 0, share: float = 1.0) -> dict[str, object]:
    """Open all (or a share) of them in this process, most in their own fork.

    Returns how many there were, how they ended, and the largest memory one took on top of the process (MB).
    """
    random, ended, worst, wrong = Random(seed), Counter[str](), 0.0, list[str]()
    with tempfile.TemporaryDirectory() as folder:
        for count, maker in MAKERS:
            paths = []
            for number in range(max(1, round(count * share))):
                suffix, data = maker(random)
                paths.append(Path(folder) / f"{number}.{suffix}")
                paths[-1].write_bytes(data)
            told, grown = _apart(paths)
            ended.update(told)
            worst = max(worst, grown)
            wrong += [f"{maker.__name__}: {one}" for one in told if one not in ("refused", "read")]
            for path in paths:
                path.unlink()
    if worst > ALLOWED:
        wrong.append(f"{worst / 1e6:.0f} MB")
    return {"bombs": ended.total(), "ended": dict(ended), "peak_mb": round(worst / 1e6, 1), "wrong": wrong}


def _apart(paths: list[Path]) -> tuple[list[str], float]:
    """Open files in a fork: how each ended, and the memory that they took at most on top of what was there."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        before, told = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, []
        for path in paths:
            try:
                _open(path)
                told.append("read")
            except Fault as fault:
                told.append("refused" if "\n" not in str(fault) else "more than a line")
            except BaseException as error:  # noqa: BLE001 that is what is looked for
                told.append(f"{type(error).__name__}: {error}")
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        os.write(writing, json.dumps([told, 1024 * grown]).encode()[:65536])
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    told, grown = json.loads(answer) if answer else (["died"] * len(paths), 0)
    return told, grown
