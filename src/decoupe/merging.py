"""How many regions? An over-clustering is merged step by step, and what each merge loses tells where to stop."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

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


def merge(joint: Tensor) -> Merging:
    """Merge the two clusters that lose the least mutual information, again and again, until one is left.

    `joint` (K, K): how often a pixel of cluster i has a partner (the same pixel in another view, or a neighbour) of
    cluster j. This is the agglomerative information bottleneck (Slonim and Tishby 1999) with both sides merged alike:
    clusters that predict the same neighbourhood are the cheapest to merge. K^3 information sums: K up to about 64.
    """
    now = joint.double().cpu()
    now = (now + now.T) / (2 * now.sum().clamp_min(TINY))
    groups = [list(range(len(now)))]
    kept = [_information(now)]
    while len(now) > 1:
        pairs = [(a, b) for b in range(len(now)) for a in range(b)]
        best, a, b = max((_information(_joined(now, a, b)), a, b) for a, b in pairs)
        now = _joined(now, a, b)
        kept.append(best)
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
