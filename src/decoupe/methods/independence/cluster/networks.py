"""The networks of the second application (Table 2 of the appendix), scaled: generator, discriminator and its Q head."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from decoupe.nn.norm import normalise
from decoupe.nn.spectral import SpectralConv2d

SIDE = 64
"""Side in pixels of what the generator makes and the discriminator sees."""


class Generator(nn.Module):
    """Table 2: z (B, Z) -> RGBA (B, C + 1, 64, 64), colour and mask in [0, 1] by sigmoid; `width` 64 is the paper's.

    8x8 with 4 `width` channels by a 1x1 convolution, two 4x4 convolutions at 8x8, then three transposed ones to 64x64.
    """

    def __init__(self, channels: int, latent: int, width: int) -> None:
        super().__init__()
        self.wide = 4 * width
        self.first = nn.Linear(latent, 64 * self.wide)
        self.enter = nn.Sequential(normalise("batch", self.wide), nn.LeakyReLU(0.2))
        body: list[nn.Module] = []
        for _ in range(2):  # "same" padding of a 4x4 kernel: one pixel more on the right and below
            body += [nn.ZeroPad2d((1, 2, 1, 2)), nn.Conv2d(self.wide, self.wide, 4, bias=False)]
            body += [normalise("batch", self.wide), nn.LeakyReLU(0.2)]
        for inputs, outputs in ((4, 2), (2, 1)):
            body += [nn.ConvTranspose2d(inputs * width, outputs * width, 4, 2, 1, bias=False)]
            body += [normalise("batch", outputs * width), nn.LeakyReLU(0.2)]
        self.body = nn.Sequential(*body)
        self.last = nn.ConvTranspose2d(width, channels + 1, 4, 2, 1)

    def forward(self, z: Tensor) -> Tensor:
        """(B, Z) -> (B, C + 1, 64, 64) in [0, 1], float32."""
        start = self.enter(self.first(z).view(len(z), self.wide, 8, 8))
        return torch.sigmoid(self.last(self.body(start)).float())


class Critic(nn.Module):
    """Table 2: the discriminator (3x3 convolutions with spectral norm, `width` to 16 `width`), and Q on its trunk.

    Q reads z from what one instance alone looks like on black: the mean of a Gaussian of fixed variance.
    """

    def __init__(self, channels: int, latent: int, width: int) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        now = channels
        for i in range(4):
            blocks += [SpectralConv2d(now, width * 2**i, 3, 2, 1), nn.LeakyReLU(0.2)]
            now = width * 2**i
        self.trunk = nn.Sequential(*blocks)
        self.judge = nn.Sequential(
            SpectralConv2d(now, 2 * now, 3, 1, 1), nn.LeakyReLU(0.2), SpectralConv2d(2 * now, 1, 1)
        )
        self.q = nn.Linear(now, latent)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, 64, 64) -> (B, 1, 4, 4) float32 scores."""
        scores: Tensor = self.judge(self.trunk(images))
        return scores.float()

    def read(self, images: Tensor) -> Tensor:
        """(B, C, 64, 64) single instances on black -> (B, Z) the z they seem to have."""
        read: Tensor = self.q(self.trunk(images).mean((2, 3)))
        return read.float()
