"""Masks that other tools wrote, to label maps: COCO, CVAT, Label Studio, VOC folders, indexed PNG."""

from __future__ import annotations

from pathlib import Path

from decoupe.errors import Fault
from decoupe.export.readers.base import Annotated, Masks
from decoupe.export.readers.coco import read_coco
from decoupe.export.readers.cvat import read_cvat
from decoupe.export.readers.folders import read_png, read_voc
from decoupe.export.readers.labelstudio import read_labelstudio

__all__ = [
    "Annotated", "Masks", "read_coco", "read_cvat", "read_labelstudio", "read_masks", "read_png", "read_voc",
]  # fmt: skip


def read_masks(path: str | Path) -> Masks:
    """Masks of a file or folder, told apart by what it is: .xml CVAT, .json COCO or Label Studio, else VOC or PNG.

    Fault in one line on anything else, or malformed.
    """
    path = Path(path)
    if path.is_dir():
        return read_voc(path) if (path / "SegmentationClass").is_dir() else read_png(path)
    suffix = path.suffix.lower()
    if suffix == ".xml":
        return read_cvat(path)
    if suffix == ".png":
        return read_png(path)
    if suffix == ".json":
        return read_labelstudio(path) if _starts_a_list(path) else read_coco(path)
    raise Fault("masks as COCO, CVAT, Label Studio, VOC or PNG", f"{path.name:.80}", "export them as one of these")


def _starts_a_list(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4096).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")
    except OSError:
        return False
