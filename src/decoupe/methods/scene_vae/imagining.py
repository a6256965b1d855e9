"""Latents of new scenes: draws from a posterior, from the prior, from the scenes that were learned; and walks."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from decoupe.losses.variational import Gaussian, reparameterise


def draws(q: Gaussian, count: int, generator: torch.Generator) -> Iterator[Tensor]:
    """`count` latents (Z, g, g), each of the next Gaussian of `q` in turn, beginning with a random one."""
    first = int(torch.randint(len(q.mean), (1,), generator=generator))
    for number in range(count):
        yield _draw(q, (first + number) % len(q.mean), generator)


def _draw(q: Gaussian, row: int, generator: torch.Generator) -> Tensor:
    one = Gaussian(q.mean[row].cpu(), q.log_variance[row].cpu())
    return reparameterise(one, torch.randn(one.mean.shape, generator=generator))


def walk(q: Gaussian, count: int, step: float, generator: torch.Generator) -> Iterator[Tensor]:
    """A random walk of `count` latents in the space of z, which stays where `q` is.

    One Gaussian: z' = m + sqrt(1 - s^2) (z - m) + s sigma eps, of which N(m, sigma^2) is the stationary distribution.
    Several: from a draw of one to a draw of another, 1 / s steps along the arc between them, and on from there.
    """
    if len(q.mean) == 1:
        mean = q.mean[0].cpu()
        z = _draw(q, 0, generator)
        for _ in range(count):
            yield z
            z = mean + math.sqrt(1 - step**2) * (z - mean) + step * (_draw(q, 0, generator) - mean)
        return
    here, there = _any(q, generator), _any(q, generator)
    share = 0.0
    for _ in range(count):
        yield arc(here, there, share)
        share += step
        if share >= 1:
            here, there, share = there, _any(q, generator), share - 1


def _any(q: Gaussian, generator: torch.Generator) -> Tensor:
    return _draw(q, int(torch.randint(len(q.mean), (1,), generator=generator)), generator)


def arc(here: Tensor, there: Tensor, share: float) -> Tensor:
    """Between two latents: the weights' squares sum to 1, so that the mean of two draws of N(0, I) is not too small."""
    other = 1 - share
    return (other * here + share * there) / math.hypot(other, share)
