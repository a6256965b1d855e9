"""A discriminator that looks at photos through a frozen network (Sauer et al. 2021, without their random projections).

What such a network has learned of photos elsewhere need not be learned by D: the game shows rooms after minutes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from decoupe.methods.layer_disposal.networks import SLOPE
from decoupe.nn.backbones import headless
from decoupe.nn.features import parse
from decoupe.nn.spectral import SpectralConv2d

STAGES = ("stage1", "stage2", "stage3", "stage4")
"""Maps of the frozen network that are judged, from the finest on (strides 2 to 16; vgg16 1 to 8), each by its head."""
WIDTH = 64
"""Channels of the heads."""
PLACES = 4
"""Each head gives scores for PLACES x PLACES parts of the image at most."""


class FeatureDiscriminator(nn.Module):
    """(B, C, S, S) in [-1, 1] -> logits of P(real), (B, n) float32: n parts of the image in four resolutions."""

    def __init__(self, channels: int, source: str) -> None:
        """`source`: NAME:FILE of the network's weights. UsageFault if it names no network."""
        super().__init__()
        self.name, self.weights = parse(source)
        self.network = headless(self.name, channels)
        with torch.no_grad():
            maps = self.network.eval().layers(torch.zeros(1, channels, 64, 64), STAGES)
        self.heads = nn.ModuleList(
            nn.Sequential(
                SpectralConv2d(maps[stage].shape[1], WIDTH, 3, 1, 1), nn.LeakyReLU(SLOPE),
                SpectralConv2d(WIDTH, WIDTH, 4, 2, 1), nn.LeakyReLU(SLOPE),
                SpectralConv2d(WIDTH, 1, 3, 1, 1),
            )
            for stage in STAGES
        )  # fmt: skip

    @property
    def learning(self) -> nn.Module:
        """What is trained: the heads."""
        return self.heads

    def read(self) -> None:
        """Read the network's weights: once, when a run begins. Fault on a file that does not fit."""
        given = headless(self.name, self.network.channels, self.weights, frozen=True)
        self.network.load_state_dict(given.state_dict())

    def train(self, mode: bool = True) -> FeatureDiscriminator:
        """As everywhere, but the frozen network's statistics are not to change."""
        super().train(mode)
        self.network.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Scores in float32."""
        maps = self.network.layers(images, STAGES)
        scores = (head(maps[stage]).float() for head, stage in zip(self.heads, STAGES, strict=True))
        return torch.cat([F.adaptive_avg_pool2d(s, min(PLACES, s.shape[2])).flatten(1) for s in scores], 1)
