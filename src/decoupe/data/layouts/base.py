"""What every layout is made of: samples, a data set, and the search for its files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from decoupe.data.decode import conform, image_size, read_image, read_mask
from decoupe.data.keys import keys
from decoupe.data.sources import READ, Item
from decoupe.errors import Fault, UsageFault
from decoupe.types import InstanceMap, Labels

SPLITS = ("train", "val", "test", "unlabelled", "all")
HELD_OUT = ("val", "test")
"""Splits that are kept for scoring."""


@dataclass(frozen=True)
class Sample:
    """One image of a data set, perhaps with its ground truth."""

    key: str
    """Unique safe relative stem."""
    image: Path
    split: str
    """train, val, test, unlabelled or all."""
    truth: Path | None = None
    """The file `mask` reads, or None."""
    box: tuple[float, float, float, float] | None = None
    """x0, y0, x1, y1 in pixels of the upright image, right and lower ends exclusive."""
    reader: Callable[[Path], Labels] = field(default=read_mask, repr=False, compare=False)
    """Turns the truth file (or folder) into class ids."""
    instance_reader: Callable[[Path], InstanceMap] | None = field(default=None, repr=False, compare=False)
    """Turns the truth into instance ids; None where the data set tells no instances apart."""
    tags: frozenset[str] | None = None
    """Names of the classes that are in the image, from the data set's own lists; None where it has none."""

    def mask(self) -> Labels:
        """(H, W) int64 class ids in the image's frame, 255 void.

        Raises:
            Fault: there is no truth, or its size is not the image's.
        """
        if self.truth is None:
            raise Fault("a labelled image", f"{self.image} without a mask", "choose a split with labels")
        labels = self.reader(self.truth)
        self._fits(labels.shape)
        return labels

    def instances(self) -> InstanceMap:
        """(H, W) int32 instance ids in the image's frame: 0 background, 1, 2, ..., -1 void.

        Raises:
            Fault: there is no truth, or no instances in it, or its size is not the image's.
        """
        if self.truth is None or self.instance_reader is None:
            raise Fault(
                "an image with a mask of each object", f"{self.image} without", "choose another split or data set"
            )
        labels = self.instance_reader(self.truth)
        self._fits(labels.shape)
        return labels

    def _fits(self, shape: tuple[int, ...]) -> None:
        """Fault unless the truth has the image's size."""
        (height, width), (rows, columns) = image_size(self.image), shape
        if (height, width) != (rows, columns):
            raise Fault(
                "masks the size of their images",
                f"mask {columns}x{rows} ({self.truth}) for {self.image} ({width}x{height})",
                "resize the mask, or remove it",
            )


@dataclass(frozen=True)
class Dataset:
    """A data set in its official layout."""

    name: str
    root: Path
    classes: tuple[str, ...]
    """Class names; index = class id, background first."""
    samples: Sequence[Sample]
    protocol: str
    """One sentence: what is scored and how the splits were made."""

    def split(self, name: str | None = None) -> tuple[str, list[Sample]]:
        """The labelled samples of a split, and the split's name.

        Args:
            name: a split, or None for test where it has labels, else val, else every labelled image ("all").

        Raises:
            Fault: no such split, or no label in it.
        """
        labelled = [sample for sample in self.samples if sample.truth is not None]
        known = list(dict.fromkeys(sample.split for sample in self.samples))
        if name not in (None, "all", *known):
            raise Fault(f"a split of {self.name} ({', '.join(known)})", repr(name), "choose one of them")
        for choice in ("test", "val", "all") if name is None else (name,):
            chosen = labelled if choice == "all" else [sample for sample in labelled if sample.split == choice]
            if chosen:
                return choice or "all", chosen
        where = f"no mask in split {name}" if name else "no mask at all"
        raise Fault(f"labelled images in {self.root}", where, f"choose another split ({', '.join(known)}) or data set")

    def to_fit(self, name: str) -> list[Sample]:
        """The samples, with or without labels, that a method may look at.

        Args:
            name: "train" = all but those of the val and test splits (unlabelled images too); "all" = every one; else
                the split of that name.

        Raises:
            UsageFault: no image is in it.
        """
        chosen = [s for s in self.samples if name in (s.split, "all") or (name == "train" and s.split not in HELD_OUT)]
        if not chosen:
            known = ", ".join(dict.fromkeys(["train", *(s.split for s in self.samples), "all"]))
            raise UsageFault(f"--split to be one of {known} for {self.root}", repr(name), "choose one that has images")
        return chosen


@dataclass(frozen=True)
class Layout:
    """How to open one kind of data set."""

    tree: str
    """The files it needs, for people."""
    open: Callable[[Path], Dataset]
    stream: Callable[[Path, str], Sequence[Item] | None] | None = None
    """Photos to fit on by `Dataset.to_fit`'s names, where they are too many for a list of samples; None: no image."""


class Missing(Exception):
    """Something a layout needs is not there (a short phrase); `open_dataset` adds the expected tree."""


def folder(root: Path, *names: str) -> Path:
    """The first of some sub-folders that exists. Raises `Missing`."""
    for name in names:
        if (root / name).is_dir():
            return root / name
    raise Missing(f"no folder {names[0]}/")


def file(root: Path, *names: str) -> Path:
    """The first of some files that exists. Raises `Missing`."""
    for name in names:
        if (root / name).is_file():
            return root / name
    raise Missing(f"no file {names[0]}")


def images(root: Path) -> dict[str, Path]:
    """Image files below a folder by their relative path without suffix, sorted. Raises `Missing` if there is none.

    Of several files with one stem the first by name is taken.
    """
    found: dict[str, Path] = {}
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() in READ and not path.name.startswith("."):
            found.setdefault(path.relative_to(root).with_suffix("").as_posix(), path)
    if not found:
        raise Missing(f"no image in {root.name}/")
    return found


def lines(path: Path) -> list[list[str]]:
    """The words of each line that is not empty. Raises `Missing` when it cannot be read."""
    try:
        return [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise Missing(f"{path.name} unreadable ({type(error).__name__})") from None


def numbers(path: Path, *names: str) -> list[NDArray[np.int64]]:
    """Integer vectors of a MATLAB file, by name. Raises `Missing` when the file is damaged or lacks one."""
    from scipy.io import loadmat

    try:
        content = loadmat(path, variable_names=names)
        return [np.asarray(content[name]).astype(np.int64).ravel() for name in names]
    except KeyError as error:
        raise Missing(f"{path.name} without {error}") from None
    except Exception as error:  # noqa: BLE001 a damaged file makes scipy raise anything
        raise Missing(f"{path.name} unreadable ({type(error).__name__})") from None


def number(stem: str) -> int:
    """The digits at the end of a stem: image_0042 -> 42. Raises `Missing`."""
    digits = stem[len(stem.rstrip("0123456789")) :]
    if not digits:
        raise Missing(f"no number in the file name {stem}")
    return int(digits)


def with_keys(names: Iterable[str]) -> list[str]:
    """Safe unique keys of relative stems."""
    return keys([f"{name}.x" for name in names])


def thirds(names: Sequence[str], shares: Sequence[int], splits: Sequence[str]) -> dict[str, str]:
    """Divide names into splits of given sizes (or those proportions, when the count differs), once and for all.

    The order is that of the names' sha256, so it is the same everywhere and independent of what else is there.
    """
    order = sorted(names, key=lambda name: hashlib.sha256(name.encode(errors="surrogatepass")).digest())
    total, out, begin = sum(shares), dict[str, str](), 0
    for position, split in enumerate(splits):
        end = round(len(order) * sum(shares[: position + 1]) / total)
        out.update(dict.fromkeys(order[begin:end], split))
        begin = end
    return out


def above_half(path: Path) -> Labels:
    """Grey mask, photographed or averaged over annotators: 1 where it is above 127, else 0."""
    return np.asarray(conform(read_image(path), 1)[..., 0] > 127, dtype=np.int64)
