"""The one place that opens images. Whatever is wrong with a file becomes one `Fault` in plain words.

Pixels come out as (H, W, C) uint8 in the upright frame:

* EXIF orientation is applied; of an animation or a multi-page file frame 0 is read unless another is asked for.
* Palette, CMYK, YCbCr become RGB; grey stays one band; alpha is composited on white, except in TIFF, where every
  sample is a band.
* 16-bit, float and other depths follow `pixels.to_uint8`.

Memory: sizes are read from headers and checked against `max_pixels` before pixels are allocated. While a photo is
decoded at most about 8 bytes per pixel are held.
"""

from __future__ import annotations

import os
import stat
import threading
import zipfile
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import TypeVar

import numpy as np

from decoupe.data.lmdbs import read_stored
from decoupe.data.pixels import conform, resize, resize_probs, to_uint8
from decoupe.data.readers import (
    ALLOWED,
    MAX_PIXELS,
    Limit,
    Raw,
    Unreadable,
    pillow_size,
    quiet,
    read_npy,
    read_npz,
    read_pillow,
    read_tiff,
)
from decoupe.data.shards import SUFFIX, read_member
from decoupe.data.sniff import bytes_words, describe, kind, link_words, os_words
from decoupe.errors import Fault
from decoupe.types import Image, Labels

__all__ = [
    "ALLOWED",
    "MAX_PIXELS",
    "BadImage",
    "Decoded",
    "conform",
    "decode",
    "image_size",
    "open_plain",
    "read_image",
    "read_mask",
    "resize",
    "resize_probs",
]

T = TypeVar("T")

_large = threading.Lock()
"""Files over 20 MB are decoded one at a time, whatever the number of threads."""


class BadImage(Fault):
    """A file that gives no image; `reason` is the short form for lists ("truncated after 41 kB")."""

    def __init__(self, path: Path, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__("a readable image", f"{path}: {reason}", "replace or remove it")


@dataclass(frozen=True)
class Decoded:
    """An image and what its file was like."""

    pixels: Image
    """(H, W, C) uint8, upright; smaller than `full` only when a `hint` allowed it."""
    full: tuple[int, int]
    """(height, width) of the upright file in pixels."""
    bits: int
    """Bits per sample in the file."""
    animated: bool
    """Whether the file holds more frames or pages."""


def read_image(path: Path | str, *, max_pixels: int = MAX_PIXELS, frame: int = 0) -> Image:
    """(H, W, C) uint8, upright: see the top of this file for the rules.

    Args:
        max_pixels: files with more pixels than this (or four times as many samples) are refused unread.
        frame: which frame of an animation or page of a TIFF.

    Raises:
        BadImage: (a `Fault`) the file cannot be read, is no image, is damaged, or is too large.
    """
    return decode(Path(path), max_pixels=max_pixels, frame=frame).pixels


def decode(path: Path, *, max_pixels: int = MAX_PIXELS, frame: int = 0, hint: int = 0) -> Decoded:
    """As `read_image`, with what the file was like. `hint` > 0 lets JPEGs decode smaller, sides staying >= hint."""
    raw = _guarded(path, max_pixels, lambda file: _dispatch(file, frame, hint))
    return Decoded(np.ascontiguousarray(to_uint8(raw.pixels)), raw.full, raw.bits, raw.animated)


def read_mask(path: Path | str) -> Labels:
    """(H, W) int64: palette indices or grey values exactly as the file holds them.

    Raises:
        BadImage: the file cannot be read, or has colours instead of one value per pixel.
    """
    path = Path(path)
    pixels = _guarded(path, MAX_PIXELS, lambda file: _dispatch(file, indices=True)).pixels
    if pixels.shape[2] != 1 and not (pixels == pixels[..., :1]).all():
        raise BadImage(path, "a mask in colours, not of class numbers")
    return np.asarray(pixels[..., 0], dtype=np.int64)


def image_size(path: Path | str) -> tuple[int, int]:
    """(height, width) in pixels of the upright image, from its header. Raises `BadImage` as `read_image` does."""

    def size(file: _File) -> tuple[int, int]:
        if kind(file.head) in ("TIFF", "NPY", "ZIP"):
            return _dispatch(file).full
        return pillow_size(file.stream, file.limit)

    return _guarded(Path(path), MAX_PIXELS, size)


@dataclass(frozen=True)
class _File:
    """An open file, its first bytes, and what it may cost."""

    stream: BufferedReader | BytesIO
    head: bytes
    limit: Limit


def _guarded(path: Path, max_pixels: int, read: Callable[[_File], T]) -> T:
    """Open a file, run `read` on it, and turn every possible failure into a `BadImage`."""
    size, head, known = 0, b"", None
    try:
        with open_plain(path) as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(0)
            head = stream.read(4096)
            stream.seek(0)
            known = kind(head)
            if known is None:
                raise Unreadable(describe(head))
            with quiet(), _large if size > 20_000_000 else nullcontext():
                return read(_File(stream, head, Limit(max_pixels, size)))
    except Unreadable as error:
        raise BadImage(path, str(error)) from None
    except MemoryError:
        raise BadImage(path, "too large for the memory of this machine; lower --max-pixels") from None
    except Exception as error:  # noqa: BLE001 parsers of hostile files raise anything: struct.error, KeyError...
        if isinstance(error, OSError) and (error.errno or 0) > 0:
            raise BadImage(path, os_words(path, error)) from None
        raise BadImage(path, _damage(head, size, error)) from None


def open_plain(path: Path) -> BufferedReader | BytesIO:
    """A plain file, or a member of a tar shard, opened for reading: never a folder, a pipe or a device (can block)."""
    try:
        mode = os.stat(path).st_mode
    except NotADirectoryError:
        return read_member(path)
    except FileNotFoundError:
        return read_stored(path)
    if stat.S_ISDIR(mode):
        raise Unreadable(link_words(path) or "a folder, not a file")
    if not stat.S_ISREG(mode):
        raise Unreadable("not a plain file")
    if path.suffix.lower() == SUFFIX:
        raise Unreadable("a tar that is damaged, compressed or holds no image")
    return open(path, "rb")


def _dispatch(file: _File, frame: int = 0, hint: int = 0, indices: bool = False) -> Raw:
    """Send a file to the reader its first bytes announce; its name plays no part."""
    name = kind(file.head)
    if name == "NPY":
        return read_npy(file.stream, file.limit, file.limit.file)
    if name == "ZIP":
        return read_npz(file.stream, file.limit)
    limit = replace(file.limit, trusted=indices)
    if name == "TIFF":
        return read_tiff(file.stream, limit, frame, indices)
    return read_pillow(file.stream, limit, frame, hint, indices)


_SHORT = ("truncated", "unexpected end", "not enough", "failed to read", "eof", "ended", "incomplete", "too small")
"""What parsers say when a file stops early."""


def _damage(head: bytes, size: int, error: Exception) -> str:
    """Words for an exception of a parser: cut short, damaged, or never an image."""
    text, name = str(error).lower(), kind(head)
    if "imagecodecs" in text:
        return "compressed in a way that needs the imagecodecs package"
    if name == "ZIP":
        return f"truncated after {bytes_words(size)}" if isinstance(error, zipfile.BadZipFile) else "damaged NPZ"
    if name in ("BMP", "PPM") and (words := describe(head)).endswith("(plain text)"):
        return words
    if isinstance(error, EOFError) or any(word in text for word in _SHORT):
        return f"truncated after {bytes_words(size)}"
    return f"damaged {name or 'file'}"
