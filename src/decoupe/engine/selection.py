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
def flip_agreement(segment: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """(B,): soft IoU in [0, 1] of the regions of each image and of its mirror image, mirrored back; mean over K."""
    mirrored = segment(images.flip(3)).flip(3)
    return soft_iou(segment(images), mirrored).mean(1)


def choose(candidates: Sequence[Candidate]) -> Candidate | None:
    """The latest healthy candidate within one standard error of the best score; None if there is none.

    The rule of Breiman et al. (1984): differences smaller than the error of the score itself decide nothing, and what
    was trained longer is preferred. Settled candidates come first: see `Stage.settles`.
    """
    scored = [(c.score, c) for c in candidates if c.healthy and c.score is not None]
    scored = [(score, c) for score, c in scored if c.settled] or scored
    if not scored:
        return None
    best, leader = max(scored, key=lambda pair: pair[0])
    return max((c for score, c in scored if score >= best - leader.error), key=lambda c: c.images)
