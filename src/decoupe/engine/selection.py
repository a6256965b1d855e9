"""Label-free scores: no label ever picks a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from decoupe.engine.runfolder import Candidate


def soft_iou(a: Tensor, b: Tensor) -> Tensor:
    """(B, K): sum min(a, b) / sum max(a, b) over pixels, for two (B, K, H, W) maps of probabilities (Ruzicka)."""
    return torch.minimum(a, b).sum((2, 3)) / torch.maximum(a, b).sum((2, 3)).clamp_min(1e-6)


@torch.no_grad()
def flip_agreement(segment: Callable[[Tensor], Tensor], images: Tensor) -> float:
    """Mean soft IoU in [0, 1] between the regions of an image and those of its mirror image, mirrored back."""
    mirrored = segment(images.flip(3)).flip(3)
    return float(soft_iou(segment(images), mirrored).mean())


def choose(candidates: Sequence[Candidate]) -> Candidate | None:
    """The healthy candidate with the highest score, the later one of equals; None if there is none."""
    scored = [c for c in candidates if c.healthy and c.score is not None]
    return max(scored, key=lambda c: (c.score, c.images), default=None)
