"""How large a pixel is and where on earth it lies: read from TIFF tags, written back to them.

Three sources are read, the first that is there: GeoTIFF keys, OME's PhysicalSize, ImageJ's resolution with its unit.
Dots per inch are for printers and are not taken for a size; pixels per centimetre are.
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tifffile

from decoupe.data.decode import open_plain
from decoupe.data.readers import quiet
from decoupe.data.sniff import kind

SCALE, TIEPOINTS, TRANSFORM, KEYS, DOUBLES, TEXTS, NODATA = 33550, 33922, 34264, 34735, 34736, 34737, 42113
GEO_TAGS = (SCALE, TIEPOINTS, TRANSFORM, KEYS, DOUBLES, TEXTS)
"""Tags of GeoTIFF that are copied; the value for "no data" is that of the photo's bands, not of labels."""
LONGEST = 1 << 16
"""Values in one tag, at most: a georeference has a few dozen."""
_LINEAR = {9001: "m", 9002: "ft", 9003: "ft (US survey)"}
_PROJECTED, _GEOGRAPHIC = 1, 2
_TYPES = {"H": 3, "d": 12, "s": 2}
_MODEL_TYPE, _LINEAR_UNIT, _SYSTEM = 1024, 3076, 3072
_METRES = ((32601, 32660), (32701, 32760), (25828, 25838), (3857, 3857))
"""EPSG codes that are known to be in metres where a file names no unit: UTM and Web Mercator."""
_ORIENTATION = 274
_DAMAGED = (
    OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, RuntimeError, OverflowError,
    ZeroDivisionError, tifffile.TiffFileError,
)  # fmt: skip
logging.getLogger("tifffile").addHandler(logging.NullHandler())


@dataclass(frozen=True)
class Geo:
    """The size of an image's pixels, and its georeference."""

    width: float
    """Of a pixel, in `unit`, > 0."""
    height: float
    """Of a pixel, in `unit`, > 0."""
    unit: str
    """`m`, `ft`, `degree`, `µm`, `cm`...; "" where the file does not say."""
    tags: tuple[tuple[int, str, Any], ...] = field(default=())
    """GeoTIFF tags as they were: code, type (`d` double, `H` 16 bits, `s` text), value; () without a georeference."""

    @property
    def area(self) -> float:
        """Of a pixel, in `unit` squared."""
        return self.width * self.height


def read_geo(path: Path | str, frame: int = 0) -> Geo | None:
    """What a TIFF says of its pixels; None for other files, where it says nothing, and where its tags are damaged."""
    path = Path(path)
    try:
        with open_plain(path) as stream:
            if kind(stream.read(16)) != "TIFF":
                return None
            stream.seek(0)
            with quiet(), tifffile.TiffFile(stream) as file:
                page = file.pages[frame]
                page = page if isinstance(page, tifffile.TiffPage) else page.aspage()
                turned = page.tags.get(_ORIENTATION)
                if turned is not None and int(turned.value) != 1:
                    return None  # the tags are of the frame as stored, not as seen
                readers: tuple[Callable[[], Geo | None], ...] = (
                    lambda: _geotiff(page), lambda: _ours(page), lambda: _ome(file), lambda: _imagej(file, page),
                    lambda: _centimetres(page),
                )  # fmt: skip
                return next((found for read in readers if (found := read()) is not None), None)
    except _DAMAGED:
        return None
    except Exception as error:  # noqa: BLE001 parsers of hostile files raise anything
        logging.getLogger("tifffile").debug("%s", error)
        return None


def _usable(width: float, height: float, unit: str, tags: tuple[tuple[int, str, Any], ...] = ()) -> Geo | None:
    good = all(math.isfinite(side) and side > 0 for side in (width, height))
    return Geo(width, height, unit, tags) if good else None


def _geotiff(page: tifffile.TiffPage) -> Geo | None:
    tags: list[tuple[int, str, Any]] = []
    for code in GEO_TAGS:
        tag = page.tags.get(code)
        if tag is None:
            continue
        value, form = tag.value, "s" if code == TEXTS else "H" if code == KEYS else "d"
        if form == "s":
            value = str(value)
        else:
            value = tuple(value) if isinstance(value, tuple | list) else (value,)
        if len(value) > LONGEST:
            return None
        tags.append((code, form, value))
    known = {code: value for code, _, value in tags}
    if SCALE in known:
        width, height = float(known[SCALE][0]), float(known[SCALE][1])
    elif TRANSFORM in known:
        a, b, _, _, d, e, *_ = (float(number) for number in known[TRANSFORM])
        width, height = math.hypot(a, d), math.hypot(b, e)
    else:
        return None
    return _usable(width, height, _geo_unit(known.get(KEYS, ())), tuple(tags))


def _geo_unit(keys: tuple[int, ...]) -> str:
    """Unit of the model coordinates from a GeoKeyDirectory; "" where it does not say."""
    short = {keys[i]: keys[i + 3] for i in range(4, len(keys) - 3, 4) if keys[i + 1] == 0}
    model = short.get(_MODEL_TYPE)
    if model == _GEOGRAPHIC:
        return "degree"
    if _LINEAR_UNIT in short:
        return _LINEAR.get(short[_LINEAR_UNIT], "")
    system = short.get(_SYSTEM, 0)
    return "m" if model == _PROJECTED and any(low <= system <= high for low, high in _METRES) else ""


def _ours(page: tifffile.TiffPage) -> Geo | None:
    """What `described` wrote."""
    if not page.description.startswith("{"):
        return None
    pixel = json.loads(page.description[:LONGEST]).get("pixel")
    return None if pixel is None else _usable(float(pixel[0]), float(pixel[1]), _plain(str(pixel[2])))


def described(geo: Geo | None) -> dict[str, Any]:
    """What the description of a label TIFF says of its pixels: {"pixel": [width, height, unit]}."""
    return {} if geo is None else {"pixel": [geo.width, geo.height, geo.unit]}


def _ome(file: tifffile.TiffFile) -> Geo | None:
    if not file.is_ome or not file.ome_metadata:
        return None
    head = file.ome_metadata[: 1 << 20]
    pixels = re.search(r"<(?:\w+:)?Pixels\b[^>]*>", head)
    if pixels is None:
        return None
    found = dict(re.findall(r'\b(PhysicalSize[XY](?:Unit)?)="([^"]*)"', pixels[0]))
    if "PhysicalSizeX" not in found:
        return None
    width = float(found["PhysicalSizeX"])
    unit = found.get("PhysicalSizeXUnit", "µm").replace("&#181;", "µ").replace("\u03bc", "µ")
    return _usable(width, float(found.get("PhysicalSizeY", width)), _plain(unit))


def _resolution(page: tifffile.TiffPage) -> tuple[float, float] | None:
    """Pixels per unit along x and y."""
    values = []
    for code in (282, 283):
        tag = page.tags.get(code)
        if tag is None:
            return None
        value = tag.value
        values.append(value[0] / value[1] if isinstance(value, tuple) else float(value))
    return values[0], values[1]


def _imagej(file: tifffile.TiffFile, page: tifffile.TiffPage) -> Geo | None:
    found = _resolution(page)
    unit = (file.imagej_metadata or {}).get("unit") if file.is_imagej else None
    if found is None or unit is None:
        return None
    text = str(unit).replace("\\u00B5", "µ").replace("\u03bc", "µ").replace("micron", "µm").replace("um", "µm")
    return None if text in ("pixel", "inch") else _usable(1 / found[0], 1 / found[1], _plain(text))


def _centimetres(page: tifffile.TiffPage) -> Geo | None:
    unit, found = page.tags.get(296), _resolution(page)
    if unit is None or int(unit.value) != 3 or found is None:
        return None
    return _usable(1 / found[0], 1 / found[1], "cm")


def _plain(unit: str) -> str:
    """A unit as it may be written into tables: short and printable."""
    return "".join(character for character in unit if character.isprintable())[:16]


def tiff_options(geo: Geo | None) -> dict[str, Any]:
    """Keyword arguments of `tifffile.imwrite` that keep pixel sizes and georeference: of a plain TIFF.

    Sizes without a georeference are kept as the resolution, in pixels per centimetre where the unit is a metric length;
    `described` keeps them exactly.
    """
    if geo is None:
        return {}
    if geo.tags:
        extra = [
            (code, _TYPES[form], len(value) + 1 if form == "s" else len(value), value, True)
            for code, form, value in geo.tags
        ]
        return {"extratags": extra}
    centimetres = {"m": 100.0, "cm": 1.0, "mm": 0.1, "µm": 1e-4, "nm": 1e-7}.get(geo.unit)
    if centimetres is None:
        return {"resolution": (1 / geo.width, 1 / geo.height), "resolutionunit": "NONE"}
    return {
        "resolution": (1 / (geo.width * centimetres), 1 / (geo.height * centimetres)),
        "resolutionunit": "CENTIMETER",
    }
