"""What every distillation shares: targets of a teacher, the phase that learns them, and a score without labels.

A network that is taught gives *maps*: for two regions one map, that of region 1 (region 0 is the rest); for K > 2
regions K maps. `activate` turns its logits into maps, `whole` maps into regions that sum to 1, `maps_of` the reverse.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from decoupe.compositing import alpha_over, places, sampled
from decoupe.engine.selection import soft_iou
from decoupe.errors import Fault
from decoupe.methods.room import Batch, Draw, Phase, TrainingData, to_unit
from decoupe.nn.unet import UNet
from decoupe.snapping import ANCHORS, reduce_to, snap
from decoupe.views import colour_jitter, view

Segment = Callable[[Tensor], Tensor]
"""(B, C, H, W) in [-1, 1] -> (B, K, H, W) summing to 1 over K."""

SMALL = 0.05
"""Regions that cover less than this share of an image count in proportion in its score."""


def maps_for(regions: int) -> int:
    """Maps of a network with K regions: 1 for two, else K."""
    return 1 if regions == 2 else regions


def activate(logits: Tensor) -> Tensor:
    """Logits (B, M, H, W) of any precision -> float32 maps in [0, 1]."""
    return torch.sigmoid(logits.float()) if logits.shape[1] == 1 else torch.softmax(logits.float(), 1)


def whole(maps: Tensor) -> Tensor:
    """Maps (B, M, H, W) -> (B, K, H, W) summing to 1 over K."""
    return torch.cat([1 - maps, maps], 1) if maps.shape[1] == 1 else maps


def maps_of(probs: Tensor) -> Tensor:
    """(B, K, H, W) -> maps (B, M, H, W)."""
    return probs[:, 1:] if probs.shape[1] == 2 else probs


def bottleneck(network: UNet, images: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, 16 D) float32: the narrowest layer of a U-Net, averaged to 4 x 4 and flattened."""
    return nn.functional.adaptive_avg_pool2d(network.encode(images)[-1].float(), 4).flatten(1)


# Eq. 8 of the independence prior: smooth L1 with its knee at 0.25
def smooth_l1(difference: Tensor, knee: float = 0.25) -> Tensor:
    """x^2 / knee below the knee (4 x^2 at 0.25), |x| above; mean over all elements. Continuous at the knee."""
    size = difference.abs()
    return torch.where(size < knee, difference.square() / knee, size).mean()


def sharpened(maps: Tensor, contrast: float) -> Tensor:
    """Maps (B, M, H, W) with contrast about 1/K: clip((m - 1/K) contrast + 1/K, 0, 1), divided by their sum again."""
    count = maps.shape[1]
    centre = 1 / max(2, count)
    clipped = ((maps - centre) * contrast + centre).clamp(0, 1)
    return clipped if count == 1 else clipped / clipped.sum(1, keepdim=True)


def mirrored_mean(teach: Segment, images: Tensor) -> Tensor:
    """Mean of what `teach` gives for images and for their mirror images, mirrored back."""
    return (teach(images) + teach(images.flip(3)).flip(3)) / 2


class Targets:
    """What a student learns: maps of the training photos (of a random part of many), kept as bytes.

    `teach`: the teacher; `limit`: photos at most; `snapped`: draw the targets to the edges of their photos; `ground`:
    the region that lies behind the others, where a method knows it. None: the region with the largest share of the
    images' borders over all targets, since what is photographed seldom touches them. No label tells.
    """

    def __init__(
        self,
        data: TrainingData,
        teach: Segment,
        limit: int,
        snapped: bool,
        device: torch.device,
        ground: int | None = None,
    ) -> None:
        count = len(data.images)
        limit = min(count, limit)
        self._data, self._all = data, limit == count
        self._chosen = np.sort(np.random.default_rng(count).permutation(count)[:limit])
        parts, border = [], torch.zeros((), device=device)
        for some in np.array_split(self._chosen, max(1, limit // 16)):
            images = to_unit(data.images[some], device)
            probs = mirrored_mean(teach, images)
            probs = snap(images, probs) if snapped else probs
            border = border + _on_border(probs)
            parts.append(maps_of(probs).mul(255).round().to(torch.uint8))
        self._maps = torch.cat(parts)
        self.ground = int(border.argmax()) if ground is None else ground

    def __len__(self) -> int:
        return len(self._chosen)

    def of(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The batch's photos (B, C, S, S) in [-1, 1] and their maps (B, M, S, S) in [0, 1]."""
        if self._all:
            return batch.images, self._maps[batch.indices].float() / 255
        return self.at(batch.indices % len(self))

    def at(self, pick: Tensor) -> tuple[Tensor, Tensor]:
        """Photos and maps at positions (B,) among the targets."""
        images = self._data.images[self._chosen[pick.cpu().numpy()]]
        return to_unit(images, pick.device), self._maps[pick].float() / 255


def _on_border(probs: Tensor) -> Tensor:
    """(B, K, H, W) -> (K,): sum over the outermost pixels of all images."""
    rows, columns = probs[:, :, [0, -1]].sum((0, 2, 3)), probs[..., [0, -1]].sum((0, 2, 3))
    return rows + columns


@dataclass(frozen=True)
class Recipe:
    """How a student is shown its targets."""

    lr: float
    """Highest AdamW learning rate (one cycle)."""
    jitter: float
    """Strength of the colour jitter."""
    recomposed: float
    """Share of the photos that are recomposed; 0 = none."""
    sharpen: float
    """Contrast of the targets about 1/K."""
    onto: Literal["patches", "photos"] = "patches"
    """What is recomposed: all that is not ground on patches without objects; or some of it on other photos."""


class StudentPhase(Phase):
    """Data distillation: a teacher's regions, learned on moved, recoloured and recomposed photos."""

    name = "student"

    def __init__(self, recipe: Recipe, student: UNet, targets: Targets | None) -> None:
        super().__init__()
        self.recipe, self.student, self.targets = recipe, student, targets

    def trained(self) -> Sequence[nn.Module]:
        """The student."""
        return [self.student]

    def optimiser(self) -> torch.optim.Optimizer:
        """AdamW; `rate` gives it one cycle."""
        return torch.optim.AdamW(self.student.parameters(), self.recipe.lr, (0.9, 0.99), weight_decay=1e-4, fused=True)

    def rate(self, progress: float) -> float:
        """One cycle: up over the first 15 %, then down along a cosine."""
        if progress < 0.15:
            return 0.04 + 0.96 * progress / 0.15
        return 0.5 * (1 + math.cos(math.pi * (progress - 0.15) / 0.85))

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Smooth L1 between the student's maps of the moved, recomposed, recoloured photo and the moved targets."""
        if self.targets is None:
            raise Fault("a distillation stage that was entered", "one that was not", "call Room.enter first")
        recipe, draw = self.recipe, batch.draw
        with torch.no_grad():
            photos, target = _moved(*self.targets.of(batch), draw)
            if recipe.onto == "patches":
                composite, mixed = _on_patches(photos, target, self.targets.ground, view(batch.backgrounds, draw, 1.3))
            else:
                composite, mixed = self._on_photos(photos, target, draw)
            chosen = (draw.uniform() < recipe.recomposed)[:, None, None, None]
            seen, target = torch.where(chosen, composite, photos), torch.where(chosen, mixed, target)
            seen = colour_jitter(seen, draw, 0.75 * recipe.jitter).clamp(-1, 1)
            wanted = sharpened(target, recipe.sharpen)
        given = activate(self.student(seen))
        loss = smooth_l1(given - wanted)
        return loss, {"student": loss.detach(), "object": given.detach()[:, -1].mean()}

    def _on_photos(self, photos: Tensor, target: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        """A random part of the regions that are not ground, over another photo; the targets alike.

        With m = sum of p_k over the part: photo m A + (1 - m) B, targets p_k of A in the part plus (1 - m) those of B.
        """
        if self.targets is None:
            raise TypeError("no targets")
        other, below = _moved(*self.targets.at(draw.integers(len(self.targets))), draw)
        probs = whole(target)
        part = (draw.uniform(probs.shape[1]) < (1.0 if probs.shape[1] == 2 else 0.5)).float()[:, :, None, None]
        part[:, self.targets.ground] = 0
        pasted = probs * part
        mask = pasted.sum(1, keepdim=True).clamp(0, 1)
        return alpha_over(photos, mask, other), maps_of(pasted + whole(below) * (1 - mask))


def _moved(photos: Tensor, target: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
    """Photos and their maps enlarged or reduced, shifted and mirrored alike, with reflected borders."""
    scale = draw.uniform(low=-0.25, high=0.35).exp()
    shift, flip = draw.uniform(2, low=-0.25, high=0.25), draw.uniform() < 0.5
    grid = places(photos, scale, shift, flip)
    return sampled(photos, grid, "reflection"), sampled(target, grid, "reflection")


def _on_patches(photos: Tensor, target: Tensor, ground: int, below: Tensor) -> tuple[Tensor, Tensor]:
    """All that is not ground, over patches without objects (B, C, S, S): the targets stay as they are."""
    if target.shape[1] == 1:
        figure = target if ground == 0 else 1 - target
    else:
        figure = 1 - target[:, ground : ground + 1]
    return alpha_over(photos, figure, below), target


def _decided(probs: Tensor) -> Tensor:
    """(B, K, H, W) -> the same with 1 for the likeliest region of each pixel and 0 for the others."""
    return nn.functional.one_hot(probs.argmax(1), probs.shape[1]).movedim(3, 1).float()


@torch.no_grad()
def score(segment: Segment, images: Tensor, first: int = 0, soft: bool = False) -> Tensor:
    """(B,) in [0, 1]: label-free quality of each image, the mean of two agreements of its regions.

    One with the regions of the mirrored photo, one with their own snapped selves: do they end where the photo's colours
    end? Both are soft IoUs, averaged over the regions from `first` on; a region that covers less than `SMALL` of the
    image counts in proportion, so that regions an image does not hold decide nothing. Unless `soft`, probabilities are
    first turned into decisions: a network that has learned nothing yet is equally unsure of a photo and of its mirror
    image, and would agree with itself.
    """
    probs, mirrored = segment(images), segment(images.flip(3)).flip(3)
    if not soft:
        probs, mirrored = _decided(probs), _decided(mirrored)
    small, coarse = reduce_to(images, ANCHORS), reduce_to(probs, ANCHORS)
    snapped = torch.cat([snap(i, p) for i, p in zip(torch.split(small, 32), torch.split(coarse, 32), strict=True)])
    if not soft:
        coarse, snapped = _decided(coarse), _decided(snapped)
    agreement = (soft_iou(probs, mirrored) + soft_iou(coarse, snapped))[:, first:] / 2
    weight = (probs[:, first:].mean((2, 3)) / SMALL).clamp(1e-6, 1)
    return (agreement * weight).sum(1) / weight.sum(1)
