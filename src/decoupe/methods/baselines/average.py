"""The average mask: how often each place of the frame is object, in a labelled set."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from decoupe.data.catalogue import open_dataset
from decoupe.errors import UsageFault
from decoupe.evaluate.protocols import protocol_of
from decoupe.types import VOID


def tally(masks: Iterable[NDArray[np.int64]], object_: int, size: int) -> tuple[Tensor, Tensor]:
    """(S, S) float64 sums over masks: how much of each place is object, and how much of it is labelled at all.

    `masks` are (H, W) class ids of any size, `VOID` left out; each is shrunk to S x S by area.
    """
    hits, seen = (torch.zeros(size, size, dtype=torch.float64) for _ in range(2))
    for mask in masks:
        maps = torch.from_numpy(np.stack([mask == object_, mask != VOID]).astype(np.float32))
        small = F.interpolate(maps[None], (size, size), mode="area")[0]
        hits += small[0]
        seen += small[1]
    return hits, seen


def best_cut(hits: Tensor, seen: Tensor) -> float:
    """The level t in (0, 1) whose one mask {hits / seen > t} has the highest IoU with all the masks counted."""
    mean, order = (hits / seen.clamp_min(1e-6)).flatten().sort(descending=True)
    inside = hits.flatten()[order].cumsum(0)
    iou = inside / (seen.flatten()[order].cumsum(0) + hits.sum() - inside).clamp_min(1e-6)
    below = torch.cat([mean[1:], mean.new_tensor([-1.0])])
    last = int(torch.where(mean > below, iou, -1.0).argmax())  # equal places stay together
    return min(max(float(mean[last] + below[last].clamp_min(0)) / 2, 1e-3), 1 - 1e-3)


def centred(mean: Tensor, level: float) -> Tensor:
    """Shares in [0, 1] bent so that `level` becomes one half: straight from 0 to there, and from there to 1."""
    return torch.where(mean <= level, mean / level, 1 + (mean - level) / (1 - level)) / 2


def mean_mask(labels: str, size: int) -> Tensor:
    """(S, S) the average mask of the labelled set NAME:PATH, > 1/2 where the best single mask is object.

    Fitted to its training part, or to all its masks if it has no such part.
    """
    dataset = open_dataset(labels)
    labelled = dataset.split("all")[1]
    rule = protocol_of(dataset.name, dataset.classes)
    if rule.object is None:
        raise UsageFault(
            "--labels to name a set of one object and its background",
            f"{labels} with the classes {', '.join(rule.classes)}",
            "choose another set",
        )
    chosen = [sample for sample in labelled if sample.split == "train"] or labelled
    hits, seen = tally((rule.translate(sample.mask()) for sample in chosen), rule.object, size)
    return centred(hits / seen.clamp_min(1e-6), best_cut(hits, seen)).float()
