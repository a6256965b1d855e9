"""The networks of ReDO: mask network F, region generators G_k, discriminator D and reader of latents delta."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from decoupe.nn.instance import ConditionalInstanceNorm2d, InstanceNorm2d
from decoupe.nn.padding import Reflect
from decoupe.nn.spectral import SpectralConv2d, SpectralLinear
from decoupe.snapping import reduce_to as reduce_to

GAIN = 0.8
"""Gain of the orthogonal initialisation."""


def orthogonal(network: nn.Module) -> None:
    """Orthogonal weights of gain 0.8 and zero biases in every convolution and linear layer of `network`."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.orthogonal_(module.weight, GAIN)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _conv_norm(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
    return nn.Sequential(conv, InstanceNorm2d(outputs), nn.ReLU())


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        last = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.body = nn.Sequential(_conv_norm(width, width), last, InstanceNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, h, w) -> same."""
        return torch.relu(x + self.body(x))


class MaskNetwork(nn.Module):
    """F: image (B, C, H, W) in [-1, 1] -> probabilities of the K regions (B, K, H, W). Any H, W >= 32.

    7x7 stem, two halvings, three residual blocks, pyramid pooling over 1, 2, 3 and 6 bins, two doublings, 7x7 end.
    Two regions are one logit and its complement; more are a softmax. With `coarse` > 1 the logits are averaged over
    coarse x coarse pixels and enlarged again: masks that cannot be speckled.
    """

    BINS = (1, 2, 3, 6)

    def __init__(self, channels: int, width: int, k: int, coarse: int = 1) -> None:
        super().__init__()
        self.coarse = coarse
        self.stem = nn.Sequential(
            Reflect(3), nn.Conv2d(channels, width, 7, bias=False), InstanceNorm2d(width), nn.ReLU()
        )
        self.down = nn.Sequential(_conv_norm(width, 2 * width, 2), _conv_norm(2 * width, 4 * width, 2))
        self.blocks = nn.Sequential(*(_Residual(4 * width) for _ in range(3)))
        self.pyramid = nn.ModuleList(nn.Conv2d(4 * width, 1, 1) for _ in self.BINS)
        self.up = nn.ModuleList((_conv_norm(4 * width + len(self.BINS), 2 * width), _conv_norm(2 * width, width)))
        self.last = nn.Sequential(Reflect(3), nn.Conv2d(width, 1 if k == 2 else k, 7))
        orthogonal(self)

    def features(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 4 width, ceil(H / 4), ceil(W / 4)): what the masks are made of."""
        found: Tensor = self.blocks(self.down(self.stem(images)))
        return found

    def forward(self, images: Tensor) -> Tensor:
        """Probabilities, float32, summing to 1 over K."""
        height, width = images.shape[2:]
        x = self.features(images)
        size = x.shape[2:]
        pooled = [conv(F.adaptive_avg_pool2d(x, bins)) for bins, conv in zip(self.BINS, self.pyramid, strict=True)]
        spread = [F.interpolate(p, size, mode="bilinear", align_corners=False) for p in pooled]
        x = torch.cat([x, *(s.to(x.dtype) for s in spread)], 1)
        for up, scale in zip(self.up, (2, 1), strict=True):
            x = up(F.interpolate(x, (math.ceil(height / scale), math.ceil(width / scale)), mode="nearest"))
        logits = self.last(x).float()
        if self.coarse > 1:
            logits = F.avg_pool2d(logits, self.coarse, ceil_mode=True)
            logits = F.interpolate(logits, (height, width), mode="bilinear", align_corners=False)
        if logits.shape[1] > 1:
            return torch.softmax(logits, 1)
        mask = torch.sigmoid(logits)
        return torch.cat([1 - mask, mask], 1)


class SelfAttention(nn.Module):
    """x + gain * attention(x), the gain from 0 (section III.A); keys and values pooled 2x2, keys of 1/8 the width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = max(1, width // 8)
        self.query, self.key = SpectralConv2d(width, inner, 1), SpectralConv2d(width, inner, 1)
        self.value, self.out = SpectralConv2d(width, width // 2, 1), SpectralConv2d(width // 2, width, 1)
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, h, w) -> same."""
        q, k, v = self.query(x), F.max_pool2d(self.key(x), 2), F.max_pool2d(self.value(x), 2)
        queries, keys, values = (maps.permute(0, 2, 3, 1).flatten(1, 2) for maps in (q, k, v))
        mixed = F.scaled_dot_product_attention(queries, keys, values, scale=1.0)
        result: Tensor = x + self.gain * self.out(mixed.reshape(*x.shape[:1], *x.shape[2:], -1).permute(0, 3, 1, 2))
        return result


def sides(size: int) -> list[int]:
    """Sides of the feature maps from the smallest (4 to 7 pixels) to `size`: each at most twice the one before."""
    found = [size]
    while found[0] >= 8:
        found.insert(0, math.ceil(found[0] / 2))
    return found


class _UpBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, z: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = ConditionalInstanceNorm2d(inputs, z), ConditionalInstanceNorm2d(outputs, z)
        self.conv1 = SpectralConv2d(inputs + 1, outputs, 3, 1, 1)
        self.conv2 = SpectralConv2d(outputs, outputs, 3, 1, 1)
        self.skip = SpectralConv2d(inputs, outputs, 1)

    def forward(self, x: Tensor, z: Tensor, mask: Tensor) -> Tensor:
        """(B, inputs, h, w), latents, the mask at the new size (B, 1, H, W) -> (B, outputs, H, W)."""
        size = mask.shape[2:]
        y = F.interpolate(torch.relu(self.norm1(x, z)), size, mode="nearest")
        y = self.conv1(torch.cat([y, mask.to(y.dtype)], 1))
        y = self.conv2(torch.relu(self.norm2(y, z)))
        result: Tensor = y + F.interpolate(self.skip(x), size, mode="nearest")  # a 1x1 convolution commutes with it
        return result


class RegionGenerator(nn.Module):
    """G_k: mask (B, 1, S, S) and latent (B, Z) -> what fills the region, (B, C, S, S) in [-1, 1], times the mask."""

    def __init__(self, channels: int, width: int, z: int, size: int, attention: bool) -> None:
        super().__init__()
        self.sides = sides(size)
        levels = len(self.sides) - 1
        widths = [width * min(16, 2 ** (levels - i)) for i in range(levels + 1)]
        self.dense = SpectralLinear(z, widths[0] * self.sides[0] ** 2)
        self.blocks = nn.ModuleList(_UpBlock(a, b, z) for a, b in zip(widths, widths[1:], strict=False))
        self.attention = SelfAttention(widths[-2]) if attention else None
        self.norm = ConditionalInstanceNorm2d(width, z)
        self.last = SpectralConv2d(width + 1, channels, 3, 1, 1)
        orthogonal(self)

    def forward(self, mask: Tensor, z: Tensor) -> Tensor:
        """M_k G_k(M_k, z_k)."""
        x = self.dense(z).reshape(len(z), -1, self.sides[0], self.sides[0]).to(memory_format=torch.channels_last)
        for i, (block, side) in enumerate(zip(self.blocks, self.sides[1:], strict=True)):
            if self.attention is not None and i == len(self.blocks) - 1:
                x = self.attention(x)
            x = block(x, z, mask if side == mask.shape[2] else F.adaptive_avg_pool2d(mask, side))
        x = torch.relu(self.norm(x, z))
        return torch.tanh(self.last(torch.cat([x, mask.to(x.dtype)], 1)).float()) * mask


class _DownBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, first: bool) -> None:
        super().__init__()
        self.first = first
        self.conv1 = SpectralConv2d(inputs, outputs, 3, 1, 1)
        self.conv2 = SpectralConv2d(outputs, outputs, 3, 1, 1)
        self.skip = SpectralConv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, h, w) -> (B, outputs, ceil(h / 2), ceil(w / 2))."""
        y = self.conv2(torch.relu(self.conv1(x if self.first else torch.relu(x))))
        result: Tensor = F.avg_pool2d(y, 2, ceil_mode=True) + self.skip(F.avg_pool2d(x, 2, ceil_mode=True))
        return result


class Trunk(nn.Module):
    """Residual trunk of D and delta: image (B, C, S, S) -> features (B, D), summed over what is left of the image."""

    def __init__(self, channels: int, width: int, size: int, attention: bool) -> None:
        super().__init__()
        widths = [width * min(16, 2**i) for i in range(len(sides(size)) - 1)]
        pairs = zip([channels, *widths], widths, strict=False)
        self.blocks = nn.ModuleList(_DownBlock(a, b, i == 0) for i, (a, b) in enumerate(pairs))
        self.attention = SelfAttention(width) if attention else None
        self.features = widths[-1]

    def forward(self, images: Tensor) -> Tensor:
        """Features, float32."""
        x = images
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i == 0 and self.attention is not None:
                x = self.attention(x)
        return torch.relu(x).float().sum((2, 3))


class Reader(nn.Module):
    """delta: image -> the latents of all regions (B, K, Z)."""

    def __init__(self, trunk: Trunk | None, features: int, k: int, z: int) -> None:
        super().__init__()
        self.trunk, self.k = trunk, k
        self.last = nn.Linear(features, k * z)
        orthogonal(self)

    def forward(self, seen: Tensor) -> Tensor:
        """`seen`: images, or the discriminator's features of them where there is no trunk of its own."""
        found: Tensor = self.last(seen if self.trunk is None else self.trunk(seen))
        return found.reshape(len(found), self.k, -1)


class Discriminator(nn.Module):
    """D: a trunk and one linear score."""

    def __init__(self, trunk: Trunk) -> None:
        super().__init__()
        self.trunk, self.last = trunk, nn.Linear(trunk.features, 1)
        orthogonal(self)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, S, S) -> scores (B,) and features (B, D)."""
        features = self.trunk(images)
        return self.last(features)[:, 0], features


def split(rows: Tensor, k: int, first: int = 0) -> Sequence[Tensor]:
    """For each region 0, 1, ..., k - 1 the rows r with (r + first) % k equal to it: those that have it redrawn."""
    return [rows[(region - first) % k :: k] for region in range(k)]
