"""Makers of odd and hostile files."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def noise(height: int = 24, width: int = 32, bands: int = 3, seed: int = 0) -> NDArray[np.uint8]:
    """(H, W, bands) uint8."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, bands), dtype=np.uint8)


def smooth(height: int = 24, width: int = 32) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 that JPEG keeps within a few levels."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([y * 200 // height, x * 200 // width, (x + y) * 100 // (height + width)], axis=2).astype(np.uint8)


def save(path: Path, pixels: NDArray[np.uint8] | None = None, **options: object) -> Path:
    """Save (H, W, 3) or (H, W) as the path's suffix says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise() if pixels is None else pixels).save(path, **options)  # type: ignore[arg-type]
    return path


def png_claiming(width: int, height: int, depth: int = 1, colour: int = 0, filled: bool = False) -> bytes:
    """A PNG of any declared size; `filled` with zeros for real (a bomb), else with nothing."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    packer, rows = zlib.compressobj(9), b""
    if filled:
        row = bytes(1 + (width * depth * {0: 1, 2: 3}[colour] + 7) // 8)
        rows = b"".join(packer.compress(row) for _ in range(height))
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    data = chunk(b"IDAT", rows + packer.flush())
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + data + chunk(b"IEND", b"")


def tiff_claiming(width: int, height: int, bands: int = 3) -> bytes:
    """A TIFF header of any declared size with four bytes of pixels."""
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 2 if bands > 1 else 1)]
    tags += [(273, 4, 1, 8), (277, 3, 1, bands), (278, 4, 1, height), (279, 4, 1, 4)]
    body = struct.pack("<2sHI", b"II", 42, 12) + b"\0\0\0\0" + struct.pack("<H", len(tags))
    return body + b"".join(struct.pack("<HHII", *tag) for tag in tags) + struct.pack("<I", 0)


def npz_bomb(path: Path, count: int) -> Path:
    """A .npz of `count` zero bytes, about a thousandth of that on disk."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {"descr": "|u1", "fortran_order": False, "shape": (count // 1000, 1000)}
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("image.npy", "w") as member:
        member.write(buffer.getvalue())
        for _ in range(count // 1_000_000):
            member.write(bytes(1_000_000))
    return path


def gif_of(frames: int) -> bytes:
    """An 8x8 GIF with that many tiny frames."""
    head = b"GIF89a" + struct.pack("<HHBBB", 8, 8, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 8, 8, 0) + b"\x02\x0a\x84\x8f\xa9\xcb\xed\x0f\xa3\x9c\xb4\xda\x00"
    packed = io.BytesIO()
    Image.new("P", (8, 8)).save(packed, "GIF")
    raw = packed.getvalue()
    begin = raw.index(b"\x2c", 13)
    frame = raw[begin:-1]
    return raw[:begin] + frame * frames + b";" if begin > 13 else head + frame * frames + b";"
