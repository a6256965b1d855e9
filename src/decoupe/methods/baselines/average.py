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


def average(masks: Iterable[NDArray[np.int64]], object_: int, size: int) -> Tensor:
    """(S, S) float32 share of object among the labelled parts of each place; 0 where nothing is labelled.

    `masks` are (H, W) class ids of any size, `VOID` left out; each is shrunk to S x S by area.
    """
    hits, seen = torch.zeros(size, size), torch.zeros(size, size)
    for mask in masks:
        maps = torch.from_numpy(np.stack([mask == object_, mask != VOID]).astype(np.float32))
        small = F.interpolate(maps[None], (size, size), mode="area")[0]
        hits += small[0]
        seen += small[1]
    return hits / seen.clamp_min(1e-6)


def mean_mask(labels: str, size: int) -> Tensor:
    """`average` over the training part of the labelled set NAME:PATH, or over all its masks if it has no such part."""
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
    return average((rule.translate(sample.mask()) for sample in chosen), rule.object, size)
