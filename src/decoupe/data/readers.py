"""One reader per family of files: Pillow, TIFF with bands, NumPy. Sizes are checked before pixels are read."""

from __future__ import annotations

import logging
import math
import threading
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import IO, Any

import numpy as np
import tifffile
from numpy.lib import format as npy
from numpy.typing import NDArray
from PIL import (  # the plug-ins of ALLOWED are imported here, so that Pillow loads no others
    BmpImagePlugin,
    GifImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)
from PIL import Image as Pillow
from PIL.ImageFile import ImageFile

from decoupe.data import gif
from decoupe.data.pixels import on_white, upright
from decoupe.data.sniff import bytes_words

MAX_PIXELS = 178_956_970
"""Default of --max-pixels: 13,377 x 13,377."""

ALLOWED = ("JPEG", "PNG", "TIFF", "BMP", "GIF", "WEBP", "PPM")
"""What Pillow may try (MPO opens as JPEG). Never EPS, PSD, FITS, PDF...: those run or trust far more than pixels."""

PLUGINS = (
    BmpImagePlugin,
    GifImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

_BOMB_BYTES, _BOMB_RATIO = 128_000_000, 500
_MASK_PIXELS, _MASK_RATIO = 64_000_000, 8300
"""Of masks: even pixels of one bit, all alike, deflate to no more than so many a byte."""
_BANDS = 16
_STRIP = 1 << 22
_ORIENTATION = 274


class Unreadable(Exception):
    """A short reason, in the user's words, why a file gives no pixels."""


@dataclass(frozen=True)
class Raw:
    """Pixels as the file holds them."""

    pixels: NDArray[Any]
    """(H, W, C), upright, in the file's own dtype; alpha already composited."""
    full: tuple[int, int]
    """(height, width) of the upright file, before any reduced-size decoding."""
    bits: int
    """Bits per sample in the file."""
    animated: bool = False
    """Whether there are more frames or pages than the one read."""


@dataclass(frozen=True)
class Limit:
    """What one file may cost."""

    pixels: int
    """--max-pixels."""
    file: int
    """Bytes of the file on disk."""
    trusted: bool = False
    """Whether it is a mask, which may be compressed as far as can be."""

    def check(self, height: int, width: int, bands: int = 1) -> None:
        """Refuse a size before anything of that size is allocated."""
        size = f"{width}x{height}" + (f" with {bands} bands" if bands > 4 else "")
        if min(height, width, bands) < 1:
            raise Unreadable(f"no pixels ({size})")
        if height * width > self.pixels or height * width * bands > 4 * self.pixels:
            raise Unreadable(f"{size} is more than --max-pixels {self.pixels}")
        if self.pixels <= MAX_PIXELS:
            self.check_ratio(height, width, bands)

    def check_ratio(self, height: int, width: int, bands: int) -> None:
        """Refuse what unpacks to absurdly more than the file holds."""
        least, ratio = (_MASK_PIXELS, _MASK_RATIO) if self.trusted else (_BOMB_BYTES, _BOMB_RATIO)
        if height * width * bands > max(least, ratio * self.file):
            size = f"{width}x{height}" + (f" with {bands} bands" if bands > 4 else "")
            raise Unreadable(
                f"decompression bomb: {bytes_words(self.file)} claim {size}"
                f" (if you trust it, pass a --max-pixels above {MAX_PIXELS})"
            )


# --- Pillow ---------------------------------------------------------------------------------------------------------

_quiet_lock = threading.Lock()
_quiet_depth = 0
_quiet_undo: list[Any] = []


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Pillow's and tifffile's warnings and lift Pillow's global size limit: `Limit` does that work.

    The settings are global to the process, so the first thread in sets them and the last one out restores them.
    """
    global _quiet_depth
    with _quiet_lock:
        _quiet_depth += 1
        if _quiet_depth == 1:
            keep = warnings.catch_warnings()
            keep.__enter__()
            for module in (r"PIL\b", r"tifffile\b"):
                warnings.filterwarnings("ignore", module=module)
            _quiet_undo.extend([keep, Pillow.MAX_IMAGE_PIXELS])
            Pillow.MAX_IMAGE_PIXELS = None
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_depth -= 1
            if _quiet_depth == 0:
                keep, Pillow.MAX_IMAGE_PIXELS = _quiet_undo
                keep.__exit__(None, None, None)
                _quiet_undo.clear()


for _name in ("PIL", "tifffile"):
    logging.getLogger(_name).addHandler(logging.NullHandler())


def read_pillow(stream: IO[bytes], limit: Limit, frame: int = 0, hint: int = 0, indices: bool = False) -> Raw:
    """Decode with Pillow.

    Args:
        hint: when > 0, JPEGs may be decoded at 1/2, 1/4 or 1/8 size as long as both sides stay >= hint.
        indices: keep palette indices and 0/1 bits as they are (masks) instead of colours.
    """
    image = Pillow.open(stream, formats=ALLOWED)
    limit.check(image.height, image.width, 3 if image.mode not in ("1", "L", "P", "I;16") else 1)
    if frame:
        if image.format == "GIF":  # frames may enlarge the canvas, and all up to this one are decoded
            limit.check(*gif.extent(stream), 4)
        try:
            image.seek(frame)
        except EOFError:
            raise Unreadable(f"no frame {frame}") from None
        limit.check(image.height, image.width)
    animated = image.format not in ("MPO", "TIFF") and bool(getattr(image, "is_animated", False))
    full = image.size
    if hint and image.format == "JPEG" and image.mode in ("L", "RGB"):
        image.draft(image.mode, (hint, hint))
    bits = 16 if _sixteen(image) else 32 if image.mode in ("I", "F") else 8
    image.load()
    turn = _orientation(image)
    pixels = upright(_array(image, indices), turn)
    return Raw(pixels, full if turn in (5, 6, 7, 8) else full[::-1], bits, animated)


def pillow_size(stream: IO[bytes], limit: Limit) -> tuple[int, int]:
    """(height, width) of the upright image, without decoding it where its header tells."""
    image = Pillow.open(stream, formats=ALLOWED)
    limit.check(image.height, image.width)
    turned = _orientation(image) in (5, 6, 7, 8)
    return (image.width, image.height) if turned else (image.height, image.width)


def _sixteen(image: ImageFile) -> bool:
    """Whether the file holds 16 bits a sample (of colours Pillow keeps the upper 8). Asked before loading."""
    return ";16" in image.mode or any(";16" in str(tile[3]) for tile in image.tile)


def _orientation(image: Pillow.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # noqa: BLE001 a damaged EXIF block must not cost the photo
        return 1


def _array(image: Pillow.Image, indices: bool) -> NDArray[Any]:
    """(H, W, C) in the image's own depth: colours for palettes, RGB for CMYK and others, alpha put on white."""
    mode = image.mode
    if indices and mode in ("1", "P"):
        return np.asarray(image.getchannel(0) if mode == "P" else image, dtype=np.uint8)[..., None]
    if mode in ("P", "PA", "LA", "La", "RGBA", "RGBa") and (mode != "P" or "transparency" in image.info):
        grey = mode in ("LA", "La")
        return on_white(_strips(image.convert("LA" if grey else "RGBA")))
    if mode == "P":
        table = np.zeros((256, 3), np.uint8)
        colours = np.asarray(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)[:256]
        table[: len(colours)] = colours
        return np.asarray(table[_strips(image)[..., 0]])
    if mode not in ("1", "L", "RGB", "I", "F") and not mode.startswith("I;16"):
        image = image.convert("RGB")
    return _strips(image)


def _strips(image: Pillow.Image) -> NDArray[Any]:
    """(H, W, C) copied in row blocks: `np.asarray` of a whole image holds it twice more while it copies."""
    rows = max(1, _STRIP // image.width)
    if rows >= image.height:
        pixels = np.asarray(image)
        return pixels[..., None] if pixels.ndim == 2 else pixels
    first = np.asarray(image.crop((0, 0, image.width, 1)))
    out = np.empty((image.height, *first.shape[1:]), first.dtype)
    for top in range(0, image.height, rows):
        bottom = min(top + rows, image.height)
        out[top:bottom] = np.asarray(image.crop((0, top, image.width, bottom)))
    return out[..., None] if out.ndim == 2 else out


# --- TIFF -----------------------------------------------------------------------------------------------------------


def read_tiff(stream: IO[bytes], limit: Limit, frame: int = 0, indices: bool = False) -> Raw:
    """Plain photos go to Pillow, which knows every compression; everything else keeps all its bands (tifffile).

    In a TIFF every sample is a band: a fourth one may be near infrared whatever its tag says. A three-axis array
    that tifffile, ImageJ or OME stored as pages is one image when its shorter outer axis has at most 16 entries
    (its bands); other pages are frames.
    """
    with tifffile.TiffFile(stream) as file:
        stack = _stack(file) if frame == 0 else None
        if stack is not None:
            return _read_stack(stack, limit)
        if not _has_page(file, frame):
            raise Unreadable(f"no page {frame}" if frame else "damaged TIFF")
        page = file.pages[frame]
        page = page if isinstance(page, tifffile.TiffPage) else page.aspage()
        limit.check(int(page.imagelength), int(page.imagewidth), int(page.samplesperpixel))
        more = _has_page(file, 1)
        layout = int(page.photometric), int(page.samplesperpixel)
        plain = layout in ((0, 1), (1, 1), (2, 3)) and page.dtype is not None and page.dtype.name in ("bool", "uint8")
        if plain or layout[0] not in (0, 1, 2):
            return replace(read_pillow(_rewound(stream), limit, frame, indices=indices), animated=more)
        try:
            pixels = _page_array(page)
        except ValueError as error:
            if "imagecodecs" not in str(error) or page.samplesperpixel > 4:
                raise
            return replace(read_pillow(_rewound(stream), limit, frame, indices=indices), animated=more)
        tag = page.tags.get(_ORIENTATION)
        pixels = upright(pixels, int(tag.value) if tag is not None else 1)
        return Raw(pixels, (pixels.shape[0], pixels.shape[1]), int(page.bitspersample), more)


def _rewound(stream: IO[bytes]) -> IO[bytes]:
    stream.seek(0)
    return stream


def _has_page(file: tifffile.TiffFile, index: int) -> bool:
    try:
        return file.pages[index] is not None
    except Exception:  # noqa: BLE001 whatever the parser raises, there is no such page
        return False


def _stack(file: tifffile.TiffFile) -> tifffile.TiffPageSeries | None:
    """The pages of a three-axis array whose shorter outer axis is its bands, or None."""
    if not (file.is_shaped or file.is_imagej or file.is_ome) or not _has_page(file, 1):
        return None
    series = file.series[0]
    kinds = ("CYX", "QYX", "SYX", "IYX") if file.is_shaped else ("CYX",)
    fits = len(series.shape) == 3 and series.axes in kinds and min(series.shape[0], series.shape[2]) <= _BANDS
    return series if fits and len(series.pages) == series.shape[0] else None


def _read_stack(series: tifffile.TiffPageSeries, limit: Limit) -> Raw:
    first, middle, last = (int(side) for side in series.shape)
    height, width, bands = (middle, last, first) if first < last else (first, middle, last)
    limit.check(height, width, bands)
    pixels = np.asarray(series.asarray(maxworkers=1))
    pixels = np.moveaxis(pixels, 0, 2) if first < last else pixels
    return Raw(pixels, (height, width), pixels.dtype.itemsize * 8)


def _page_array(page: tifffile.TiffPage) -> NDArray[Any]:
    """(H, W, C) of one page, planar or interleaved; white-is-zero turned to black-is-zero."""
    pixels = np.asarray(page.asarray(maxworkers=1))
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    elif pixels.ndim == 3 and int(page.planarconfig) == 2:
        pixels = np.moveaxis(pixels, 0, 2)
    if pixels.ndim != 3:
        raise Unreadable(f"a volume of shape {pixels.shape}, not a flat image")
    return np.invert(pixels) if int(page.photometric) == 0 and pixels.dtype.kind == "u" else pixels


# --- NumPy ----------------------------------------------------------------------------------------------------------


def read_npy(stream: IO[bytes], limit: Limit, size: int) -> Raw:
    """A .npy of (H, W), (H, W, C) or (C, H, W): in three axes, the shorter of the first and last is the bands.

    Args:
        size: bytes the stream holds; the header may not claim more.
    """
    version = npy.read_magic(stream)
    reader = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = reader(stream)
    if dtype.kind not in "buif":
        raise Unreadable(f"an array of {'pickled objects' if dtype.hasobject else dtype}, not of numbers")
    if len(shape) not in (2, 3):
        raise Unreadable(f"an array of shape {shape}, not (H, W) or (H, W, C)")
    first = len(shape) == 3 and shape[0] < shape[2]
    height, width, bands = (*shape[1:], shape[0]) if first else (*shape, 1)[:3]
    limit.check(height, width, bands)
    count = math.prod(shape) * dtype.itemsize
    if count > size:
        raise Unreadable(f"truncated after {bytes_words(size)}")
    flat = np.frombuffer(stream.read(count), dtype)
    pixels = flat.reshape(shape, order="F" if fortran else "C")
    pixels = np.moveaxis(pixels, 0, 2) if first else pixels.reshape(height, width, bands)
    return Raw(pixels.astype(dtype.newbyteorder("="), copy=False), (height, width), dtype.itemsize * 8)


def read_npz(stream: IO[bytes], limit: Limit) -> Raw:
    """The array named `image`, `img`, `x` or else the first one of a .npz."""
    with zipfile.ZipFile(stream) as archive:
        members = {info.filename: info for info in archive.infolist() if info.filename.endswith(".npy")}
        if not members:
            raise Unreadable("not an image (zip archive)")
        name = next((n for n in ("image.npy", "img.npy", "x.npy") if n in members), next(iter(members)))
        size = members[name].file_size
        if size > 32 * limit.pixels + 4096:
            raise Unreadable(f"an array of {bytes_words(size)} is more than --max-pixels {limit.pixels}")
        with archive.open(members[name]) as member:
            return read_npy(member, limit, size)
