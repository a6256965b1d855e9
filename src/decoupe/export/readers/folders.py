"""Folders of masks: PASCAL VOC, and indexed PNG (those of `decoupe segment` carry the names)."""

from __future__ import annotations

import json
import shlex
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np

from decoupe.data.decode import read_image, read_mask
from decoupe.data.paths import inside
from decoupe.errors import Fault
from decoupe.export import panoptic
from decoupe.export.png import SIGNATURE, TEXT
from decoupe.export.readers.base import REMEDY, Annotated, Masks, refusing
from decoupe.export.voc import FOLDER, VOID_COLOUR
from decoupe.types import VOID, Labels

VOC = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
"""Classes of VOC 2012, which its folder does not name."""


def read_voc(folder: Path) -> Masks:
    """Label maps of `SegmentationClass/`, those that the lists in `ImageSets/Segmentation/` name, or all without lists.

    With a `labelmap.txt` colours decide, and VOC's void colour is 255; without one the numbers of the files do.
    Fault in one line on a colour that is not in the table, a name that leads outside, or a malformed table.
    """
    table = folder / "labelmap.txt"
    with refusing("a VOC folder", folder):
        names, colours = _labelmap(table) if table.is_file() else (VOC, {})
        masks = folder / "SegmentationClass"
        lists = sorted((folder / "ImageSets" / "Segmentation").glob("*.txt"))
        keys = [key for one in lists for key in _listed(one)] if lists else _stems(masks)
        images = [Annotated(key, _voc_labels(inside(masks, key + ".png"), colours)) for key in dict.fromkeys(keys)]
        return Masks(names, tuple(images))


def _listed(path: Path) -> list[str]:
    """First word of every line; a name with spaces is in double quotes."""
    keys = []
    for line in path.read_text(encoding="utf-8-sig").splitlines():
        words = shlex.split(line) if line.lstrip().startswith('"') else line.split()
        keys += words[:1]
    return keys


def _stems(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.png"))


def _labelmap(path: Path) -> tuple[tuple[str, ...], dict[int, int]]:
    """Names by number, and number by colour r << 16 | g << 8 | b."""
    names, colours = list[str](), {_packed(VOID_COLOUR): VOID}
    for line in path.read_text(encoding="utf-8-sig").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        name, colour, *_ = line.split(":")
        red, green, blue = (int(channel) for channel in colour.split(","))
        if not all(0 <= channel <= 255 for channel in (red, green, blue)):
            raise Fault("colours of 0 to 255", f"{colour:.40}", REMEDY)
        colours[_packed((red, green, blue))] = len(names)
        names.append(name.strip())
    return tuple(names), colours


def _packed(colour: tuple[int, int, int]) -> int:
    return colour[0] << 16 | colour[1] << 8 | colour[2]


def _voc_labels(path: Path, colours: dict[int, int]) -> Callable[[], Labels]:
    if not colours:
        return lambda: read_mask(path)

    def labels() -> Labels:
        red, green, blue = (channel.astype(np.int64) for channel in np.moveaxis(_rgb(path), 2, 0))
        found, where = np.unique(red << 16 | green << 8 | blue, return_inverse=True)
        unknown = [value for value in found.tolist() if value not in colours]
        if unknown:
            shown = ",".join(str(unknown[0] >> shift & 255) for shift in (16, 8, 0))
            raise Fault("colours of labelmap.txt", f"{shown} in {path.name}", "add its line to labelmap.txt")
        return np.asarray([colours[value] for value in found.tolist()], np.int64)[where].reshape(red.shape)

    return labels


def _rgb(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    pixels = read_image(path)
    return pixels if pixels.shape[2] == 3 else np.repeat(pixels[..., :1], 3, axis=2)


def read_png(path: Path) -> Masks:
    """Label maps of an indexed PNG, or of all of a folder. Names are those the files carry, which must agree."""
    root = path if path.is_dir() else path.parent
    files = [path]
    if path.is_dir():
        others = {FOLDER[:-1], panoptic.PanopticWriter.FOLDER[:-1]}
        files = sorted(file for file in path.rglob("*.png") if not others & set(file.relative_to(path).parts))
    if not files:
        raise Fault("masks as PNG", f"none in {path}", "check the path")
    found = {file: png_names(file) for file in files}
    different = {names for names in found.values() if names}
    if len(different) > 1:
        raise Fault("masks of one model", f"{path.name} with several sets of names", "read them one by one")
    images = [Annotated(file.relative_to(root).with_suffix("").as_posix(), _mask(file)) for file in files]
    return Masks(next(iter(different), ()), tuple(images))


def _mask(path: Path) -> Callable[[], Labels]:
    return lambda: read_mask(path)


def png_names(path: Path) -> tuple[str, ...]:
    """Region names that `segment --format png` wrote into a file; () where there are none."""
    try:
        with path.open("rb") as file:
            if file.read(8) != SIGNATURE:
                return ()
            while len(head := file.read(8)) == 8:
                length, kind = struct.unpack(">I4s", head)
                if kind == b"IDAT" or length > 1 << 24:
                    return ()
                data = file.read(length)
                file.seek(4, 1)
                if kind == b"tEXt" and data.startswith(TEXT + b"\0"):
                    names = json.loads(data[len(TEXT) + 1 :])
                    return tuple(str(name) for name in names) if isinstance(names, list) else ()
    except (OSError, ValueError, RecursionError):
        return ()
    return ()
