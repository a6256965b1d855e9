"""Which class does a region stand for? The modes of matching, by name.

hungarian       the best one-to-one choice over the whole set (most right pixels); regions left over count as wrong
majority        every region stands for its most frequent class; several may share one
per-image-flip  the best one-to-one choice for EACH image: an oracle, it reads every image's labels
fit-on-train    the one-to-one choice made on another, labelled set (`--fit-on`), then applied
named           regions stand for the classes that bear their names (as rooms or `decoupe name` gave them); no labels
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from decoupe.clustering import hungarian, many_to_one
from decoupe.errors import UsageFault
from decoupe.evaluate.metrics import Counts, match

Classes = NDArray[np.int64]
"""(K,) class index of each region, -1 for none."""

MATCHINGS: Mapping[str, str] = {
    "hungarian": "one-to-one over the whole set",
    "majority": "each region to its most frequent class",
    "per-image-flip": "best one-to-one for each image (an oracle)",
    "fit-on-train": "one-to-one as chosen on other labelled images",
    "named": "by the regions' names",
}
"""Name -> what it does, in a few words."""

_CHOOSE: Mapping[str, Callable[[Counts], Classes]] = {
    "hungarian": hungarian,
    "majority": many_to_one,
    "fit-on-train": hungarian,
}


def check_matching(name: str, fit_on: str | None) -> None:
    """UsageFault if there is no such mode, or if it and `--fit-on` do not go together."""
    if name not in MATCHINGS:
        raise UsageFault(f"--matching to be one of {', '.join(MATCHINGS)}", repr(name), "choose one of these")
    if name == "fit-on-train" and fit_on is None:
        raise UsageFault(
            "--fit-on NAME:PATH with fit-on-train", "none", "name the labelled set on which to match regions"
        )
    if name not in _CHOOSE and fit_on is not None:
        raise UsageFault(f"no --fit-on with {name}", f"--fit-on {fit_on}", "leave it out: nothing is fitted there")


def by_name(regions: Sequence[str], classes: Sequence[str]) -> Classes:
    """The class that bears each region's name (any case), -1 for none. UsageFault if no name fits."""
    index = {c.casefold(): i for i, c in reversed(list(enumerate(classes)))}
    found = np.array([index.get(name.casefold(), -1) for name in regions], dtype=np.int64)
    if (found < 0).all():
        raise UsageFault(
            f"regions named like the classes ({', '.join(classes)})",
            ", ".join(regions),
            "name them (decoupe name RUN --set 0=...) or choose --matching hungarian",
        )
    return found


def assign(matching: str, confusion: Counts, regions: Sequence[str], classes: Sequence[str]) -> Classes | None:
    """The class of each region, from the (K, C) counts that matching may see; None where it differs by image."""
    if matching == "named":
        return by_name(regions, classes)
    return _CHOOSE[matching](confusion) if matching in _CHOOSE else None


def apply(classes: Classes | None, images: Counts) -> Counts:
    """(N, K, C) counts of each image -> (N, C + 1, C) matched counts; `classes` None matches every image by itself."""
    if classes is not None:
        return match(images, classes)
    rows, count = images.shape[0], images.shape[2]
    matched = [match(image, hungarian(image)) for image in images]
    return np.array(matched, dtype=np.int64).reshape(rows, count + 1, count)
