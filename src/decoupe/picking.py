"""Which layers stand for a class: chosen on a labelled half by average precision, averaged where several help."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from decoupe.data.catalogue import Sample
from decoupe.data.decode import read_image
from decoupe.evaluate.metrics import BINS, average_precision
from decoupe.types import VOID, Labels

if TYPE_CHECKING:
    from decoupe.model import Model

Floats = NDArray[np.float32]
BATCH = 32
BETTER = 1.25
"""A layer stands for a class only if it finds it this many times better than chance (its share of the pixels)."""


@dataclass(frozen=True)
class Half:
    """Labelled images as the network sees them."""

    squares: NDArray[np.uint8]
    """(N, C, S, S)."""
    truths: NDArray[np.int64]
    """(N, S, S) class ids, 255 void."""


@dataclass(frozen=True)
class Pick:
    """The layers that were chosen for a class."""

    layers: tuple[int, ...]
    """Indices among the scores."""
    ap: float
    """Average precision of their mean on the half they were chosen on."""


def half(model: Model, samples: Sequence[Sample]) -> Half:
    """Images and truths at the network's size; truths by the nearest pixel."""
    squares, truths = [], []
    for sample in samples:
        squares.append(model.square(read_image(sample.image)))
        truths.append(_shrunk(sample.mask(), squares[0].shape[1]))
    return Half(np.stack(squares), np.stack(truths))


def _shrunk(mask: Labels, side: int) -> Labels:
    """(H, W) -> (S, S), the pixel at each centre."""
    rows, columns = (((np.arange(side) + 0.5) * n / side).astype(np.int64) for n in mask.shape)
    return np.asarray(mask[rows][:, columns])


def masks(model: Model, squares: NDArray[np.uint8], seen: bool = False) -> Floats:
    """(N, K, S, S): the mask m_k of each layer, or what can be `seen` of it. Fault if the room finds no layers."""
    from decoupe.compositing import visible
    from decoupe.layers import decompose

    parts = []
    for first in range(0, len(squares), BATCH):
        found = decompose(model, squares[first : first + BATCH]).masks
        parts.append((visible(found)[:, 1:] if seen else found[:, :, 0]).numpy())
    return np.concatenate(parts)


def ap(scores: Floats, truths: Labels, class_: int) -> float:
    """Average precision of (N, S, S) scores of any range for a class; void left out; NaN where it does not occur."""
    valid = truths != VOID
    values, positive = scores[valid], truths[valid] == class_
    low, high = float(values.min()), float(values.max())
    level = ((values - low) * (BINS / max(high - low, 1e-12))).astype(np.int64).clip(0, BINS - 1)
    counts = np.bincount(2 * level + positive, minlength=2 * BINS).reshape(BINS, 2)
    return average_precision(counts[:, 1], counts[:, 0])


def pick(scores: Floats, truths: Labels, class_: int, free: Sequence[int] | None = None) -> Pick:
    """The best layer for a class, then those whose addition to the mean raises its average precision, one by one.

    `scores` (N, K, S, S); `free`: the layers to choose from (None: all).
    """
    left, chosen, best = list(range(scores.shape[1]) if free is None else free), list[int](), -1.0
    while left:
        found = {k: ap(scores[:, [*chosen, k]].mean(1), truths, class_) for k in left}
        top = max(found, key=lambda k: found[k])
        if not found[top] > best:
            break
        best = found[top]
        chosen.append(top)
        left.remove(top)
    return Pick(tuple(chosen), best)


def shares(truths: Labels, classes: int) -> NDArray[np.float64]:
    """(C,) share of each class in the pixels that are not void: the average precision of a random guess."""
    counts = np.bincount(truths[truths != VOID], minlength=classes)[:classes].astype(np.float64)
    return np.asarray(counts / max(counts.sum(), 1))


def picked(model: Model, samples: Sequence[Sample], classes: Sequence[str]) -> tuple[list[list[int]], list[Any]]:
    """Regions to merge, and the rows of `decoupe name`: each class with the layers that stand for it.

    A layer stands for one class at most; the class that is found best beyond chance chooses first. Layers that find
    no class keep their names.
    """
    labelled = half(model, samples)
    scores, chance = masks(model, labelled.squares), shares(labelled.truths, len(classes))
    present = [c for c in range(len(classes)) if chance[c] > 0]
    free = list(range(scores.shape[1]))
    lift = {c: pick(scores, labelled.truths, c).ap / chance[c] for c in present}
    groups: list[list[int]] = []
    rows: list[Mapping[str, Any]] = []
    for class_ in sorted(present, key=lambda c: -lift[c]):
        found = pick(scores, labelled.truths, class_, free)
        if not found.layers or found.ap < BETTER * chance[class_]:
            continue
        free = [k for k in free if k not in found.layers]
        regions = sorted(k + 1 for k in found.layers)  # region 0 is the background
        groups += [regions] if len(regions) > 1 else []
        rows.append(
            _row(scores[:, list(found.layers)].mean(1), labelled.truths, class_, classes[class_], regions, found)
        )
    return groups, rows


def _row(score: Floats, truths: Labels, class_: int, name: str, regions: list[int], found: Pick) -> Mapping[str, Any]:
    valid = truths != VOID
    own, right = (score >= 0.5) & valid, (truths == class_) & valid
    both, either = float((own & right).sum()), float((own | right).sum())
    return {
        "region": regions[0], "name": name, "share": both / max(float(own.sum()), 1.0), "iou": both / max(either, 1.0),
        "ap": round(found.ap, 6), "regions": regions,
    }  # fmt: skip
