"""What the fixed parts of the trunk make of the training photos, computed once and kept in memory."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from decoupe.methods.room import TrainingData, to_unit
from decoupe.nn.deeplab import LargeFov

MOST = 4 * 1024**3
"""Bytes above which they are not kept but computed at every step."""
CHUNK = 16


class Features:
    """The map after the trunk's first `count` parts of every photo and of its mirror image, as bfloat16."""

    def __init__(self, maps: Tensor, count: int) -> None:
        """`maps`: (N, 2, D, h, w)."""
        self.maps, self.count = maps, count

    def of(self, indices: Tensor, mirrored: Tensor, device: torch.device) -> Tensor:
        """(B,) positions and whether mirrored -> (B, D, h, w) float32, channels last."""
        found = self.maps[indices.cpu(), mirrored.long().cpu()]
        return found.to(device).float().contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def compute(network: LargeFov, count: int, data: TrainingData, device: torch.device) -> Features | None:
    """Features of all photos; None if they would not fit."""
    n, kept = len(data.images), None
    for start in range(0, n, CHUNK):
        some = np.arange(start, min(start + CHUNK, n))
        images = to_unit(data.images[some], device)
        with torch.autocast(device.type, torch.bfloat16):
            maps = [network.first(x, count).to(torch.bfloat16).cpu() for x in (images, images.flip(3))]
        if kept is None:
            if 2 * n * maps[0][0].numel() * 2 > MOST:
                return None
            kept = torch.empty(n, 2, *maps[0].shape[1:], dtype=torch.bfloat16)
        kept[start : start + len(some)] = torch.stack(maps, 1)
    return None if kept is None else Features(kept, count)
