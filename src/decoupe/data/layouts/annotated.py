"""`annotated`: your photos, and beside them what an annotation tool wrote."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from decoupe.data.layouts.base import Dataset, Layout, Missing, Sample
from decoupe.data.sources import find
from decoupe.errors import Fault
from decoupe.types import Labels

FOLDERS = ("SegmentationClass", "dataset.voc")
FILES = (".xml", ".json")


def annotated(root: Path) -> Dataset:
    """images/ (or photos in the folder itself), and one file of masks: COCO, CVAT, Label Studio, or a VOC folder.

    Names of the classes are the file's. Photos without a mask are `unlabelled`.
    """
    from decoupe.export.readers import read_masks
    from decoupe.export.readers.pairs import pairs

    source = masks_in(root)
    try:
        items = find(root / "images" if (root / "images").is_dir() else root)
    except Fault as fault:
        raise Missing(fault.got) from None
    masks = read_masks(source)
    found = {item.key: one for item, one in pairs(masks, items)}
    samples = [
        Sample(item.key, item.path, "all", source, reader=_labels(found[item.key].labels))
        if item.key in found
        else Sample(item.key, item.path, "unlabelled")
        for item in items
    ]
    names = masks.names or tuple(f"class {i}" for i in range(_highest(found[key].labels() for key in found) + 1))
    return Dataset("annotated", root, names, samples, f"masks of {source.name}, 255 = void")


def masks_in(root: Path) -> Path:
    """The one file or folder of masks below a folder. Raises `Missing` if there is none, or more than one."""
    if (root / "SegmentationClass").is_dir():
        return root
    found = [root / "dataset.voc"] if (root / "dataset.voc" / "SegmentationClass").is_dir() else []
    found += sorted(path for path in root.iterdir() if path.suffix.lower() in FILES and not path.name.startswith("."))
    if len(found) != 1:
        names = ", ".join(path.name for path in found[:4])
        raise Missing(
            f"several files of masks ({names})" if found else "no file of masks (.json, .xml or a VOC folder)"
        )
    return found[0]


def _labels(read: Callable[[], Labels]) -> Callable[[Path], Labels]:
    return lambda _: read()


def _highest(everything: object) -> int:
    from decoupe.types import VOID

    return max((int(labels[labels != VOID].max(initial=0)) for labels in everything), default=0)  # type: ignore[attr-defined]


LAYOUTS = {
    "annotated": Layout(
        "images/ and one file of masks: COCO or Label Studio .json, CVAT .xml, or a VOC folder", annotated
    )
}
