"""PASCAL VOC 2012: photos with masks of 20 classes, and what is in each photo as image-level labels."""

from __future__ import annotations

import pickletools
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from decoupe.data.layouts.base import Dataset, Layout, Missing, Sample, file, folder, images, lines, with_keys

CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
"""In the order of the masks' values."""
SPLITS = ("train", "val", "test")
_OBJECT = re.compile(r"<object>(.*?)</object>", re.S)
_PART = re.compile(r"<part>.*?</part>", re.S)
_NAME = re.compile(r"<name>\s*([^<]*?)\s*</name>")


def from_annotation(path: Path) -> frozenset[str]:
    """The classes of the objects in an Annotations/*.xml, those marked as difficult too. Nothing in it is expanded."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise Missing(f"{path.name} unreadable ({type(error).__name__})") from None
    names = (_NAME.search(_PART.sub("", one)) for one in _OBJECT.findall(text))
    return frozenset(name[1] for name in names if name is not None) & frozenset(CLASSES)


def from_lists(main: Path) -> dict[str, frozenset[str]]:
    """Image name -> classes from ImageSets/Main/CLASS_*.txt (1 there, 0 difficult, -1 not there)."""
    found: dict[str, set[str]] = {}
    for name in CLASSES[1:]:
        for path in sorted(main.glob(f"{name}_*.txt")):
            for row in lines(path):
                tags = found.setdefault(row[0], set())
                if len(row) > 1 and row[1] in ("0", "1"):
                    tags.add(name)
    return {image: frozenset(tags) for image, tags in found.items()}


def from_labels(path: Path) -> dict[str, frozenset[str]]:
    """Image name -> classes from cls_labels.npy, a pickled dictionary of 20 zeros and ones for each image.

    The file's operations are listed, not run: each text of the form 2007_000032 names the 20 numbers that follow it.
    """
    found: dict[str, frozenset[str]] = {}
    name = None
    try:
        content = path.read_bytes()
        for _, value, _ in pickletools.genops(content[content.index(b"\n") + 1 :]):
            if isinstance(value, str) and re.fullmatch(r"\d{4}_\d{6}", value):
                name = value
            elif isinstance(value, bytes) and len(value) in (80, 160) and name is not None:
                present = np.frombuffer(value, np.float32 if len(value) == 80 else np.float64)
                found[name] = frozenset(CLASSES[1 + int(i)] for i in np.flatnonzero(present == 1))
                name = None
    except (OSError, ValueError) as error:
        raise Missing(f"{path.name} unreadable ({type(error).__name__})") from None
    if not found:
        raise Missing(f"{path.name} without labels of images")
    return found


def _tags(root: Path, top: Path, names: Iterable[str]) -> dict[str, frozenset[str]]:
    """Image name -> classes: from cls_labels.npy, else the annotations, else the lists; empty where there are none."""
    for place in dict.fromkeys((root, top, top / "ImageSets", top.parent)):
        if (place / "cls_labels.npy").is_file():
            return from_labels(place / "cls_labels.npy")
    if (top / "Annotations").is_dir():
        paths = ((name, top / "Annotations" / f"{name}.xml") for name in names)
        return {name: from_annotation(path) for name, path in paths if path.is_file()}
    main = top / "ImageSets/Main"
    return from_lists(main) if main.is_dir() else {}


def voc2012(root: Path) -> Dataset:
    """The folder VOC2012, VOCdevkit, or the one that holds it. Photos in no list of the segmentation are unlabelled."""
    top = next((root / place for place in ("VOCdevkit/VOC2012", "VOC2012", ".") if (root / place).is_dir()), root)
    photos = images(folder(top, "JPEGImages"))
    masks = images(folder(top, "SegmentationClass", "SegmentationClassAug"))
    lists = top / "ImageSets/Segmentation"
    file(lists, "val.txt", "train.txt")
    splits = {
        row[0]: split for split in SPLITS if (lists / f"{split}.txt").is_file() for row in lines(lists / f"{split}.txt")
    }
    if absent := next((name for name in splits if name not in photos), None):
        raise Missing(f"no image {absent}, which is in a list")
    tags = _tags(root, top, photos)
    samples = []
    for (name, path), key in zip(photos.items(), with_keys(photos), strict=True):
        truth = masks.get(name) if name in splits else None
        samples.append(Sample(key, path, splits.get(name, "unlabelled"), truth, tags=tags.get(name)))
    return Dataset("voc2012", root, CLASSES, samples, "20 classes and background, 255 void; official train and val")


LAYOUTS = {
    "voc2012": Layout(
        "[VOCdevkit/]VOC2012/{JPEGImages/*.jpg, SegmentationClass/*.png, ImageSets/Segmentation/{train,val}.txt}",
        voc2012,
    )
}
