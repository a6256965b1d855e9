"""F = d . g_ar . h: a stem h, masked residual blocks and attention g_ar. d is `clusters.py:Head`, one for each K.

h and g_ar are interchangeable: `build_stem` and the number of masked blocks make the variants F1 to F5 of the text.
"""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from decoupe.methods.autoregressive.config import Config
from decoupe.methods.room import Draw
from decoupe.methods.trunks import Trunk
from decoupe.nn.attention import MaskedAttention
from decoupe.nn.masked_conv import MaskedConv2d, Ordering
from decoupe.nn.norm import normalise
from decoupe.nn.padding import ReplicatedConv2d


class PixelNorm(nn.Module):
    """Normalisation over the channels of each pixel by itself: nothing of later pixels gets in, even in training."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> same shape."""
        found: Tensor = self.norm(x.movedim(1, 3))
        return found.movedim(3, 1).to(x.dtype)


def norm_of(kind: str, channels: int) -> nn.Module:
    """ "batch" (statistics of the global batch) or "pixel"."""
    return PixelNorm(channels) if kind == "pixel" else normalise(kind, channels)


def drop(x: Tensor, share: float, draw: Draw | None) -> Tensor:
    """Dropout of whole channels of (B, C, H, W), drawn with the step's other random numbers; none without `draw`."""
    if draw is None or not share:
        return x
    return x * ((draw.uniform(x.shape[1], 1, 1) >= share) / (1 - share)).to(x.dtype)


class Residual(nn.Module):
    """x + conv(drop(relu(norm(conv(relu(norm(x))))))), 3x3, plain or masked by an ordering."""

    def __init__(self, channels: int, norm: str, dropout: float) -> None:
        super().__init__()
        self.first, self.second = norm_of(norm, channels), norm_of(norm, channels)
        self.enter = MaskedConv2d(channels, channels, bias=False)
        self.leave = MaskedConv2d(channels, channels)
        self.dropout = dropout

    def forward(self, x: Tensor, ordering: Ordering | None = None, draw: Draw | None = None) -> Tensor:
        """(B, C, H, W) -> same shape."""
        inner = self.enter(F.relu(self.first(x)), ordering)
        inner = drop(F.relu(self.second(inner)), self.dropout, draw)
        found: Tensor = x + self.leave(inner, ordering)
        return found


class ConvStem(nn.Module):
    """h = stem: 3x3 convolutions of stride 2 until one cell covers `stride` pixels, then `blocks` plain blocks."""

    def __init__(self, channels: int, width: int, stride: int, norm: str, dropout: float, blocks: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        now = channels
        for _ in range(max(1, int(math.log2(stride)))):
            step = 2 if stride > 1 else 1
            layers += [
                ReplicatedConv2d(now, width, 3, step, 1),
                norm_of(norm, width),
                nn.ReLU(),
            ]
            now = width
        self.layers = nn.Sequential(*layers)
        self.blocks = nn.ModuleList(Residual(width, norm, dropout) for _ in range(blocks))

    def forward(self, x: Tensor, draw: Draw | None = None) -> Tensor:
        """(B, C, H, W) -> (B, width, H / stride, W / stride)."""
        x = self.layers(x)
        for block in self.blocks:
            x = block(x, None, draw)
        return x


class Identity(nn.Module):
    """h = id: the pixels of each stride x stride cell become channels, so nothing is lost and nothing looks around."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor, draw: Draw | None = None) -> Tensor:
        """(B, C, H, W) -> (B, C stride^2, H / stride, W / stride)."""
        return F.pixel_unshuffle(x, self.stride)


class ResNet18(nn.Module):
    """h = ResNet-18 (He et al. 2016) without its classifier; it stops halving when one cell covers `stride` pixels."""

    def __init__(self, channels: int, width: int, stride: int, norm: str) -> None:
        super().__init__()
        now, done = width, 1

        def step() -> int:
            nonlocal done
            halve = done < stride
            done *= 2 if halve else 1
            return 2 if halve else 1

        self.first = nn.Sequential(
            nn.Conv2d(channels, width, 7, step(), 3, bias=False), norm_of(norm, width), nn.ReLU()
        )
        self.pool = nn.MaxPool2d(3, step(), 1)
        layers: list[nn.Module] = []
        for index in range(4):
            wide = width * 2**index
            layers.append(_Basic(now, wide, step() if index else 1, norm))
            layers.append(_Basic(wide, wide, 1, norm))
            now = wide
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor, draw: Draw | None = None) -> Tensor:
        """(B, C, H, W) -> (B, 8 width, H / stride, W / stride)."""
        found: Tensor = self.layers(self.pool(self.first(x)))
        return found


class _Basic(nn.Module):
    """The basic block of ResNet-18."""

    def __init__(self, inputs: int, outputs: int, stride: int, norm: str) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), norm_of(norm, outputs), nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), norm_of(norm, outputs),
        )  # fmt: skip
        same = inputs == outputs and stride == 1
        self.skip: nn.Module = nn.Identity()
        if not same:
            self.skip = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), norm_of(norm, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""
        return F.relu(self.body(x) + self.skip(x))


class Autoregressive(nn.Module):
    """g_ar: masked residual blocks, attention blocks evenly among them (each after a block); a 1x1 convolution first.

    Without an ordering the same weights are plain convolutions, unshifted, and attention sees everything: inference.
    """

    def __init__(
        self, inputs: int, width: int, blocks: int, attention: int, heads: int, norm: str, dropout: float
    ) -> None:
        super().__init__()
        self.enter = nn.Identity() if inputs == width else nn.Conv2d(inputs, width, 1)
        self.blocks = nn.ModuleList(Residual(width, norm, dropout) for _ in range(blocks))
        self.attentions = nn.ModuleDict(
            {
                str(blocks * (i + 1) // attention - 1): MaskedAttention(width, heads, PixelNorm(width))
                for i in range(attention)
            }
        )
        self.last = nn.Sequential(norm_of(norm, width), nn.ReLU())

    def forward(self, x: Tensor, ordering: Ordering | None = None, draw: Draw | None = None) -> Tensor:
        """(B, inputs, h, w) -> (B, width, h, w); what comes out at a pixel depends on no later pixel."""
        x = self.enter(x)
        for index, block in enumerate(self.blocks):
            x = block(x, ordering, draw)
            if str(index) in self.attentions:
                x = self.attentions[str(index)](x, ordering)
        found: Tensor = self.last(x)
        return found


class Model(Trunk):
    """g_ar . h, behind what prepares the bands; frozen features take the place of h."""

    def __init__(
        self, stem: nn.Module, autoregressive: Autoregressive, features: int, channels: int, config: Config
    ) -> None:
        super().__init__(channels, config, features)
        self.stem, self.autoregressive = stem, autoregressive

    def forward(self, images: Tensor, ordering: Ordering | None = None, draw: Draw | None = None) -> Tensor:
        """(B, C, H, W) in [-1, 1], sides divisible by `stride` -> (B, features, H / stride, W / stride).

        `ordering`: one view; None: inference. `draw`: where dropout draws from; None: no dropout.
        """
        x = self.prepared(images)
        frozen = None if self.frozen is None else self.frozen(images)
        below = self.stem(x, draw) if frozen is None else frozen
        return self.beside(self.autoregressive(below, ordering, draw), x, frozen, ordering)


BLOCKS = {"stem": 0, "residual": 1, "residuals": 5}
"""Plain residual blocks behind the convolutions of h."""


def build_stem(kind: str, channels: int, width: int, stride: int, norm: str, dropout: float) -> tuple[nn.Module, int]:
    """h by name (see `Config.stem`), and how many channels it gives."""
    if kind == "identity":
        return Identity(stride), channels * stride**2
    if kind == "resnet18":
        return ResNet18(channels, width, stride, norm), 8 * width
    return ConvStem(channels, width, stride, norm, dropout, BLOCKS[kind]), width
