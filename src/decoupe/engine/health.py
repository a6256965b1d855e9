"""Collapse is watched for every room.

A region that takes nearly the whole image, one mask for all images, a region that nothing uses where the method needs
all of them, a loss that is no number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

FULL = 0.98
"""A region that covers more than this share of all pixels has taken the whole image."""
SAME = 0.02
"""Masks whose `dependence` is below this share are the same for every image: two of them overlap by IoU 0.97 or more.

True masks of photos are far above: flowers .72, horses .56, discs that move by 2 % of the side .09.
"""
EMPTY = 0.01
"""A region whose mean probability is below this share is used by nothing."""
CONFIDENT = 0.5
"""`confidence` from which `dependence` is judged: below, masks have not made up their mind and differ in little."""
ENOUGH = 16
"""Images from which `dependence` is judged."""


@dataclass(frozen=True)
class Health:
    """What a check saw."""

    hard: tuple[float, ...]
    """Share of pixels whose most probable region is k, over the validation images."""
    soft: tuple[float, ...]
    """Mean probability of region k."""
    entropy: float
    """Entropy of `hard` in nats over log K: 1 = all regions used alike, 0 = one region."""
    finite: bool = True
    dependence: float = 1.0
    """Variance of p over images at a pixel, as a share of its variance over images and pixels; 0 = one mask for all."""
    confidence: float = 0.0
    """Variance of p over images and pixels, as a share of the largest possible with these areas; 1 = hard masks."""
    images: int = 0
    needs_all: bool = False

    @property
    def trouble(self) -> str | None:
        """One sentence if training has collapsed, else None."""
        if not self.finite:
            return "a loss was not a finite number"
        for region, share in enumerate(self.hard):
            if share > FULL:
                return f"region {region} covers {share:.1%} of all images: collapsed"
        for region, share in enumerate(self.soft):
            if self.needs_all and share < EMPTY:
                return f"region {region} covers {share:.1%} of all images: collapsed"
        if self.images >= ENOUGH and self.confidence >= CONFIDENT and self.dependence < SAME:
            return f"all images get the same mask ({self.dependence:.1%} of it depends on the image): collapsed"
        return None


def _dependence(probs: Sequence[Tensor]) -> tuple[float, float]:
    """(dependence, confidence) of (B, K, H, W) parts, summed over K.

    With m the mean over images and pixels, and pbar the mean over images at a pixel:
    total = mean (p - m)^2, between = mean (p - pbar)^2; between / total, and total / (m (1 - m)).
    """
    n = sum(len(p) for p in probs)
    first = torch.stack([p.double().sum(0) for p in probs]).sum(0) / n
    second = torch.stack([p.double().square().sum(0) for p in probs]).sum(0) / n
    mean = first.mean((1, 2))
    between = (second - first.square()).clamp_min(0).mean()
    total = (second.mean((1, 2)) - mean.square()).clamp_min(0).mean()
    most = (mean * (1 - mean)).mean()
    shares = torch.stack([between / total.clamp_min(1e-12), total / most.clamp_min(1e-12)])
    dependence, confidence = shares.nan_to_num().clamp(0, 1).tolist()
    return dependence, confidence


def look(probs: Sequence[Tensor], finite: bool = True, needs_all: bool = False) -> Health:
    """Measure `probs`, a sequence of (B, K, H, W) on the fixed validation images; `needs_all`: see `Room`."""
    k = probs[0].shape[1]
    finite = finite and all(bool(p.isfinite().all()) for p in probs)
    counts = sum(torch.bincount(p.argmax(1).flatten(), minlength=k).double() for p in probs)
    hard = torch.as_tensor(counts) / torch.as_tensor(counts).sum()
    soft = torch.stack([p.double().mean((0, 2, 3)) for p in probs]).mean(0)
    entropy = -(hard * hard.clamp_min(1e-12).log()).sum() / torch.tensor(float(max(k, 2))).log()
    dependence, confidence = _dependence(probs)
    areas = tuple(hard.tolist()), tuple(soft.nan_to_num().tolist())
    return Health(*areas, float(entropy), finite, dependence, confidence, sum(len(p) for p in probs), needs_all)
