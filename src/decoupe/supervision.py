"""Learning from a few masks while keeping what a run found by itself: the phase, its losses, and the labelled photos.

One step sees labelled photos, whose masks are learned, and other photos, whose own masks as they were are kept:

    L = L_labelled + keep * L_kept                                                              (1)
    L_labelled = - sum_x c(x) sum_g t_g(x) log p_g(x) / sum_x c(x)                              (2)
    L_kept = - mean_x sum_g q_g(x) log p_g(x)                                                   (3)

p: regions now, merged as they are shown; t: masks of a person, c how much of a pixel they cover; q: the regions that
the run gave before. Photos and masks are moved alike and recoloured.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from decoupe.compositing import warp
from decoupe.data.pixels import resize
from decoupe.methods.room import Batch, DataSpec, Draw, Phase, Room, Stage, TrainingData, to_unit
from decoupe.types import VOID, Labels
from decoupe.views import colour_jitter

Segment = Callable[[Tensor], Tensor]
"""(B, C, H, W) in [-1, 1] -> (B, K, H, W) summing to 1 over K."""
Fill = Callable[[NDArray[np.uint8], NDArray[np.float32]], NDArray[np.float32]]
"""(C, S, S) uint8 and the shares that are known (G, S, S) -> shares everywhere, summing to 1 over G."""
Groups = Sequence[Sequence[int]]
"""Regions of the method that are shown as one, for each region that is shown."""
LEAST = 1e-4
"""Probabilities below this cost no more."""
MOVED, RESIZED = 0.1, 0.15
"""Largest shift in sides, and largest change of size as a logarithm."""


@dataclass(frozen=True)
class Recipe:
    """How a run is refined."""

    lr: float = 5e-4
    """Highest AdamW learning rate; falls to zero along a cosine."""
    keep: float = 0.1
    """Weight of the masks the run gave before, on photos without labels."""
    jitter: float = 0.2
    """Colour jitter of the photos."""
    images: int = 1_600
    """Photos to see by default."""


# Eq. 2
def labelled_loss(probs: Tensor, target: Tensor, covered: Tensor) -> Tensor:
    """Cross-entropy (B, G, H, W) against shares (B, G, H, W), weighted by how much is labelled, (B, H, W) in [0, 1]."""
    entropy = -(target * probs.clamp_min(LEAST).log()).sum(1)
    return (entropy * covered).sum() / covered.sum().clamp_min(1e-6)


# Eq. 3
def kept_loss(probs: Tensor, before: Tensor) -> Tensor:
    """Cross-entropy of the regions now against those before, both (B, G, H, W); the mean over all pixels."""
    return -(before * probs.clamp_min(LEAST).log()).sum(1).mean()


def shown(probs: Tensor, groups: Groups) -> Tensor:
    """(B, K, H, W) -> (B, G, H, W): regions merged as they are shown."""
    if all(len(group) == 1 for group in groups):
        return probs
    return torch.stack([probs[:, list(group)].sum(1) for group in groups], 1)


class LabelledPhotos:
    """Photos with masks at the size of a network: `images` (N, C, S, S) and `shares` (N, G + 1, S, S), both uint8.

    Shares are those of each region in each pixel; the last plane is what nobody labelled.
    """

    def __init__(self, spec: DataSpec, regions: int) -> None:
        self.spec, self.regions = spec, regions
        self._images: list[NDArray[np.uint8]] = []
        self._shares: list[NDArray[np.uint8]] = []

    def __len__(self) -> int:
        return len(self._images)

    def add(self, square: NDArray[np.uint8], labels: Labels) -> None:
        """One photo as (C, S, S), and its (H, W) regions, `VOID` where nothing is known."""
        planes = np.stack([labels == region for region in (*range(self.regions), VOID)], 2)
        side = self.spec.size
        self._images.append(square)
        self._shares.append(resize(planes.astype(np.uint8) * np.uint8(255), side, side).transpose(2, 0, 1))

    def drawn(self, draw: Draw, count: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Photos (n, C, S, S) in [-1, 1], shares (n, G, S, S) summing to 1, and how much is labelled (n, S, S)."""
        pick = draw.integers(len(self))[:count].cpu().tolist()
        photos = to_unit(np.stack([self._images[i] for i in pick]), device)
        shares = torch.from_numpy(np.stack([self._shares[i] for i in pick])).to(device).float() / 255
        return photos, *split_shares(shares)

    def spread(self, fill: Fill, weight: float) -> None:
        """Fill what is not labelled: `fill(square, shares)` -> (G, S, S) for each photo, counted by `weight`."""
        for index, (square, shares) in enumerate(zip(self._images, self._shares, strict=True)):
            known = np.asarray(shares[:-1] / 255, np.float32)
            rest = np.asarray(shares[-1] / 255, np.float32)
            total = np.asarray(known + weight * rest * fill(square, known), np.float32)
            left = np.clip(1 - total.sum(0), 0, 1)
            self._shares[index] = np.rint(255 * np.vstack([total, left[None]])).astype(np.uint8)


def split_shares(shares: Tensor) -> tuple[Tensor, Tensor]:
    """(n, G + 1, S, S), the last plane unknown -> the shares among what is known, and how much that is."""
    covered = shares[:, :-1].sum(1).clamp(0, 1)
    return shares[:, :-1] / shares[:, :-1].sum(1, keepdim=True).clamp_min(1e-6), covered


@contextmanager
def differentiable(room: Room) -> Iterator[Segment]:
    """The room's `segment` without its last step where that stops gradients (drawing masks to the colours)."""
    config = room.config
    if getattr(config, "snap", False):
        room.config = dataclasses.replace(config, snap=False)
    try:
        yield room.segment
    finally:
        room.config = config


def learns(room: Room) -> bool:
    """Whether gradients reach the room's networks from what it segments."""
    if not any(p.requires_grad or p.is_floating_point() for p in room.parameters()):
        return False
    images = torch.zeros(2, room.spec.channels, room.spec.size, room.spec.size)
    modes = [p.requires_grad for p in room.parameters()]
    room.requires_grad_(True)
    try:
        with torch.enable_grad(), differentiable(room) as segment:
            return bool(segment(images).requires_grad)
    finally:
        for parameter, mode in zip(room.parameters(), modes, strict=True):
            parameter.requires_grad_(mode)


def parts_of(room: Room) -> dict[str, nn.Module]:
    """The room's submodules that `segment` needs, by name: those that are trained."""
    wanted = tuple(room.inference)
    own = {name: module for name, module in room.named_children() if any(True for _ in module.parameters())}
    found: dict[str, nn.Module] = {}
    for name, module in own.items():
        inside = [prefix for prefix in wanted if prefix.startswith(f"{name}.") and prefix != f"{name}."]
        if any(f"{name}.".startswith(prefix) for prefix in wanted):
            found[name] = module
        for prefix in inside:
            found[prefix.rstrip(".")] = room.get_submodule(prefix.rstrip("."))
    return found


class RefinePhase(Phase):
    """Eq. 1."""

    name = "refine"

    def __init__(self, recipe: Recipe, room: Room, before: Segment, labelled: LabelledPhotos, groups: Groups) -> None:
        super().__init__()
        self.recipe, self.labelled, self.groups = recipe, labelled, groups
        self._before = before
        self._room = [room]  # not a submodule: what is trained is `parts`
        self.parts = nn.ModuleList(parts_of(room).values())

    def trained(self) -> Sequence[nn.Module]:
        """What `segment` needs."""
        return list(self.parts)

    def optimiser(self) -> torch.optim.Optimizer:
        """AdamW."""
        parameters = [p for p in self.parts.parameters() if p.is_floating_point()]
        return torch.optim.AdamW(parameters, self.recipe.lr, (0.9, 0.99), weight_decay=1e-4)

    def rate(self, progress: float) -> float:
        """Up over the first 5 %, then down along a cosine."""
        return progress / 0.05 if progress < 0.05 else 0.5 * (1 + math.cos(math.pi * (progress - 0.05) / 0.95))

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Both losses on one pass over labelled and other photos."""
        recipe, draw = self.recipe, batch.draw
        half = max(1, len(batch.images) // 2)
        with torch.no_grad():
            photos, shares, covered = self.labelled.drawn(draw, half, batch.images.device)
            photos, moved = _moved(photos, torch.cat([shares, covered[:, None]], 1), draw)
            covered, shares = moved[:, -1], moved[:, :-1] / moved[:, :-1].sum(1, keepdim=True).clamp_min(1e-6)
            before = shown(self._before(batch.images), self.groups)
            others, before = _moved(batch.images, before, draw)
            jittered = [colour_jitter(part, _rows(draw, len(part)), recipe.jitter) for part in (photos, others)]
            seen = torch.cat(jittered).clamp(-1, 1)
        with differentiable(self._room[0]) as segment:
            probs = shown(segment(seen).float(), self.groups)
        learned = labelled_loss(probs[: len(photos)], shares, covered)
        kept = kept_loss(probs[len(photos) :], before)
        return learned + recipe.keep * kept, {"labelled": learned.detach(), "kept": kept.detach()}


class _Rows:
    """The first rows of a step's random numbers, for parts of a batch."""

    def __init__(self, draw: Draw, count: int) -> None:
        self._draw, self._count = draw, count

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """(count, *shape) float32 uniform in [low, high)."""
        return self._draw.uniform(*shape, low=low, high=high)[: self._count]


def _rows(draw: Draw, count: int) -> Any:
    return _Rows(draw, count)


def _moved(photos: Tensor, maps: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
    """Photos and their maps shifted, resized and mirrored alike, with reflected borders."""
    count = len(photos)
    scale = draw.uniform(low=-RESIZED, high=RESIZED)[:count].exp()
    shift, flip = draw.uniform(2, low=-MOVED, high=MOVED)[:count], (draw.uniform() < 0.5)[:count]
    return warp(photos, scale, shift, flip, "reflection"), warp(maps, scale, shift, flip, "reflection").clamp(0, 1)


@dataclass(frozen=True)
class Lesson:
    """What a refined room learns."""

    recipe: Recipe
    labelled: LabelledPhotos
    groups: Groups
    start: Mapping[str, Tensor]
    """Weights of the run that is refined; empty: the room's first stage learns from that run."""


def refined(base: type[Room], lesson: Lesson) -> type[Room]:
    """The room `base` whose training is to learn `lesson`, from the weights of another run or after its own stages."""

    class Refined(base):  # type: ignore[misc, valid-type]
        """See `refined`."""

        def prepare(self, data: TrainingData) -> None:
            """Take over the weights."""
            if lesson.start:
                self.load_state_dict(lesson.start, strict=False)
            else:
                super().prepare(data)

        def stages(self) -> Sequence[Stage]:
            """The room's own where it starts afresh, then the one that refines."""
            own = [] if lesson.start else list(super().stages())
            phase = RefinePhase(lesson.recipe, self, self._before, lesson.labelled, lesson.groups)
            names = tuple(parts_of(self))
            images = lesson.recipe.images
            # a score without labels prefers what they mend
            before = [replace(stage, candidate=False, spare=False) for stage in own]
            return [*before, Stage("refine", (phase,), images, names, 0.99, checks=4, watched_from=0.5, settles=0.9)]

        def enter(self, stage: int, data: TrainingData, fresh: bool) -> None:
            """Set the masks before aside: those of the run that is refined, or of the stages before."""
            if lesson.start:
                frozen = base(self.config, self.spec).to(next(self.parameters()).device)
                frozen.load_state_dict(lesson.start, strict=False)
                self._frozen = [frozen.eval().requires_grad_(False)]
            elif stage < len(list(super().stages())):
                super().enter(stage, data, fresh)
            elif fresh:
                self.tutor.load_state_dict(self.student.state_dict())

        @torch.no_grad()
        def _before(self, images: Tensor) -> Tensor:
            if lesson.start:
                with torch.autocast(images.device.type, enabled=False):
                    return torch.as_tensor(self._frozen[0].segment(images))
            return torch.as_tensor(self._tutored(images))

    Refined.__name__ = base.__name__
    return Refined
