"""Bands of rows are those of the whole image, whatever the file; what lies about its size is refused unread."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow

from decoupe.data import windows
from decoupe.data.decode import BadImage, read_image
from decoupe.data.windows import open_windows

RNG = np.random.default_rng(0)


def pixels(shape: tuple[int, ...], dtype: Any = np.uint8) -> np.ndarray:
    """Noise over the whole range of a type (floats: -3 to 9)."""
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return RNG.uniform(-3, 9, shape).astype(kind)
    return RNG.integers(0, min(np.iinfo(kind).max, 40_000), shape).astype(kind)


CASES: dict[str, tuple[tuple[int, ...], Any, dict[str, Any]]] = {
    "grey": ((67, 45), np.uint8, {}),
    "rgb": ((67, 45, 3), np.uint8, {"photometric": "rgb"}),
    "strips": ((67, 45, 3), np.uint8, {"photometric": "rgb", "rowsperstrip": 7, "compression": "zlib"}),
    "tiles": ((67, 45, 4), np.uint8, {"photometric": "rgb", "tile": (16, 32), "compression": "zlib"}),
    "predictor": ((67, 45), np.uint16, {"tile": (32, 16), "compression": "lzw", "predictor": True}),
    "jpeg": ((64, 96, 3), np.uint8, {"photometric": "ycbcr", "tile": (32, 32), "compression": "jpeg"}),
    "planar": ((5, 67, 45), np.uint8, {"photometric": "minisblack", "planarconfig": "separate", "tile": (16, 16)}),
    "planar strips": ((3, 67, 45), np.uint16, {"photometric": "rgb", "planarconfig": "separate", "rowsperstrip": 9}),
    "bands": ((67, 45, 6), np.uint16, {"photometric": "minisblack", "planarconfig": "contig", "tile": (16, 16)}),
    "float": ((67, 45), np.float32, {"rowsperstrip": 4}),
    "white is zero": ((67, 45), np.uint8, {"photometric": "miniswhite", "compression": "zlib", "rowsperstrip": 8}),
    "big endian": ((67, 45), np.uint16, {"byteorder": ">"}),
}


@pytest.mark.parametrize("case", CASES)
def test_bands_of_a_tiff_are_those_of_the_whole(tmp_path: Path, case: str) -> None:
    shape, dtype, options = CASES[case]
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels(shape, dtype), metadata=None, **options)
    found, whole = open_windows(path), read_image(path)
    assert not isinstance(found, windows.Whole), "read band by band, not decoded whole"
    assert found.shape == whole.shape
    for top, bottom in [(0, 1), (0, 20), (13, 41), (60, len(whole)), (0, len(whole))]:
        band = found[top:bottom]
        assert band.dtype == np.uint8 and np.array_equal(band, whole[top:bottom]), (top, bottom)
    assert np.array_equal(found.whole(), whole)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.bool_])
@pytest.mark.parametrize("shape", [(33, 20), (33, 20, 5), (3, 33, 20)])
def test_bands_of_numpy_files(tmp_path: Path, shape: tuple[int, ...], dtype: Any) -> None:
    path = tmp_path / "a.npy"
    np.save(path, RNG.random(shape) > 0.5 if dtype == np.bool_ else pixels(shape, dtype))
    found, whole = open_windows(path), read_image(path)
    assert found.shape == whole.shape and np.array_equal(found[5:30], whole[5:30])


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "turned.tif", "stack.tif"])
def test_other_files_are_decoded_whole(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "turned.tif":
        tifffile.imwrite(path, pixels((20, 30, 3)), photometric="rgb", extratags=[(274, 3, 1, 6, True)])
    elif name == "stack.tif":
        tifffile.imwrite(path, pixels((3, 20, 30)), photometric="minisblack", metadata={"axes": "CYX"})
    else:
        Pillow.fromarray(pixels((20, 30, 3))).save(path)
    found, whole = open_windows(path), read_image(path)
    assert isinstance(found, windows.Whole) and np.array_equal(found[3:9], whole[3:9])


def lying(path: Path, width: int, height: int, **options: Any) -> None:
    """A small TIFF whose header claims another size."""
    tifffile.imwrite(path, np.zeros((16, 16), np.uint8), metadata=None, **options)
    data = bytearray(path.read_bytes())
    count = struct.unpack_from("<H", data, 8)[0]
    for entry in range(count):
        at = 10 + 12 * entry
        code, kind = struct.unpack_from("<HH", data, at)
        if code in (256, 257):
            struct.pack_into("<I" if kind == 4 else "<H", data, at + 8, width if code == 256 else height)
    path.write_bytes(data)


@pytest.mark.parametrize("sides", [(65535, 65535), (17, 65535), (65535, 16), (0, 16)])
@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"tile": (16, 16)}])
def test_a_header_that_lies_is_refused_in_one_line(
    tmp_path: Path, sides: tuple[int, int], options: dict[str, Any]
) -> None:
    path = tmp_path / "a.tif"
    lying(path, *sides, **options)
    with pytest.raises(BadImage) as caught:
        open_windows(path)[0:1]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("offset", [-128, -1])
def test_rows_outside_the_file_are_refused(tmp_path: Path, offset: int) -> None:
    """A TIFF whose strip begins before the file does: the type of the tag may have a sign."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels((24, 32)), bigtiff=True, metadata=None)
    data = bytearray(path.read_bytes())
    for at in range(24, 24 + 20 * struct.unpack_from("<Q", data, 16)[0], 20):
        if struct.unpack_from("<H", data, at)[0] == 273:
            struct.pack_into("<HQq", data, at + 2, 17, 1, offset)
    path.write_bytes(data)
    with pytest.raises(BadImage, match="shorter than its header says"):
        open_windows(path)[0:1]


def test_damage_inside_is_refused_when_it_is_met(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels((64, 64)), tile=(32, 32), compression="zlib", metadata=None)
    with tifffile.TiffFile(path) as file:
        offset = file.pages[0].dataoffsets[3]
    data = bytearray(path.read_bytes())
    data[offset : offset + 40] = b"\xff" * 40
    path.write_bytes(data)
    found = open_windows(path)
    assert found[0:32].shape == (32, 64, 1)
    with pytest.raises(BadImage, match="damaged"):
        found[32:64]


def test_a_file_cut_short_after_opening_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, pixels((64, 64)))
    found = open_windows(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(BadImage, match="shorter"):
        found[32:64]
