"""How many regions? An over-clustering is merged step by step, and what each merge loses tells where to stop."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from decoupe.errors import Fault

TINY = 1e-12


@dataclass(frozen=True)
class Merging:
    """The hierarchy found by `merge`."""

    information: tuple[float, ...]
    """[k - 1]: mutual information in nats that k clusters keep, k = 1 ... K."""
    groups: tuple[tuple[int, ...], ...]
    """[k - 1]: for each of the K clusters the group, 0 ... k - 1, that it is in when k are left."""


def _information(joint: Tensor) -> float:
    safe = joint.clamp_min(TINY)
    surplus = safe.log() - safe.sum(0).log() - safe.sum(1, keepdim=True).log()
    return float((joint * surplus).sum())


def _joined(joint: Tensor, a: int, b: int) -> Tensor:
    """The joint with cluster b > a added to a, along both axes."""
    kept = [i for i in range(len(joint)) if i != b]
    rows = joint.clone()
    rows[a] += rows[b]
    rows[:, a] += rows[:, b]
    return rows[kept][:, kept]


def merge(joint: Tensor, blindness: float = 0.0) -> Merging:
    """Merge the two clusters that lose the least mutual information, again and again, until one is left.

    `joint` (K, K): how often a pixel of cluster i has a partner (the same pixel in another view, or a neighbour) of
    cluster j. This is the agglomerative information bottleneck (Slonim and Tishby 1999) with both sides merged alike:
    clusters that predict the same neighbourhood are the cheapest to merge. K^3 information sums: K up to about 64.

    `blindness` b to size, 0 to 1: the loss of a merge is divided by (share of the smaller cluster)^b before merges are
    compared. With 0 a rare cluster is always cheap to lose, however unlike the others, and what is left is of like
    size; with 1 only unlikeness counts, and a speck may be left beside everything else.
    """
    if not 0 <= blindness <= 1:
        raise Fault("blindness between 0 and 1", f"{blindness:g}", "0 keeps sizes alike, 1 does not look at them")
    now = joint.double().cpu()
    now = (now + now.T) / (2 * now.sum().clamp_min(TINY))
    groups = [list(range(len(now)))]
    kept = [_information(now)]
    while len(now) > 1:
        shares = now.sum(0).clamp_min(TINY)
        found = []
        for b in range(len(now)):
            for a in range(b):
                left = _information(_joined(now, a, b))
                price = max(kept[-1] - left, 0.0) / float(torch.minimum(shares[a], shares[b])) ** blindness
                found.append((price, -left, a, b))
        _, left, a, b = min(found)
        now = _joined(now, a, b)
        kept.append(-left)
        last = groups[-1]
        groups.append([a if g == b else g - (g > b) for g in last])
    return Merging(tuple(reversed(kept)), tuple(tuple(g) for g in reversed(groups)))


def propose(information: tuple[float, ...], least: int = 2, most: int = 12) -> int:
    """K by the largest jump in the price of a merge: from K to K - 1 costs much more than from K + 1 to K.

    `information` as in `Merging`. The jump is a ratio of the two losses. No label is read; two plausible answers may
    lie close together, and a person who knows the images should have the last word.
    """
    most = min(most, len(information) - 1)
    if most <= least:
        return max(1, min(least, len(information)))
    floor = 1e-3 * max(information[-1], TINY)

    def price(k: int) -> float:
        return max(information[k - 1] - information[k - 2], floor)

    return max(range(least, most + 1), key=lambda k: price(k) / price(k + 1))
