"""Label maps that a stage of training learns from, as pictures in the run folder: to look at, and to use again."""

from __future__ import annotations

import errno
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from decoupe.data.decode import read_mask
from decoupe.data.paths import inside
from decoupe.engine.files import sync_folder
from decoupe.errors import Fault
from decoupe.export.palette import colours
from decoupe.types import VOID, Labels

NAMED = re.compile(r"[a-z]+(-\d{1,3})?")
"""What such a folder may be called."""
GREY = (128, 128, 128)
"""Colour of what is not known."""
UNNAMED = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST)
"""What a disk says of a name, not of itself: too long, or a file where another name needs a folder."""


def write_labels(folder: Path, keys: Sequence[str], labels: Tensor, names: Sequence[str]) -> None:
    """Replace `folder` by indexed PNGs KEY.png of uint8 (N, h, w) label maps: k the region `names`[k], 255 unknown.

    They are written beside it and renamed as one: a folder that is there is whole. A key that can name no file there is
    passed over. Fault if the disk refuses.
    """
    part = folder.with_name(f".{folder.name}.part")
    palette = np.tile(np.array(GREY, np.uint8), (256, 1))
    shown = np.array(colours(names)[:VOID], np.uint8)
    palette[: len(shown)] = shown
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        for key, one in zip(keys, labels.numpy(), strict=True):
            path = inside(part, f"{key}.png")
            picture = Image.fromarray(one)
            picture.putpalette(palette.tobytes())
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                picture.save(path)
            except OSError as error:
                if error.errno not in UNNAMED:
                    raise
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)
        sync_folder(folder.parent)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        do = "free space, then --resume"
        raise Fault(f"to write {folder}", error.strerror or str(error), do) from error


def read_labels(run: Path, folders: object, key: str, regions: int) -> dict[str, Labels]:
    """Folder -> (h, w) labels of one photo, from those of a run that have it; 255 for what is no region.

    `folders`: what run.json lists; anything but a list of names of such folders is passed over.
    """
    found = {}
    for name in folders if isinstance(folders, list) else []:
        if not isinstance(name, str) or not NAMED.fullmatch(name):
            continue
        try:
            labels = read_mask(inside(run, f"{name}/{key}.png"))
        except Fault:
            continue
        found[name] = np.where((labels >= 0) & (labels < regions), labels, VOID)
    return found
