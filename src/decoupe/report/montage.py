"""One row of crops for each region: where the method is surest of it, so that a person can say what it is."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as Pillow

from decoupe.data.decode import read_image
from decoupe.data.prepare import items_of
from decoupe.errors import Fault
from decoupe.export.overlay import as_rgb
from decoupe.report.photos import Card, Pane, _uri

if TYPE_CHECKING:
    from decoupe.model import Model

TITLE = "Each region where it is surest"
LOOKED_AT = 48
"""Photos from which crops are taken, at most."""
EACH = 5
"""Crops of a region, from as many photos."""
SHARE = 4
"""Crops are a quarter of the photo's side."""
SIDE = 112
"""Side of a crop in the report, in pixels."""
MOST = 32
"""Regions shown; a run with more shows none."""
BATCH = 8


def windows(probs: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int64], int]:
    """(K, S, S) -> for each region the highest mean over a window: (K,) values, (K, 2) its row and column, its side."""
    side = max(1, probs.shape[1] // SHARE)
    step = max(1, side // 2)
    means = torch.nn.functional.avg_pool2d(torch.from_numpy(probs)[None], side, step)[0]
    values, at = means.flatten(1).max(1)
    places = torch.stack([at // means.shape[2], at % means.shape[2]], 1) * step
    return values.numpy(), places.numpy(), side


def montage(model: Model, source: Any, split: str | None = None) -> list[Card]:
    """A card for each region of a run with three to `MOST` of them; else none. What cannot be read is left out."""
    count = len(model.names)
    if not 3 <= count <= MOST:
        return []
    items = items_of(source, split)
    chosen = [items[i] for i in np.unique(np.linspace(0, len(items) - 1, min(len(items), LOOKED_AT)).astype(np.int64))]
    best: list[list[tuple[float, int, str, NDArray[np.uint8]]]] = [[] for _ in range(count)]
    area, seen = np.zeros(count), 0
    for start in range(0, len(chosen), BATCH):
        loaded = []
        for item in chosen[start : start + BATCH]:
            try:
                loaded.append((item.path.name, read_image(item.path, frame=item.frame)))
            except Fault:
                continue
        if not loaded:
            continue
        for (name, image), probs in zip(
            loaded, model.predict(np.stack([model.square(i) for _, i in loaded])), strict=True
        ):
            area += np.bincount(probs.argmax(0).ravel(), minlength=count) / probs[0].size
            seen += 1
            values, places, side = windows(probs)
            for region in range(count):
                row = (
                    float(values[region]),
                    seen,
                    name,
                    _crop(image, places[region] / probs.shape[1], side / probs.shape[1]),
                )
                if len(best[region]) < EACH:
                    heapq.heappush(best[region], row)
                elif row[0] > best[region][0][0]:
                    heapq.heapreplace(best[region], row)
    return [_card(name, area[i] / max(1, seen), sorted(best[i], reverse=True)) for i, name in enumerate(model.names)]


def _crop(image: NDArray[np.uint8], place: NDArray[np.float64], side: float) -> NDArray[np.uint8]:
    """A square of the report's size from an (H, W, C) image, at shares of its sides."""
    height, width = image.shape[:2]
    top, left = round(float(place[0]) * height), round(float(place[1]) * width)
    part = as_rgb(image[top : top + max(1, round(side * height)), left : left + max(1, round(side * width))])
    return np.asarray(Pillow.fromarray(np.ascontiguousarray(part)).resize((SIDE, SIDE), Pillow.Resampling.BILINEAR))


def _card(name: str, share: float, rows: list[tuple[float, int, str, NDArray[np.uint8]]]) -> Card:
    panes = [
        Pane(f"{value:.2f}", _uri(crop), f"{name}: crop of {photo}, mean probability {value:.2f}", (SIDE, SIDE))
        for value, _, photo, crop in rows
    ]
    return Card(name, f"{share:.0%} of pixels", panes)
