"""Label-free scores: no label ever picks a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import torch
from torch import Tensor

from decoupe.engine.runfolder import Candidate

SEEN, LOST = 0.002, 0.02
"""A region of at least the first share of all pixels is lost if less than the second share of it is left."""


def soft_iou(a: Tensor, b: Tensor) -> Tensor:
    """(B, K): sum min(a, b) / sum max(a, b) over pixels, for two (B, K, H, W) maps of probabilities (Ruzicka)."""
    return torch.minimum(a, b).sum((2, 3)) / torch.maximum(a, b).sum((2, 3)).clamp_min(1e-6)


@torch.no_grad()
def flip_agreement(segment: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """(B,): soft IoU in [0, 1] of the regions of each image and of its mirror image, mirrored back; mean over K."""
    mirrored = segment(images.flip(3)).flip(3)
    return soft_iou(segment(images), mirrored).mean(1)


def choose(candidates: Sequence[Candidate], reach: float = 1.0) -> Candidate | None:
    """The latest healthy candidate within `reach` standard errors of the best score; None if there is none.

    The rule of Breiman et al. (1984), there with 1: differences smaller than the error of the score itself decide
    nothing, and what was trained longer is preferred. Settled candidates come first: see `Stage.settles`.
    """
    scored = [(c.score, c) for c in candidates if c.healthy and c.score is not None]
    scored = [(score, c) for score, c in scored if c.settled] or scored
    if not scored:
        return None
    best, leader = max(scored, key=lambda pair: pair[0])
    return max((c for score, c in scored if score >= best - reach * leader.error), key=lambda c: c.images)


def stand_in(
    candidates: Sequence[Candidate], spare: Collection[str], chosen: Candidate | None, trouble: str | None
) -> tuple[Candidate, str] | None:
    """The healthy end of an earlier stage that is to be used in place of what came after, and why; None if not needed.

    `spare`: names of the stages that may stand in (`Stage.spare`). Needed after a collapse for good (`trouble` says
    how), where no later snapshot is healthy (`chosen` None), or where the chosen one has lost a region that the earlier
    masks had.
    """
    kept = [c for c in candidates if c.healthy and c.stage in spare]
    if not kept or chosen is kept[-1]:
        return None
    if trouble is not None:
        return kept[-1], trouble
    if chosen is None:
        last = candidates[-1].stage
        return None if last == kept[-1].stage else (kept[-1], f"{last} ended with masks that are not healthy")
    both = enumerate(zip(kept[-1].areas, chosen.areas, strict=False))
    lost = [str(k) for k, (before, after) in both if before >= SEEN and after < LOST * before]
    return (kept[-1], f"{chosen.stage} lost region {', '.join(lost)}") if lost else None


def sentence(
    trouble: str | None, restarts: int, chosen: Candidate | None, healthy: bool, fell_back: str | None = None
) -> str:
    """What a run says of its health. `fell_back`: why `chosen` stands in for what came after it."""
    if trouble is not None:
        return f"collapsed: {trouble}; there are no masks to use"
    if chosen is None:
        return "healthy: fitted in closed form"
    if fell_back is not None:
        return f"fell back to {chosen.stage} (image {chosen.images:,}), whose masks are healthy: {fell_back}"
    if not healthy:
        return "not healthy: every snapshot gives nearly the whole image to one region; train longer"
    times = f"{restarts} restart{'s' if restarts != 1 else ''} after collapse" if restarts else "no collapse"
    return f"healthy: {times}; picked image {chosen.images:,} by its label-free score (no labels)"
