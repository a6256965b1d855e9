"""Images read a band of rows at a time, so that memory does not grow with their height.

TIFF whose strips or tiles can be decoded one by one, and NPY in the order of rows, are read where they lie; every
other format is decoded whole, under the limits of `decode`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.lib import format as npy
from numpy.typing import NDArray

from decoupe.data.decode import BadImage, decode, open_plain
from decoupe.data.pixels import scale_of, scaled, value_range
from decoupe.data.readers import MAX_PIXELS, Limit, Unreadable, quiet
from decoupe.data.sniff import kind
from decoupe.types import Image

LARGEST = 1 << 36
"""Pixels beyond which no image is read, by windows or not: 262,144 x 262,144."""
SEGMENT = 1 << 28
"""Bytes that one strip or tile of a TIFF may hold."""
BAND = 1 << 24
"""Bytes of pixels that are looked at together when the range of values is measured."""
_ORIENTATION = 274


class Windows(ABC):
    """An image of which rows are read when they are asked for: `image[top:bottom]` gives (rows, W, C) uint8."""

    shape: tuple[int, int, int]
    """(H, W, C)."""

    @abstractmethod
    def rows(self, top: int, bottom: int) -> NDArray[Any]:
        """(bottom - top, W, C) in the file's own depth, for 0 <= top < bottom <= H."""

    def __getitem__(self, rows: slice) -> Image:
        top, bottom, _ = rows.indices(self.shape[0])
        return self._as_bytes(self.rows(top, bottom))

    def whole(self) -> Image:
        """(H, W, C) uint8: all of it, in memory."""
        return self[:]

    def _as_bytes(self, pixels: NDArray[Any]) -> Image:
        return np.ascontiguousarray(pixels, np.uint8)


class Whole(Windows):
    """An image that lies in memory."""

    def __init__(self, image: Image) -> None:
        self._image = image
        self.shape = (image.shape[0], image.shape[1], image.shape[2])

    def rows(self, top: int, bottom: int) -> NDArray[Any]:
        """A view."""
        return self._image[top:bottom]


class _Scaled(Windows):
    """Bands in the file's depth, brought to 8 bits by the rule of `pixels.to_uint8` over the whole image."""

    def __init__(self, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> None:
        self.shape, self.dtype = shape, dtype
        self._scale: tuple[float, float] | None = None

    def _as_bytes(self, pixels: NDArray[Any]) -> Image:
        if self.dtype == np.uint8:
            return np.ascontiguousarray(pixels, np.uint8)
        if self.dtype == np.bool_:
            return pixels.astype(np.uint8) * np.uint8(255)
        if self._scale is None:
            ranges = [value_range(band) for band in self._bands()]
            low, high = min(r[0] for r in ranges), max(r[1] for r in ranges)
            self._scale = scale_of(self.dtype, low, high)
        return scaled(pixels, *self._scale)

    def _bands(self) -> Iterator[NDArray[Any]]:
        height, width, bands = self.shape
        step = max(1, BAND // max(1, width * bands * self.dtype.itemsize))
        return (self.rows(top, min(top + step, height)) for top in range(0, height, step))


class _Flat(_Scaled):
    """Rows that lie one after the other in a file, uncompressed."""

    def __init__(
        self, path: Path, offset: int, shape: tuple[int, int, int], dtype: np.dtype[Any], invert: bool = False
    ) -> None:
        super().__init__(shape, dtype)
        self._path, self._offset, self._invert = path, offset, invert
        self._row = shape[1] * shape[2] * dtype.itemsize

    def rows(self, top: int, bottom: int) -> NDArray[Any]:
        """Read those bytes of the file. Fault if they lie outside it, or it has become shorter."""
        start, count = self._offset + top * self._row, (bottom - top) * self._row
        with open_plain(self._path) as file:
            file.seek(max(0, start))
            data = file.read(count)
        if start < 0 or len(data) != count:
            raise BadImage(self._path, "shorter than its header says")
        pixels = np.frombuffer(data, self.dtype).reshape(bottom - top, *self.shape[1:])
        return np.invert(pixels) if self._invert else pixels


@dataclass(frozen=True)
class _Parts:
    """The strips or tiles of a page: their size, how many lie side by side, and how many make one plane."""

    height: int
    width: int
    across: int
    plane: int
    planes: int


class _Compressed(_Scaled):
    """Strips or tiles of a TIFF page, decoded when a band of rows touches them."""

    def __init__(self, path: Path, page: tifffile.TiffPage, frame: int) -> None:
        shape = (int(page.imagelength), int(page.imagewidth), int(page.samplesperpixel))
        super().__init__(shape, np.dtype(page.dtype))
        self._path, self._frame = path, frame
        self._parts = _parts_of(page, shape)
        self._invert = int(page.photometric) == 0 and self.dtype.kind == "u"

    def rows(self, top: int, bottom: int) -> NDArray[Any]:
        """Decode the segments that hold these rows. Fault where one is damaged."""
        parts, out = self._parts, np.zeros((bottom - top, *self.shape[1:]), self.dtype)
        lines = range(top // parts.height, (bottom - 1) // parts.height + 1)
        wanted = [
            plane * parts.plane + line * parts.across + column
            for plane in range(parts.planes)
            for line in lines
            for column in range(parts.across)
        ]
        try:
            with open_plain(self._path) as stream, quiet(), tifffile.TiffFile(stream) as file:
                self._fill(out, file, wanted, top)
        except Exception as error:  # noqa: BLE001 a hostile file may fail anywhere inside
            raise BadImage(self._path, f"damaged TIFF ({str(error)[:60]})") from None
        return np.invert(out) if self._invert else out

    def _fill(self, out: NDArray[Any], file: tifffile.TiffFile, wanted: Sequence[int], top: int) -> None:
        page = file.pages[self._frame]
        page = page if isinstance(page, tifffile.TiffPage) else page.aspage()
        extra: dict[str, Any] = {}
        if int(page.compression) in (6, 7, 34892, 33007):
            extra = {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader}
        offsets, counts = page.dataoffsets, page.databytecounts
        where = [(index, offsets[index], counts[index]) for index in wanted]
        for index, offset, count in where:
            file.filehandle.seek(offset)
            data = file.filehandle.read(count) if count else None
            pixels, (plane, _, y, x, _), _ = page.decode(data, index, **extra)
            if pixels is None:
                continue  # a hole: zeros
            self._put(out, np.asarray(pixels)[0], int(y) - top, int(x), int(plane))

    def _put(self, out: NDArray[Any], pixels: NDArray[Any], y: int, x: int, plane: int) -> None:
        """Copy one segment (h, w, samples) to its place, cut to the band and to the image."""
        first, last = max(0, -y), min(len(pixels), len(out) - y)
        if last <= first:
            return
        width = min(pixels.shape[1], self.shape[1] - x)
        bands = slice(plane, plane + 1) if self._parts.planes > 1 else slice(None)
        out[y + first : y + last, x : x + width, bands] = pixels[first:last, :width]


def _parts_of(page: tifffile.TiffPage, shape: tuple[int, int, int]) -> _Parts:
    height, width, bands = shape
    tall = int(page.tilelength) if page.is_tiled else min(int(page.rowsperstrip), height)
    wide = int(page.tilewidth) if page.is_tiled else width
    planes = bands if bands > 1 and int(page.planarconfig) == 2 else 1
    across, down = math.ceil(width / wide), math.ceil(height / tall)
    if tall * wide * bands * np.dtype(page.dtype).itemsize > SEGMENT:
        raise Unreadable("one strip or tile of it is too large; save it in tiles")
    if across * down * planes != len(page.dataoffsets):
        raise Unreadable("damaged TIFF (strips that do not make the image)")
    return _Parts(tall, wide, across, across * down, planes)


def open_windows(path: Path | str, *, max_pixels: int = MAX_PIXELS, frame: int = 0) -> Windows:
    """Open an image for reading band by band.

    `max_pixels` counts for files that have to be decoded whole; above its default, absurd compression is trusted.
    Raises BadImage as `decode` does.
    """
    path = Path(path)
    try:
        found = _by_kind(path, frame, max_pixels <= MAX_PIXELS)
    except Unreadable as error:
        raise BadImage(path, str(error)) from None
    except OSError:
        found = None
    return found or Whole(decode(path, max_pixels=max_pixels, frame=frame).pixels)


def _by_kind(path: Path, frame: int, wary: bool) -> Windows | None:
    with open_plain(path) as stream:
        head = stream.read(16)
        stream.seek(0)
        if kind(head) == "NPY":
            return _npy(path, stream, wary)
        if kind(head) != "TIFF":
            return None
        size = path.stat().st_size
        try:
            with quiet(), tifffile.TiffFile(stream) as file:
                return _tiff(path, file, frame, size if wary else None)
        except Unreadable:
            raise
        except Exception:  # noqa: BLE001 a hostile file may fail anywhere inside; `decode` says what is wrong with it
            return None


def _npy(path: Path, stream: Any, wary: bool) -> Windows | None:
    """Rows of (H, W) or (H, W, C) in C order; other arrays are read whole."""
    try:
        version = npy.read_magic(stream)
        reader = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = reader(stream)
    except Exception:  # noqa: BLE001 a hostile header may fail anywhere inside
        return None
    last = len(shape) == 2 or (len(shape) == 3 and shape[0] >= shape[2])
    if fortran or not last or dtype.kind not in "buif":
        return None
    sides = (int(shape[0]), int(shape[1]), int(shape[2]) if len(shape) == 3 else 1)
    offset, size = stream.tell(), path.stat().st_size
    if math.prod(sides) * dtype.itemsize > size - offset:
        return None
    _checked(sides, size if wary else None)
    return _Flat(path, offset, sides, dtype)


def _tiff(path: Path, file: tifffile.TiffFile, frame: int, size: int | None) -> Windows | None:
    """The page, if its rows can be read apart and mean what `decode` says they mean; None: read it whole."""
    page = file.pages[frame]
    page = page if isinstance(page, tifffile.TiffPage) else page.aspage()
    turned = page.tags.get(_ORIENTATION)
    stacked = (file.is_shaped or file.is_imagej or file.is_ome) and len(file.pages) > 1
    kinds = (0, 1, 2) if int(page.compression) != 7 else (0, 1, 2, 6)
    plain = int(page.photometric) in kinds and int(page.imagedepth) == 1 and page.dtype is not None
    if not plain or stacked or (turned is not None and int(turned.value) != 1):
        return None
    shape = (int(page.imagelength), int(page.imagewidth), int(page.samplesperpixel))
    dtype = np.dtype(page.dtype)
    if dtype.kind not in "buif" or (dtype.kind == "b" or int(page.bitspersample) % 8):
        return None
    _checked(shape, size)
    planar = shape[2] > 1 and int(page.planarconfig) == 2
    if page.is_contiguous and not planar:
        offset = int(page.dataoffsets[0])
        if offset + math.prod(shape) * dtype.itemsize > path.stat().st_size:
            raise Unreadable("truncated TIFF")
        invert = int(page.photometric) == 0 and dtype.kind == "u"
        return _Flat(path, offset, shape, dtype.newbyteorder(file.byteorder), invert)
    return _Compressed(path, page, frame)


def _checked(shape: tuple[int, int, int], size: int | None) -> None:
    """Refuse sizes that no file of `size` bytes (None: trusted) holds in earnest, before anything is allocated."""
    height, width, bands = shape
    if min(shape) < 1 or height * width > LARGEST or width * bands > SEGMENT:
        raise Unreadable(f"{width}x{height}, which is no size of an image")
    if size is not None:
        Limit(MAX_PIXELS, size).check_ratio(height, width, bands)
