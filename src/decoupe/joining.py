"""Fewer regions from many, without labels: those that have the same neighbours become one (`decoupe name --join`)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from decoupe.data.decode import read_image
from decoupe.data.prepare import items_of
from decoupe.engine.runfolder import Run
from decoupe.errors import Fault, UsageFault
from decoupe.losses.information import symmetric_joints
from decoupe.merging import merge
from decoupe.methods.room import to_unit
from decoupe.model import Model

LOOKED_AT = 256
"""Photos from which neighbourhoods are counted, at most."""
BATCH = 8
REACH = 1 / 24
"""How far away neighbours are counted, as a share of the image's side."""
BLINDNESS = 0.5
"""See `merging.merge`. Chosen, with the reach, on drone photos that no result is measured on."""
MOST = 64
"""Regions that can be joined: the work grows with the fifth power of their number."""


def neighbours(model: Model, images: Any, split: str | None = None) -> Tensor:
    """(K, K) float64 joint distribution of the regions of pixels up to `REACH` apart, over some of the photos.

    K are the method's own regions, before merges. Fault if no photo can be read.
    """
    items = items_of(images, split)
    chosen = [items[i] for i in np.unique(np.linspace(0, len(items) - 1, min(len(items), LOOKED_AT)).astype(np.int64))]
    side = model.spec.size
    total = torch.zeros(len(model.room.regions), len(model.room.regions), dtype=torch.float64)
    for start in range(0, len(chosen), BATCH):
        squares = np.stack([model.square(read_image(item.path)) for item in chosen[start : start + BATCH]])
        with torch.inference_mode():
            probs = model.room.segment(to_unit(squares, model.device)).float().cpu()
        smaller = torch.nn.functional.adaptive_avg_pool2d(probs, min(side, 64))
        reach = max(1, round(REACH * smaller.shape[2]))
        total += symmetric_joints(smaller, smaller, reach).double().mean(0) * len(squares)
    return total / total.sum()


def joined(run: Run, count: int, images: Any = None, split: str | None = None) -> list[list[int]]:
    """Groups of the run's own regions such that `count` regions are left, whatever was merged before.

    Regions that stay alone are in no group, so with all of them (`count` = K) there is none.

    images: photos to look at (NAME:PATH, folder, ...) and their split; None = those the run was trained on.
    UsageFault on a number of regions that cannot be reached. Fault without photos.
    """
    settings = run.info.get("settings") or {}
    if images is None:
        images, split = settings.get("images"), settings.get("split")
    if images is None:
        raise Fault("photos to count neighbours on", "none recorded in the run", "name some with --images PATH")
    model = Model(run)
    regions = len(model.room.regions)
    if regions > MOST or not 2 <= count <= regions:
        words = f"--join from 2 to {regions}" if regions <= MOST else f"a run of at most {MOST} regions to join"
        raise UsageFault(words, str(count if regions <= MOST else regions), "see its regions with decoupe name RUN")
    found = merge(neighbours(model, images, split), BLINDNESS)
    members = found.groups[count - 1]
    groups = [[i for i, g in enumerate(members) if g == group] for group in range(count)]
    return [group for group in groups if len(group) > 1]
