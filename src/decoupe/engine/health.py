"""Collapse is watched for every room: a region that takes nearly the whole image, a loss that is no number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

FULL = 0.98
"""A region that covers more than this share of all pixels has taken the whole image."""


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

    @property
    def trouble(self) -> str | None:
        """One sentence if training has collapsed, else None."""
        if not self.finite:
            return "a loss was not a finite number"
        for region, share in enumerate(self.hard):
            if share > FULL:
                return f"region {region} covers {share:.1%} of all images: collapsed"
        return None


def look(probs: Sequence[Tensor], finite: bool = True) -> Health:
    """Measure `probs`, a sequence of (B, K, H, W) on the fixed validation images."""
    k = probs[0].shape[1]
    finite = finite and all(bool(p.isfinite().all()) for p in probs)
    counts = sum(torch.bincount(p.argmax(1).flatten(), minlength=k).double() for p in probs)
    hard = torch.as_tensor(counts) / torch.as_tensor(counts).sum()
    soft = torch.stack([p.double().mean((0, 2, 3)) for p in probs]).mean(0)
    entropy = -(hard * hard.clamp_min(1e-12).log()).sum() / torch.tensor(float(max(k, 2))).log()
    return Health(tuple(hard.tolist()), tuple(soft.nan_to_num().tolist()), float(entropy), finite)
