"""The networks of `scene_vae`: encoders, inference networks, decoders. Every box of the text's Figures 13 and 16.

A latent is (B, Z, g, g): a map with one vector for each cell of the image, or g = 1, a single vector.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from decoupe.losses.variational import Gaussian
from decoupe.nn.backbones import headless

WIDEST = 4
"""Channels of the coarsest level, in units of the width."""
BOUND = 8.0
"""Log-variances stay within +- this many nats."""


def block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """Convolution of 3x3, or of 4x4 with a stride of 2; group normalisation; leaky ReLU."""
    groups = math.gcd(outputs, 8)
    conv = nn.Conv2d(inputs, outputs, 3 if stride == 1 else 4, stride, 1, bias=False)
    return nn.Sequential(conv, nn.GroupNorm(groups, outputs), nn.LeakyReLU(0.2))


def levels(width: int, halvings: int) -> list[int]:
    """Channels at 1/2, 1/4, ... of the size of the image."""
    return [width * min(WIDEST, 2**i) for i in range(halvings)]


class Encoder(nn.Module):
    """(B, C, S, S) -> maps at 1/2, 1/4, ..., finest first: one convolution of stride 2 for each."""

    def __init__(self, channels: int, width: int, halvings: int) -> None:
        super().__init__()
        self.widths = levels(width, halvings)
        inputs = [channels, *self.widths[:-1]]
        pairs = zip(inputs, self.widths, strict=True)
        self.steps = nn.ModuleList(block(a, b, 2) for a, b in pairs)

    def forward(self, x: Tensor) -> list[Tensor]:
        """One map per halving."""
        maps = []
        for step in self.steps:
            x = step(x)
            maps.append(x)
        return maps


class BackboneEncoder(nn.Module):
    """The stages of a classification network as the maps of an `Encoder`, brought to its widths by 1x1 convolutions.

    The coarsest level also gets the network's last map, however coarse: there it knows what things are.
    """

    def __init__(self, name: str, channels: int, width: int, halvings: int) -> None:
        super().__init__()
        self.widths = levels(width, halvings)
        self.name, self.channels, self.halvings = name, channels, halvings
        self.body = headless(name, channels)
        with torch.no_grad():
            self.body.eval()
            self.names, inputs = self._stages(torch.zeros(1, channels, 64, 64))
        self.fit = nn.ModuleList(block(a, b) for a, b in zip(inputs, self.widths, strict=True))

    def load(self, weights: str) -> None:
        """Take the weights of a file or URL. Fault where they do not fit."""
        given = headless(self.name, self.channels, weights)
        self.body.load_state_dict(given.state_dict())

    def _stages(self, images: Tensor) -> tuple[list[list[str]], list[int]]:
        """For each of the resolutions 1/2, 1/4, ... the stages that are seen there, and their channels together.

        The deepest of that resolution, or of the next finer that has one; at the last level the deepest of all, too.
        """
        found = self.body.layers(images, self.body.body.STAGES)
        by_side = {maps.shape[2]: name for name, maps in found.items()}
        deepest = by_side[min(by_side)]
        chosen = []
        for level in range(1, self.halvings + 1):
            side = images.shape[2] >> level
            chosen.append([by_side.get(side) or by_side[min(s for s in by_side if s >= side)]])
        if chosen[-1] != [deepest]:
            chosen[-1].append(deepest)
        return chosen, [sum(found[name].shape[1] for name in names) for names in chosen]

    def forward(self, x: Tensor) -> list[Tensor]:
        """One map per halving, as from an `Encoder`."""
        found = self.body.layers(x, {name for names in self.names for name in names})
        maps = []
        for level, (names, fit) in enumerate(zip(self.names, self.fit, strict=True), 1):
            side = (x.shape[2] >> level, x.shape[3] >> level)
            maps.append(fit(torch.cat([_at(found[name], side) for name in names], 1)))
        return maps


def _at(maps: Tensor, side: tuple[int, int]) -> Tensor:
    """(B, D, h, w) -> (B, D, *side): averaged if it is finer, enlarged if it is coarser."""
    if maps.shape[2] >= side[0]:
        return F.adaptive_avg_pool2d(maps, side)
    return F.interpolate(maps, side, mode="bilinear")


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """(B, S, S) int64, 255 = void -> (B, K, S, S) float32; void pixels are zero in all classes."""
    return (labels[:, None] == torch.arange(classes, device=labels.device)[:, None, None]).float()


def _gaussian(x: Tensor) -> Gaussian:
    """(B, 2Z, g, g) -> mean and bounded log-variance."""
    mean, log_variance = x.float().chunk(2, 1)
    return Gaussian(mean, BOUND * torch.tanh(log_variance / BOUND))


class Head(nn.Module):
    """Features (B, F, g, g) -> N(z) by a two-layered perceptron: of each cell, or of all for a single vector."""

    def __init__(self, features: int, cells: int, latent: int, hidden: int, vector: bool) -> None:
        super().__init__()
        inputs = features * cells**2 if vector else features
        self.vector = vector
        self.layers = nn.Sequential(nn.Conv2d(inputs, hidden, 1), nn.LeakyReLU(0.2), nn.Conv2d(hidden, 2 * latent, 1))

    def forward(self, x: Tensor) -> Gaussian:
        """Mean and log-variance, each (B, Z, g, g)."""
        return _gaussian(self.layers(x.flatten(1)[:, :, None, None] if self.vector else x))


class TagsHead(nn.Module):
    """q(z | c): tags (B, C) -> N(z) by a two-layered perceptron."""

    def __init__(self, classes: int, side: int, latent: int, hidden: int) -> None:
        super().__init__()
        self.shape = (2 * latent, side, side)
        self.layers = nn.Sequential(
            nn.Linear(classes, hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, 2 * latent * side * side)
        )

    def forward(self, tags: Tensor) -> Gaussian:
        """Mean and log-variance, each (B, Z, g, g)."""
        return _gaussian(self.layers(tags.nan_to_num()).view(-1, *self.shape))


class JointHead(nn.Module):
    """q(z | i, c, i_S): the features of all parts side by side; a part that is missing is zero, and a plane says so."""

    def __init__(self, features: int, classes: int, head: Head) -> None:
        super().__init__()
        self.tags = nn.Linear(classes, features)
        self.mix = block(3 * features + 3, features)
        self.head = head

    def forward(self, image: Tensor, tags: Tensor, mask: Tensor, present: Tensor) -> Gaussian:
        """Features (B, F, g, g) of image and mask, tags (B, C), present (B, 3) of 0 and 1: image, tags, mask."""
        size = image.shape[2:]
        known = self.tags(tags.nan_to_num())[:, :, None, None].expand(-1, -1, *size)
        flags = present[:, :, None, None].expand(-1, -1, *size)
        parts = [part * flags[:, i : i + 1] for i, part in enumerate((image, known, mask))]
        found: Gaussian = self.head(self.mix(torch.cat([*parts, flags], 1)))
        return found


class Decoder(nn.Module):
    """p(x | z): latent (B, Z, g, g) -> (B, outputs, S, S): convolutions at growing sizes, at S / 2 the last.

    The last step costs a third of a convolution at full size.
    """

    def __init__(self, latent: int, cells: int, width: int, halvings: int, outputs: int, vector: bool) -> None:
        super().__init__()
        widths = levels(width, halvings)
        self.first = nn.ConvTranspose2d(latent, widths[-1], cells) if vector else nn.Conv2d(latent, widths[-1], 3, 1, 1)
        self.start = block(widths[-1], widths[-1])
        down = [*reversed(widths)]
        pairs = zip(down[:-1], down[1:], strict=True)
        self.ups = nn.ModuleList(block(a, b) for a, b in pairs)
        self.last = nn.Sequential(nn.Conv2d(width, 4 * outputs, 3, 1, 1), nn.PixelShuffle(2))

    def forward(self, z: Tensor) -> Tensor:
        """Means of the image, or logits of the mask."""
        x = self.start(F.leaky_relu(self.first(z), 0.2))
        for up in self.ups:
            x = up(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        found: Tensor = self.last(x)
        return found


class ImageDecoder(Decoder):
    """p(i | z), with the logarithm of its scale for each band."""

    def __init__(self, latent: int, cells: int, width: int, halvings: int, channels: int, vector: bool) -> None:
        super().__init__(latent, cells, width, halvings, channels, vector)
        self.log_scale = nn.Parameter(torch.full((channels,), -1.0))


class TagsDecoder(nn.Module):
    """p(c | z): logits (B, C) by a two-layered perceptron."""

    def __init__(self, latent: int, side: int, classes: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(latent * side * side, hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, classes)
        )

    def forward(self, z: Tensor) -> Tensor:
        """(B, Z, g, g) -> (B, C)."""
        found: Tensor = self.layers(z.flatten(1))
        return found


class ConditionalDecoder(nn.Module):
    """p(i_S | i, z): the latent joins the coarsest map of the image, finer maps join on the way up (latent 0: none)."""

    def __init__(self, channels: int, latent: int, cells: int, width: int, halvings: int, classes: int) -> None:
        super().__init__()
        widths = levels(width, halvings)
        self.cells = cells
        self.start = block(widths[-1] + latent, widths[-1])
        down = [*reversed(widths)]
        pairs = zip(down[:-1], down[1:], strict=True)
        self.ups = nn.ModuleList(block(a + b, b) for a, b in pairs)
        self.fold = nn.PixelUnshuffle(2)
        self.last = nn.Sequential(
            block(width + latent + 4 * channels, 2 * width),
            nn.Conv2d(2 * width, 4 * classes, 3, 1, 1),
            nn.PixelShuffle(2),
        )

    def forward(self, images: Tensor, maps: Sequence[Tensor], z: Tensor | None) -> Tensor:
        """(B, C, S, S), the maps of its encoder, (B, Z, g, g) -> logits (B, K, S, S)."""
        x = maps[-1]
        if z is not None:
            z = z.to(x.dtype)
            x = torch.cat([x, z.expand(-1, -1, *x.shape[2:])], 1)
        x = self.start(x)
        for up, skip in zip(self.ups, reversed(maps[:-1]), strict=True):
            x = up(torch.cat([F.interpolate(x, scale_factor=2.0, mode="nearest"), skip], 1))
        parts = [x, self.fold(images).to(x.dtype)]
        if z is not None:
            parts.append(F.interpolate(z, list(x.shape[2:]), mode="nearest"))
        found: Tensor = self.last(torch.cat(parts, 1))
        return found
