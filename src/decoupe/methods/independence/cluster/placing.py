"""A layout that learns: corrects where the prior puts each layer, in view of the composite so far.

The source text leaves this to future work and points at ST-GAN (Lin et al. 2018), which warps in steps, each a small
correction of the warp before it, and punishes large ones. Here the warp before it is the draw from the prior:

    p_i = prior_i + r tanh(h(z_i, e_i, prior_i, x_{i-1})),    L_update = mean |tanh(h)|^2

with p = (shift, log scale, angle), r how far each may go, e noise. h ends in zeros: training begins at the prior. The
warp of Eq. 4 is differentiable, so h learns from Eq. 7 like the provider.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from decoupe.compositing import alpha_over
from decoupe.methods.independence.cluster.layout import pose

NOISE = 4
"""Numbers of noise per layer."""
SEEN = 8
"""Side to which the composite so far is averaged."""
SHIFT, SCALE, TURN = 0.5, 0.25, math.pi
"""How far a correction may go: half sides, log scale, radians."""
UPRIGHT = 0.15
"""The same for turns of things that have one upright pose."""


class Placer(nn.Module):
    """h of the equation above: a small network of two layers, the same for all layers of a composite."""

    def __init__(self, channels: int, latent: int, pad: int, upright: bool, width: int = 64) -> None:
        super().__init__()
        self.pad, self.turn = pad, UPRIGHT if upright else TURN
        self.body = nn.Sequential(nn.Linear(latent + NOISE + 2 + channels * SEEN**2, width), nn.LeakyReLU(0.2))
        self.last = nn.Linear(width, 4)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, layers: Tensor, z: Tensor, places: Tensor, noise: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
        """(composites (B, C, S, S), corrections tanh(h) (B, N, 4)) of RGBA layers over `start` (B, C, S, S).

        `layers` (B, N, C + 1, S, S), `z` (B, N, Z), `places` (B, N, 2) in [0, 2 pad] as in `pad_and_crop`, `noise`
        (B, N, NOISE). A layer's gradient comes through its own warp alone: what h sees of the others has none.
        """
        half = layers.shape[-1] / 2
        prior = (self.pad - places.flip(2).float()) / half  # (x, y), in half sides
        below, corrections = start, []
        for layer, code, at, e in zip(layers.unbind(1), z.unbind(1), prior.unbind(1), noise.unbind(1), strict=True):
            seen = F.adaptive_avg_pool2d(below, SEEN).flatten(1)
            h = self.last(self.body(torch.cat([code, e, at, seen], 1).detach()))
            step = torch.tanh(h.float())
            moved = pose(layer, (SCALE * step[:, 2]).exp(), self.turn * step[:, 3], at + SHIFT * step[:, :2])
            below = alpha_over(moved[:, :-1], moved[:, -1:], below)
            corrections.append(step)
        return below, torch.stack(corrections, 1)


# L_update of ST-GAN: large corrections are punished
def update_penalty(corrections: Tensor) -> Tensor:
    """Mean square of (B, N, 4) corrections."""
    return corrections.square().mean()
