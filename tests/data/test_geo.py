"""Pixel sizes and georeference go in and out: GeoTIFF, OME, ImageJ; damaged tags are as good as none."""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow

from decoupe.data.geo import GEO_TAGS, KEYS, SCALE, TIEPOINTS, TRANSFORM, Geo, read_geo
from decoupe.data.sources import Item
from decoupe.export.jobs import geo_of
from decoupe.segment import segment
from tests.bright import Bright

UTM = (1, 1, 0, 4, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32633, 1026, 34737, 12, 0)
FEET = (1, 1, 0, 3, 1024, 0, 1, 1, 3072, 0, 1, 2263, 3076, 0, 1, 9003)
DEGREES = (1, 1, 0, 2, 1024, 0, 1, 2, 2048, 0, 1, 4326)
UNKNOWN = (1, 1, 0, 2, 1024, 0, 1, 1, 3072, 0, 1, 2263)


def georeferenced(path: Path, keys: tuple[int, ...], transform: bool = False, bands: int = 3, **options: Any) -> None:
    """A GeoTIFF of noise with a bright square; pixels of 0.5 x 0.25."""
    image = np.random.default_rng(0).integers(0, 60, (60, 80, bands)).astype(np.uint8)
    image[20:40, 30:50] += 160
    matrix = (0.4, 0.15, 0, 400000.0, 0.3, -0.2, 0, 5000000.0, 0, 0, 0, 0, 0, 0, 0, 1)
    tags: list[Any] = [(TRANSFORM, 12, 16, matrix, True)] if transform else [
        (SCALE, 12, 3, (0.5, 0.25, 0.0), True), (TIEPOINTS, 12, 6, (0.0, 0, 0, 400000.25, 5000000.5, 0), True),
    ]  # fmt: skip
    tags += [(KEYS, 3, len(keys), keys, True), (34737, 2, 13, "WGS 84 / 33N|", True)]
    tifffile.imwrite(path, image, photometric="rgb", extratags=tags, metadata=None, **options)


@pytest.mark.parametrize(
    ("keys", "unit"), [(UTM, "m"), (FEET, "ft (US survey)"), (DEGREES, "degree"), (UNKNOWN, "")], ids=str
)
def test_a_geotiff_says_its_unit_or_nothing(tmp_path: Path, keys: tuple[int, ...], unit: str) -> None:
    georeferenced(tmp_path / "a.tif", keys)
    found = read_geo(tmp_path / "a.tif")
    assert found is not None and (found.width, found.height, found.unit) == (0.5, 0.25, unit)
    assert found.area == 0.125


def test_a_rotated_grid_has_pixels_of_the_length_of_its_axes(tmp_path: Path) -> None:
    georeferenced(tmp_path / "a.tif", UTM, transform=True)
    found = read_geo(tmp_path / "a.tif")
    assert found is not None and (found.width, found.height) == pytest.approx((0.5, 0.25))


@pytest.mark.parametrize("tile", [None, 64])
@pytest.mark.parametrize("transform", [False, True])
def test_the_georeference_is_in_the_masks_too(tmp_path: Path, transform: bool, tile: int | None) -> None:
    georeferenced(tmp_path / "a.tif", UTM, transform, compression="zlib")
    segment(Bright(), tmp_path / "a.tif", tmp_path / "out", ("tiff", "csv"), tile=tile)
    assert read_geo(tmp_path / "out" / "a.tif") == read_geo(tmp_path / "a.tif")
    with Pillow.open(tmp_path / "a.tif") as photo, Pillow.open(tmp_path / "out" / "a.tif") as mask:
        assert photo.size == mask.size
        for code in GEO_TAGS:
            assert photo.tag_v2.get(code) == mask.tag_v2.get(code), code
    with (tmp_path / "out" / "measures.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["unit"] for row in rows] == ["m", "m"]
    for row in rows:
        assert float(row["area"]) == pytest.approx(int(row["pixels"]) * 0.125, rel=1e-6)


def test_asked_by_many_threads_at_once_every_photo_has_its_place(tmp_path: Path) -> None:
    georeferenced(tmp_path / "a.tif", UTM)

    class Slow(list[Item]):
        def __iter__(self) -> Iterator[Item]:
            for item in super().__iter__():
                time.sleep(0.002)
                yield item

    items = Slow(Item(tmp_path / "a.tif", str(number)) for number in range(20))
    geo = geo_of(items)
    with ThreadPoolExecutor(8) as pool:
        assert None not in list(pool.map(geo, [item.key for item in items][::-1]))


def test_another_reader_finds_the_same_place(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio", reason="rasterio is not installed: pip install rasterio")
    georeferenced(tmp_path / "a.tif", UTM)
    segment(Bright(), tmp_path / "a.tif", tmp_path / "out", "tiff")
    with rasterio.open(tmp_path / "a.tif") as photo, rasterio.open(tmp_path / "out" / "a.tif") as mask:
        assert photo.crs == mask.crs and photo.crs.to_epsg() == 32633
        assert photo.transform == mask.transform and photo.bounds == mask.bounds


def test_ome_sizes(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 255, (40, 50)).astype(np.uint8)
    sizes = {"PhysicalSizeX": 0.325, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.65, "PhysicalSizeYUnit": "µm"}
    tifffile.imwrite(tmp_path / "a.ome.tif", image, photometric="minisblack", metadata={"axes": "YX", **sizes})
    found = read_geo(tmp_path / "a.ome.tif")
    assert found == Geo(0.325, 0.65, "µm")
    segment(Bright(), tmp_path / "a.ome.tif", tmp_path / "out", "tiff")
    (mask,) = (tmp_path / "out").glob("*.tif")
    assert read_geo(mask) == found
    with tifffile.TiffFile(mask) as file:
        across, along = file.pages[0].tags[282].value, file.pages[0].tags[283].value
        assert int(file.pages[0].tags[296].value) == 3
        assert across[0] / across[1] == pytest.approx(1e4 / 0.325) and along[0] / along[1] == pytest.approx(1e4 / 0.65)


@pytest.mark.parametrize(("unit", "shown"), [("um", "µm"), ("micron", "µm"), ("\\u00B5m", "µm"), ("mm", "mm")])
def test_imagej_sizes(tmp_path: Path, unit: str, shown: str) -> None:
    image = np.zeros((40, 50), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", image, imagej=True, resolution=(4.0, 2.0), metadata={"unit": unit})
    found = read_geo(tmp_path / "a.tif")
    assert found is not None and (found.width, found.height, found.unit) == (0.25, 0.5, shown)


def test_dots_per_inch_are_for_printers_and_centimetres_are_not(tmp_path: Path) -> None:
    image = np.zeros((40, 50), np.uint8)
    tifffile.imwrite(tmp_path / "dpi.tif", image, resolution=(300, 300), resolutionunit="INCH", metadata=None)
    tifffile.imwrite(tmp_path / "cm.tif", image, resolution=(50, 20), resolutionunit="CENTIMETER", metadata=None)
    Pillow.fromarray(image).save(tmp_path / "a.jpg", dpi=(300, 300))
    assert read_geo(tmp_path / "dpi.tif") is None and read_geo(tmp_path / "a.jpg") is None
    assert read_geo(tmp_path / "cm.tif") == Geo(0.02, 0.05, "cm")


@pytest.mark.parametrize("value", [(0.0, 0.25, 0.0), (float("nan"), 1.0, 0.0), (-1.0, 1.0, 0.0), (float("inf"), 1, 0)])
def test_sizes_that_are_none_are_left_out(tmp_path: Path, value: tuple[float, ...]) -> None:
    tags = [(SCALE, 12, 3, value, True), (KEYS, 3, len(UTM), UTM, True)]
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((20, 20), np.uint8), extratags=tags, metadata=None)
    assert read_geo(tmp_path / "a.tif") is None


def test_damaged_tags_cost_nothing_but_themselves(tmp_path: Path) -> None:
    """Every byte of the tags changed in turn: a size or none, never an error."""
    georeferenced(tmp_path / "a.tif", UTM)
    data = (tmp_path / "a.tif").read_bytes()
    end = next(index for index in range(8, len(data)) if data[index : index + 13] == b"WGS 84 / 33N|") + 16
    for index in range(4, min(end, 600), 3):
        broken = bytearray(data)
        broken[index] ^= 0xFF
        (tmp_path / "b.tif").write_bytes(broken)
        found = read_geo(tmp_path / "b.tif")
        assert found is None or found.area > 0
    for cut in range(0, 400, 7):
        (tmp_path / "b.tif").write_bytes(data[:cut])
        assert read_geo(tmp_path / "b.tif") is None or cut > 100
