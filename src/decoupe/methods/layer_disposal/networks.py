"""The networks of Figure 3-1: encoder E, the K + 1 decoders, discriminator D; and the classifiers of section 3.2.1.

The decoders have weights of their own but equal shapes: they run side by side as grouped convolutions, and on a CPU,
whose caches that overflows, are trained one after the other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from decoupe.compositing import Stack
from decoupe.methods.layer_disposal.losses import keep_probs, keeping
from decoupe.nn.norm import BatchNorm2d

SPREAD = 0.02
"""Standard deviation of initial weights (DCGAN)."""
SLOPE = 0.2
"""Slope of leaky ReLU below 0 (DCGAN)."""


def initialise(network: nn.Module) -> None:
    """DCGAN: weights from N(0, 0.02), gains of normalisations from N(1, 0.02), zero biases."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0, SPREAD)
        elif isinstance(module, nn.BatchNorm2d | nn.GroupNorm):
            nn.init.normal_(module.weight, 1, SPREAD)
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.BatchNorm2d | nn.GroupNorm):
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def normalise(kind: str, channels: int, groups: int = 1) -> nn.Module:
    """Normalisation of `groups` networks side by side with `channels` each: none of them sees another."""
    if kind == "batch":
        return BatchNorm2d(groups * channels)
    return nn.GroupNorm(groups * math.gcd(channels, 8), groups * channels)


def _down(inputs: int, outputs: int, norm: str | None) -> list[nn.Module]:
    """4x4 convolution of stride 2, normalisation, leaky ReLU."""
    conv = nn.Conv2d(inputs, outputs, 4, 2, 1, bias=norm is None)
    return [conv, *([] if norm is None else [normalise(norm, outputs)]), nn.LeakyReLU(SLOPE)]


class Encoder(nn.Module):
    """E: (B, C, S, S) -> codes (B, Z, S/16, S/16), or (B, Z, 1, 1) where they are flat.

    Three 4x4 convolutions of stride 2, one 3x3, one 4x4 of stride 2 (section 3.5).
    """

    def __init__(self, channels: int, width: int, z: int, size: int, flat: bool, norm: str) -> None:
        super().__init__()
        last = nn.Conv2d(8 * width, z, size // 8) if flat else nn.Conv2d(8 * width, z, 4, 2, 1)
        self.body = nn.Sequential(
            *_down(channels, width, None),
            *_down(width, 2 * width, norm),
            *_down(2 * width, 4 * width, norm),
            nn.Conv2d(4 * width, 8 * width, 3, 1, 1, bias=False), normalise(norm, 8 * width), nn.LeakyReLU(SLOPE),
            last,
        )  # fmt: skip
        initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        """Codes in float32."""
        codes: Tensor = self.body(images)
        return codes.float()


class _Up(nn.Module):
    """Doubles the side, for `groups` networks side by side: a 4x4 transposed convolution, or a residual block."""

    def __init__(self, inputs: int, outputs: int, groups: int, norm: str, residual: bool) -> None:
        super().__init__()
        wide, tall = groups * inputs, groups * outputs
        if not residual:
            conv = nn.ConvTranspose2d(wide, tall, 4, 2, 1, bias=False, groups=groups)
            self.body = nn.Sequential(conv, normalise(norm, outputs, groups))
            self.skip = None
            return
        self.skip = nn.Conv2d(wide, tall, 1, bias=False, groups=groups)
        self.body = nn.Sequential(
            nn.Conv2d(wide, tall, 3, 1, 1, bias=False, groups=groups), normalise(norm, outputs, groups), nn.ReLU(),
            nn.Conv2d(tall, tall, 3, 1, 1, bias=False, groups=groups), normalise(norm, outputs, groups),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """(B, groups inputs, h, w) -> (B, groups outputs, 2h, 2w)."""
        if self.skip is None:
            return F.relu(self.body(x))
        return F.relu(_doubled(self.skip(x)) + self.body(_doubled(x)))


def _doubled(x: Tensor) -> Tensor:
    """(B, N, h, w) -> (B, N, 2h, 2w), every pixel four times."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


class _Last(nn.ConvTranspose2d):
    bias: Tensor


@dataclass(frozen=True)
class Shape:
    """What decoders are made of."""

    z: int
    """Channels of the code."""
    width: int
    """Channels of the last hidden maps."""
    outputs: int
    """Channels of what comes out."""
    size: int
    """Its side in pixels."""
    flat: bool = False
    """Codes are vectors."""
    norm: str = "batch"
    residual: bool = False
    """Enlarge with residual blocks."""


class Decoders(nn.Module):
    """`groups` decoders of one shape: codes -> (B, groups, outputs, S, S) float32, before any range is imposed.

    The encoder mirrored: the side is doubled, a 3x3 convolution, and three more doublings.
    """

    def __init__(self, shape: Shape, groups: int) -> None:
        super().__init__()
        self.shape, self.groups = shape, groups
        width, norm, residual, top = shape.width, shape.norm, shape.residual, groups * 8 * shape.width
        kernel, stride, padding = (shape.size // 8, 1, 0) if shape.flat else (4, 2, 1)
        self.first = nn.ConvTranspose2d(shape.z, top, kernel, stride, padding, bias=False)
        self.body = nn.Sequential(
            normalise(norm, 8 * width, groups), nn.ReLU(),
            nn.Conv2d(top, top // 2, 3, 1, 1, bias=False, groups=groups), normalise(norm, 4 * width, groups), nn.ReLU(),
            _Up(4 * width, 2 * width, groups, norm, residual),
            _Up(2 * width, width, groups, norm, residual),
        )  # fmt: skip
        self.last = _Last(groups * width, groups * shape.outputs, 4, 2, 1, groups=groups)
        initialise(self)
        self._one: tuple[Decoders, ...] = ()  # what `in_turn` lends weights to; in a tuple: it has none to register
        if groups > 1:
            with torch.device("meta"):
                self._one = (Decoders(shape, 1),)

    def forward(self, codes: Tensor) -> Tensor:
        """All decoders: in training in the way that is faster on the device, else at once, which threads can share."""
        one_by_one = self.training and self._one and not codes.is_cuda
        return self.in_turn(codes) if one_by_one else self.side_by_side(codes)

    def side_by_side(self, codes: Tensor) -> Tensor:
        """All decoders at once, as grouped convolutions."""
        made: Tensor = self.last(self.body(self.first(codes)))
        planes = made.float().contiguous()  # a layer's channels lie together
        return planes.view(made.shape[0], self.groups, -1, *made.shape[2:])

    def in_turn(self, codes: Tensor) -> Tensor:
        """One decoder after the other, each with its share of the weights: the same result."""
        tensors = [*self.named_parameters(), *self.named_buffers()]
        shares = {key: tensor.chunk(self.groups, self._axis(key)) for key, tensor in tensors if tensor.ndim}
        each = ({key: share[index] for key, share in shares.items()} for index in range(self.groups))
        one = self._one[0].train(self.training)
        made = [functional_call(one, share, (codes,)) for share in each]
        if self.training:
            for count in (buffer for buffer in self.buffers() if not buffer.ndim):
                count.add_(1)  # batches seen, which all decoders have in common
        return torch.cat(made, 1)

    def alone(self, index: int) -> Decoders:
        """A copy of one of the decoders, which runs by itself."""
        part = Decoders(self.shape, 1)
        weights = {key: self._share(key, index, t) for key, t in self.state_dict().items()}
        part.load_state_dict(weights)
        return part.train(self.training)

    def make_identical(self) -> None:
        """Give every decoder the first one's weights (section 4.2, the ablation)."""
        with torch.no_grad():
            for key, tensor in self.state_dict().items():
                if tensor.ndim:
                    axis = self._axis(key)
                    copies = [self._share(key, 0, tensor)] * self.groups
                    tensor.copy_(torch.cat(copies, axis))

    @staticmethod
    def _axis(key: str) -> int:
        """Along which axis of a tensor the decoders lie side by side."""
        return 1 if key == "first.weight" else 0

    def _share(self, key: str, index: int, tensor: Tensor) -> Tensor:
        return tensor.chunk(self.groups, self._axis(key))[index].clone() if tensor.ndim else tensor.clone()


class Generator(nn.Module):
    """G: codes -> background, K images and K masks."""

    def __init__(self, shape: Shape, k: int, shared_trunk: bool, identical: bool, even: bool = False) -> None:
        """`shape.outputs`: bands of the images. even: masks begin near 1 / (k + 1), so that all layers show alike."""
        super().__init__()
        self.channels = shape.outputs
        self.decoders = Decoders(replace(shape, outputs=self.channels + 1) if shared_trunk else shape, k + 1)
        self.mask_decoders = None if shared_trunk else Decoders(replace(shape, outputs=1), k)
        for decoders in (self.decoders, self.mask_decoders):
            if decoders is not None and identical:
                decoders.make_identical()
        if even and not identical:
            self._share_evenly(k)

    def _share_evenly(self, k: int) -> None:
        """Biases of the masks: m_k = 1 / (k + 1), hence v_k = 1 / (K + 1) for background and every layer."""
        shares = torch.logit(1 / torch.arange(2.0, k + 2))
        with torch.no_grad():
            if self.mask_decoders is not None:
                self.mask_decoders.last.bias.copy_(shares)
            else:
                self.decoders.last.bias.view(k + 1, -1)[1:, self.channels] = shares

    def forward(self, codes: Tensor) -> Stack:
        """Codes (B, Z, h, w) -> layers of (B, C, S, S), float32."""
        made, first = self.decoders(codes), [1, self.decoders.groups - 1]
        if self.mask_decoders is None:
            made, opacity = torch.split(made, [self.channels, 1], 2)
            raw = torch.split(opacity, first, 1)[1]
        else:
            raw = self.mask_decoders(codes)
        background, images = torch.split(torch.tanh(made), first, 1)
        return Stack(background[:, 0], images, torch.sigmoid(raw))


class Discriminator(nn.Module):
    """D of DCGAN: (B, C, S, S) -> logits of P(real), (B,). Four halvings, then one window over all that is left."""

    def __init__(self, channels: int, width: int, size: int, norm: str) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_down(channels, width, None), *_down(width, 2 * width, norm), *_down(2 * width, 4 * width, norm),
            *_down(4 * width, 8 * width, norm), nn.Conv2d(8 * width, 1, size // 16),
        )  # fmt: skip
        initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        """Scores in float32."""
        scores: Tensor = self.body(images)
        return scores.flatten().float()

    @property
    def learning(self) -> nn.Module:
        """What is trained: all of it."""
        return self.body


class Presence(nn.Module):
    """Section 3.2.1: which layers are in an image, from the image and the layers decoded from it: (B, K) logits."""

    def __init__(self, channels: int, k: int, width: int, size: int, norm: str) -> None:
        super().__init__()
        inputs = channels * (k + 2) + k
        self.body = nn.Sequential(
            *_down(inputs, width, None), *_down(width, 2 * width, norm), *_down(2 * width, 4 * width, norm),
            *_down(4 * width, 4 * width, norm), nn.Conv2d(4 * width, k, size // 16),
        )  # fmt: skip
        initialise(self)

    def forward(self, images: Tensor, stack: Stack) -> Tensor:
        """(B, C, S, S) and its layers -> logits in float32."""
        layers = [stack.background, stack.images.flatten(1, 2), stack.masks.flatten(1, 2)]
        logits: Tensor = self.body(torch.cat([images, *layers], 1))
        return logits.flatten(1).float()


class Keeping(nn.Module):
    """The probability p_k of Eq. 3.2 with which each layer is kept: the same for all, or learned with a fixed mean."""

    def __init__(self, k: int, keep_prob: float, learned: bool) -> None:
        super().__init__()
        self.keep_prob, self.k = keep_prob, k
        self.logits = nn.Parameter(torch.zeros(k)) if learned else None

    def forward(self, uniform: Tensor) -> Tensor:
        """(B, K) uniform numbers in [0, 1) -> (B, K), 1 where a layer is kept, else 0."""
        return keeping(uniform, self.probs(uniform.device))

    def probs(self, device: torch.device | str = "cpu") -> Tensor:
        """(K,) probabilities."""
        if self.logits is None:
            return torch.full((self.k,), self.keep_prob, device=device)
        return keep_probs(self.logits, self.keep_prob)
