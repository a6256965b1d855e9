"""What tells whether a latent variable model is well: gradient variance, coverage of the prior, active units."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from decoupe.losses.variational import Gaussian
from decoupe.methods.room import Batch
from decoupe.methods.scene_vae.pool import Pool
from decoupe.methods.scene_vae.scene import Scene, Seen

BANK = 256
"""Training scenes whose latents are kept."""
KEPT = 100
"""Steps between two looks at the latents of scenes where nothing else is to be measured."""
ACTIVE = 0.01
"""Variance over scenes of a dimension's mean from which on it is active (Burda et al. 2016)."""
REACH, POINTS = 6.0, 601
"""Half the width of the grid on which densities are compared, in prior deviations, and its points."""


def gradient_variance(first: Mapping[str, Tensor], again: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """Per term the variance over draws of the latent of its gradient, summed over the parameters of `module`.

    From two draws on the same scenes: half the squared distance of the two gradients. 0 where a term has none.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    found = {}
    for name in first:
        squares = []
        one, other = (
            torch.autograd.grad(terms[name], parameters, retain_graph=True, allow_unused=True)
            if terms[name].requires_grad
            else (None,) * len(parameters)
            for terms in (first, again)
        )
        for a, b in zip(one, other, strict=True):
            if a is not None and b is not None:
                squares.append((a.float() - b.float()).square().sum())
        found[name] = torch.stack(squares).sum() / 2 if squares else torch.zeros(())
    return found


def coverage(q: Gaussian, p: Gaussian | None = None) -> Tensor:
    """Share of the prior that the posteriors of N scenes cover, a mean over dimensions: 1 = all of it, no hole.

    For each dimension the integral of min(p(z), q(z)), where q is the mean of the N posteriors and p N(0, 1), or the
    mean of the N conditional priors `p`.
    """
    grid = torch.linspace(-REACH, REACH, POINTS, device=q.mean.device)
    aggregated = _density(grid, q)
    prior = _density(grid, Gaussian(torch.zeros_like(q.mean[:1]), torch.zeros_like(q.mean[:1])) if p is None else p)
    return (torch.minimum(aggregated, prior).sum(1) * (2 * REACH / (POINTS - 1))).mean()


def _density(grid: Tensor, q: Gaussian) -> Tensor:
    """(N, ...) Gaussians -> (D, points): the mean of their densities in each dimension."""
    mean, log_variance = (part.float().flatten(1) for part in q)
    total = torch.zeros(mean.shape[1], len(grid), device=grid.device)
    for one, wide in zip(mean, log_variance, strict=True):  # one scene at a time: memory stays small
        total += (-0.5 * ((grid - one[:, None]).square() * (-wide).exp()[:, None] + wide[:, None])).exp()
    return total / (len(mean) * math.sqrt(2 * math.pi))


def active_units(mean: Tensor) -> Tensor:
    """(N, ...) posterior means -> share of the dimensions whose mean varies over scenes by more than `ACTIVE`."""
    return (mean.float().flatten(1).var(0, correction=0) > ACTIVE).float().mean()


class Diagnostics:
    """Measures every so many steps; keeps the last figures, and the latents of some scenes for `imagine`."""

    def __init__(self, every: int, bank: tuple[Tensor, Tensor] | None) -> None:
        self.every, self.bank = every, bank
        self.latest: dict[str, Tensor] = {}

    def due(self, batch: Batch) -> bool:
        """At the last of every so many steps; of `KEPT` where only the latents of scenes are to be kept."""
        world = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
        step = batch.seen // (len(batch.images) * world)
        every = self.every or (KEPT if self.bank is not None else 0)
        return every > 0 and step % every == every - 1

    def compare(self, scene: Scene, first: Mapping[str, Tensor], again: Mapping[str, Tensor]) -> None:
        """Gradient variance of each term at the mask's decoder, from two evaluations with draws of their own."""
        found = gradient_variance(first, again, scene.draw)
        self.latest |= {f"gradient variance {name.lstrip('+')}": value for name, value in found.items()}

    def look(self, scene: Scene, pool: Pool) -> None:
        """Coverage and active units over some training scenes, whose latents are kept."""
        if scene.config.model == "unet":
            return
        q, p = posteriors(scene, pool)
        self.latest["prior coverage"] = coverage(q, p)
        self.latest["active units"] = active_units(q.mean)
        if self.bank is not None:
            mean, log_variance = self.bank
            rows = torch.arange(BANK) % len(q.mean)
            mean.copy_(q.mean[rows])
            log_variance.copy_(q.log_variance[rows])


@torch.no_grad()
def posteriors(scene: Scene, pool: Pool) -> tuple[Gaussian, Gaussian | None]:
    """q(z | all) of up to `BANK` training scenes, and p(z | image) of each (None = N(0, I))."""
    scenes = pool.fixed(BANK)
    found: list[tuple[Gaussian, Gaussian | None]] = []
    for start in range(0, len(scenes.images), 32):
        part = slice(start, start + 32)
        images, mask = scenes.images[part], scene.shares(scenes.labels[part])
        if scene.config.model == "cvae":
            maps, prior = scene.conditioned(images)
            found.append((scene.posterior(torch.cat([maps[-1], scene.read(mask)[-1]], 1)), prior))
        else:
            found.append((scene.infer(Seen(images, scenes.tags[part], mask)), None))
    q = _joined([q for q, _ in found])
    return q, None if found[0][1] is None else _joined([p for _, p in found if p is not None])


def _joined(parts: list[Gaussian]) -> Gaussian:
    return Gaussian(torch.cat([p.mean for p in parts]), torch.cat([p.log_variance for p in parts]))
