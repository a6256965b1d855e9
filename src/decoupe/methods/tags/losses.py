"""The losses of SEC (Kolesnikov and Lampert 2016) and of the classifier.

f: probabilities (B, K, h, w), background first.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

FLOOR = 1e-4
"""Probabilities of the network are at least about this, so that their logarithms stay small."""
CELLS = 41 * 41
"""Cells for which the decays of the ranking are stated."""
NONE = 255
"""A cell without a cue."""


def probabilities(scores: Tensor, floor: float = FLOOR) -> Tensor:
    """Scores (B, K, h, w) -> f: softmax, `floor` added, sums brought back to 1."""
    p = torch.softmax(scores.float(), 1) + floor
    return p / p.sum(1, keepdim=True)


def seed(f: Tensor, cues: Tensor) -> Tensor:
    """SEC Eq. 2: L_seed = -1 / (sum_c |S_c|) sum_c sum_{u in S_c} log f_{u,c}, the mean over images.

    `cues`: (B, h, w) integers, the class of S_c that a cell is in, or 255. An image without a cue counts as 0.
    """
    known = cues != NONE
    chosen = f.gather(1, torch.where(known, cues, 0).long()[:, None])[:, 0].log()
    count = known.sum((1, 2)).clamp_min(1)
    return -((chosen * known).sum((1, 2)) / count).mean()


def rank_pooled(f: Tensor, decay: float) -> Tensor:
    """SEC Eq. 3: G_c = (1 / Z) sum_j d^(j-1) f_{i_j,c}, f sorted downwards, Z = sum_j d^(j-1). (B, K, h, w) -> (B, K).

    d = 0 is the maximum, d = 1 the mean. On n cells it is d^(1681 / n), so that the same share of the image counts.
    """
    values = f.flatten(2)
    if decay == 0:
        return values.amax(2)
    n = values.shape[2]
    weights = torch.as_tensor(decay ** (CELLS / n), device=f.device) ** torch.arange(n, device=f.device)
    return (values.sort(2, descending=True).values * weights).sum(2) / weights.sum()


def expand(f: Tensor, present: Tensor, foreground: float = 0.996, background: float = 0.999) -> Tensor:
    """SEC Eq. 4: the classes that are tagged fill a fair share of the image, the others no cell, the background much.

    L_expand = -1/|T| sum_{c in T} log G_c(d+) - 1/|C \\ T| sum_{c not in T} log(1 - G_c(0)) - log G_bg(d_bg), mean over
    images. `present`: (B, K - 1) 0 or 1. A sum over no class is 0.
    """
    here, away = present.float(), 1 - present.float()
    things = f[:, 1:]
    inside = -(here * rank_pooled(things, foreground).log()).sum(1) / here.sum(1).clamp_min(1)
    outside = -(away * torch.log1p(-rank_pooled(things, 0))).sum(1) / away.sum(1).clamp_min(1)
    return (inside + outside - rank_pooled(f[:, :1], background)[:, 0].log()).mean()


def constrain(f: Tensor, target: Tensor) -> Tensor:
    """SEC Eq. 5: L_constrain = 1/n sum_u sum_c Q_{u,c} log(Q_{u,c} / f_{u,c}), the mean over images.

    `target`: Q (B, K, h, w), what the dense CRF makes of f; no gradient goes through it.
    """
    q = target.detach().clamp_min(1e-12)
    return (q * (q.log() - f.log())).sum(1).mean()


def imbalance(tags: Tensor, power: float) -> Tensor:
    """Weight of a class's positives: ((N - n_c) / n_c)^power, at least 1 and at most 20. (N, C) 0 or 1 -> (C,).

    power 0: all 1; power 1: positives and negatives of a class weigh alike.
    """
    n = tags.float().sum(0)
    return ((len(tags) - n) / n.clamp_min(1)).clamp_min(1).pow(power).clamp_max(20)


def multi_label(logits: Tensor, tags: Tensor, weights: Tensor, counted: Tensor) -> Tensor:
    """Sigmoid cross-entropy, mean over classes and over the images that count.

    logits, tags: (B, C); weights: (C,) of positives; counted: (B,) 1, or 0 for an image that is held out.
    """
    each = F.binary_cross_entropy_with_logits(logits.float(), tags.float(), pos_weight=weights, reduction="none")
    return (each.mean(1) * counted).sum() / counted.sum().clamp_min(1)
