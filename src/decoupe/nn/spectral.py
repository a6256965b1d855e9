"""Spectral normalisation (Miyato et al. 2018) of convolutions and linear layers, in fp32 whatever the precision."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class _Spectral:
    """W / sigma(W): sigma by one power iteration per training forward, kept between steps in the buffer `u`."""

    weight: Tensor
    u: Tensor
    training: bool

    def normalised(self) -> Tensor:
        """The weight divided by its largest singular value (as a matrix of output channels by the rest)."""
        with torch.autocast(self.weight.device.type, enabled=False):
            matrix = self.weight.flatten(1).float()
            with torch.no_grad():
                v = F.normalize(matrix.T @ self.u, dim=0)
                u = F.normalize(matrix @ v, dim=0)
                if self.training:
                    self.u.copy_(u)
            sigma = u @ (matrix @ v)
            return self.weight / sigma


class SpectralConv2d(_Spectral, nn.Conv2d):
    """`nn.Conv2d` with a spectrally normalised weight."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0) -> None:
        nn.Conv2d.__init__(self, inputs, outputs, kernel, stride, padding)
        self.register_buffer("u", F.normalize(torch.randn(outputs), dim=0))

    def forward(self, input: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H', W')."""
        return F.conv2d(input, self.normalised(), self.bias, self.stride, self.padding)


class SpectralLinear(_Spectral, nn.Linear):
    """`nn.Linear` with a spectrally normalised weight."""

    def __init__(self, inputs: int, outputs: int) -> None:
        nn.Linear.__init__(self, inputs, outputs)
        self.register_buffer("u", F.normalize(torch.randn(outputs), dim=0))

    def forward(self, input: Tensor) -> Tensor:
        """(B, inputs) -> (B, outputs)."""
        return F.linear(input, self.normalised(), self.bias)
