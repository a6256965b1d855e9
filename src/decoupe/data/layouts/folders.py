"""Plain folders with masks: `masks` (yours) and `synth` (built in)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from decoupe.data.decode import read_mask
from decoupe.data.layouts.base import (
    SPLITS,
    Dataset,
    Layout,
    Missing,
    Sample,
    above_half,
    file,
    folder,
    images,
    with_keys,
)
from decoupe.types import VOID, InstanceMap

_SCANNED = 2000


def masks(root: Path) -> Dataset:
    """images/ and masks/ with equal stems, sub-folders included; images without a mask are `unlabelled`.

    Masks hold class numbers, 255 = void. When the only values are 0 and 255, or masks are JPEGs, then the object is
    what lies above 127. A first folder named train, val or test is the split. Names: classes.json or classes.txt.
    """
    photos, truths = images(folder(root, "images")), images(folder(root, "masks"))
    paired = [stem for stem in photos if stem in truths]
    if not paired:
        raise Missing(f"no stem in both images/ ({next(iter(photos))}...) and masks/ ({next(iter(truths))}...)")
    values = values_of([truths[stem] for stem in paired])
    two = (
        values <= {0, VOID}
        and VOID in values
        or any(truths[stem].suffix.lower() in (".jpg", ".jpeg") for stem in paired)
    )
    names = class_names(root)
    highest = 1 if two else max(values - {VOID}, default=0)
    if names is None:
        names = ("background", "object") if highest <= 1 else tuple(f"class {i}" for i in range(highest + 1))
    elif highest >= len(names):
        raise Missing(f"masks go up to {highest}, but only {len(names)} classes are named")
    samples = [
        Sample(key, path, _split(stem, stem in truths), truths.get(stem), reader=above_half if two else read_mask)
        for (stem, path), key in zip(photos.items(), with_keys(photos), strict=True)
    ]
    rule = "masks above 127 are the object" if two else "masks hold class numbers, 255 = void"
    return Dataset("masks", root, names, samples, rule)


def _split(stem: str, labelled: bool) -> str:
    first = stem.split("/")[0]
    if first in SPLITS and "/" in stem:
        return first
    return "all" if labelled else "unlabelled"


def values_of(paths: Sequence[Path]) -> set[int]:
    """All values in the masks (at most 2,000 of them, evenly spread)."""
    found: Counter[int] = Counter()
    for path in paths[:: max(1, len(paths) // _SCANNED)]:
        if path.suffix.lower() not in (".jpg", ".jpeg"):
            found.update(np.unique(read_mask(path)).tolist())
    if len(found) > 256 or any(value < 0 for value in found):
        raise Missing("masks without class numbers 0..255")
    return set(found)


def class_names(root: Path) -> tuple[str, ...] | None:
    """Class names of classes.json (a list, or an object with `classes`) or classes.txt (one a line)."""
    try:
        if (root / "classes.json").is_file():
            content = json.loads((root / "classes.json").read_text(encoding="utf-8"))
            content = content["classes"] if isinstance(content, dict) else content
            return tuple(str(name) for name in content)
        if (root / "classes.txt").is_file():
            return tuple(n for n in (root / "classes.txt").read_text(encoding="utf-8").splitlines() if n.strip())
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise Missing(f"class names unreadable ({type(error).__name__})") from None
    return None


def synth(root: Path) -> Dataset:
    """What `decoupe data synth` writes. Its boxes are in boxes.csv, for --boxes; samples are whole images."""
    photos = images(folder(root, "images"))
    truths = images(root / "masks") if (root / "masks").is_dir() else {}
    file(root, "classes.json")
    names = class_names(root) or ("background", "object")
    samples = [
        Sample(key, path, "all" if stem in truths else "unlabelled", truths.get(stem), instance_reader=_synth_instances)
        for (stem, path), key in zip(photos.items(), with_keys(photos), strict=True)
    ]
    return Dataset("synth", root, names, samples, "exact masks of the built-in images; no split: all images")


def _synth_instances(mask: Path) -> InstanceMap:
    """The instance ids that lie beside a mask of the built-in images."""
    return read_mask(mask.parents[1] / "instances" / mask.name).astype(np.int32)


LAYOUTS = {
    "masks": Layout("images/NAME.jpg, masks/NAME.png (equal names; classes.txt optional)", masks),
    "synth": Layout("images/NNNNNN.png, masks/NNNNNN.png, classes.json (decoupe data synth)", synth),
}
