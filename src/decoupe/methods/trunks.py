"""From images to a map of features: what is done to the bands before a network, and what heads see beside it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from decoupe.methods.cluster_config import ClusterConfig
from decoupe.nn.features import FrozenFeatures
from decoupe.nn.masked_conv import Ordering, mean_before
from decoupe.nn.sobel import with_sobel

TINY = 1e-8
LAYERS = ("stage2", "stage3", "stage4")
"""Layers of a frozen network whose maps are used."""


class Whitening(nn.Module):
    """z = C^(-1/2) (x - m), with the mean m and covariance C of the bands over the training images.

    Bands that go together (brightness, in photos more than nine tenths of the variance) become as loud as the
    differences between them (hue, and what tells plants in near infrared). Variances below a thousandth of the
    largest count as that much, so that noise in what is nearly constant is not blown up further.
    """

    mean: Tensor
    mix: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("mix", torch.eye(channels))

    def fit(self, images: Sequence[Tensor]) -> None:
        """Take m and C from parts (B, C, H, W) in [-1, 1] of equal H and W."""
        count = sum(len(part) * part.shape[2] * part.shape[3] for part in images)
        first = sum((part.double().sum((0, 2, 3)) for part in images), torch.zeros(())) / count
        second = sum((torch.einsum("bihw,bjhw->ij", part.double(), part.double()) for part in images), torch.zeros(()))
        variances, axes = torch.linalg.eigh(second / count - first[:, None] * first)
        floor = variances[-1].clamp_min(TINY) / 1000
        self.mean.copy_(first)
        self.mix.copy_(axes @ torch.diag(variances.clamp_min(floor).rsqrt()) @ axes.T)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape, float32."""
        with torch.autocast(images.device.type, enabled=False):
            return F.conv2d(images.float() - self.mean[:, None, None], self.mix[:, :, None, None])


class Trunk(nn.Module):
    """Images to a map of features: what a network finds, and after it, if configured, the cells' own bands."""

    def __init__(self, channels: int, config: ClusterConfig, found: int) -> None:
        """`found`: features of the network alone."""
        super().__init__()
        self.sobel, self.standardise, self.shortcut = config.sobel, config.standardise, config.shortcut
        self.stride, self.context = config.cell, config.context
        self.frozen: FrozenFeatures | None = None
        if config.features:
            self.frozen = FrozenFeatures(config.features, channels, LAYERS, self.stride, config.components)
        self.found = found
        each = 2 + bool(config.context)
        given = each * (channels + 2 * config.sobel) * config.shortcut + config.components * bool(config.features)
        self.features = found + given
        self.whitening = Whitening(channels) if config.whiten else None

    def prepared(self, images: Tensor) -> Tensor:
        """(B, C, H, W) in [-1, 1] -> what the first convolution sees: whitened, standardised, with Sobel bands."""
        x = images if self.whitening is None else self.whitening(images)
        if self.standardise:
            x = x.float() - x.float().mean((2, 3), keepdim=True)
            x = x / x.square().mean((2, 3), keepdim=True).sqrt().clamp_min(0.05)
        return with_sobel(x) if self.sobel else x

    def learning(self) -> list[nn.Module]:
        """The parts that are trained: all but frozen features."""
        return [module for module in self.children() if module is not self.frozen]

    def beside(self, found: Tensor, x: Tensor, frozen: Tensor | None, ordering: Ordering | None = None) -> Tensor:
        """The network's (B, found, h, w), the bands (B, C, H, W) it saw, frozen features -> (B, features, h, w).

        With the shortcut, the mean and the deviation of each band over each cell come after the network's features:
        what colour alone knows need not pass through the network, and a cell's own bands tell nothing of other cells.
        With `context` their means over the cells around come too, or over as many that come before in `ordering`.
        """
        parts = [found] if frozen is None else [found, frozen.to(found.dtype)]
        if self.shortcut:
            with torch.autocast(x.device.type, enabled=False):
                mean, square = (F.avg_pool2d(part, self.stride) for part in (x.float(), x.float().square()))
                deviation = (square - mean.square()).clamp_min(TINY).sqrt()
                around = [mean_before(mean, self.context, ordering)] if self.context else []
            parts += [part.to(found.dtype) for part in (mean, deviation, *around)]
        return torch.cat(parts, 1) if len(parts) > 1 else found
