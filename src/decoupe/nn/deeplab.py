"""DeepLab-LargeFOV on any backbone: its trunk at a finer stride by dilation, and a head that sees far around a cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from decoupe.errors import Fault
from decoupe.nn.backbones import BACKBONES, Backbone, Body
from decoupe.nn.backbones.mobilenet import MobileNetV2
from decoupe.nn.backbones.resnet import ResNet
from decoupe.nn.backbones.vgg import VGG16
from decoupe.nn.dropout import Dropout
from decoupe.nn.norm import fold


class Interleaved(nn.Conv2d):
    """A dilated 3x3 convolution of each channel by itself, exact, computed on d x d interleaved images.

    Cell (y, x) only ever meets cells whose y and x are the same modulo d: these form d^2 smaller images, on which the
    convolution has no dilation. On a CPU its training step takes a quarter of the time in bf16.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(B, D, h, w) -> (B, D, h, w)."""
        d = self.dilation[0]
        if d == 1 or input.device.type != "cpu" or not torch.is_grad_enabled():
            return super().forward(input)
        b, c, h, w = input.shape
        x = F.pad(input, (0, -w % d, 0, -h % d))
        rows, columns = x.shape[2] // d, x.shape[3] // d
        x = x.reshape(b, c, rows, d, columns, d).permute(0, 3, 5, 2, 4, 1).reshape(b * d * d, rows, columns, c)
        y = F.conv2d(x.permute(0, 3, 1, 2), self.weight, self.bias, padding=1, groups=self.groups)
        y = y.permute(0, 2, 3, 1).reshape(b, d, d, rows, columns, c).permute(0, 5, 3, 1, 4, 2)
        return y.reshape(b, c, rows * d, columns * d)[:, :, :h, :w]


def trunk_parts(body: Body) -> list[nn.Module]:
    """The trunk of a classifier as modules to run one after the other; each halves the resolution at most once.

    Fault on a body that is none of the table's.
    """
    if isinstance(body, Dilated):
        return list(body.parts)
    if isinstance(body, VGG16):
        return list(body.features)[:-1]
    if isinstance(body, MobileNetV2):
        return list(body.features)
    if isinstance(body, ResNet):
        groups = (body.layer1, body.layer2, body.layer3, body.layer4)
        return [body.conv1, body.bn1, body.relu, body.maxpool, *(block for group in groups for block in group)]
    raise Fault(f"a backbone of {', '.join(BACKBONES)}", type(body).__name__, "choose one of these")


def dense_parts(body: Body) -> list[nn.Module]:
    """The trunk as the segmenter uses it: VGG's with its last maximum, MobileNetV2's without its last 1x1 convolution.

    That convolution only widens the map for the classifier.
    """
    parts = trunk_parts(body)
    if isinstance(body, VGG16):
        return [*parts, body.features[-1]]
    return parts[:-1] if isinstance(body, MobileNetV2) else parts


def _halves(part: nn.Module) -> bool:
    strides = [m.stride for m in part.modules() if isinstance(m, nn.Conv2d | nn.MaxPool2d)]
    return any(stride in (2, (2, 2)) for stride in strides)


def strides(parts: Sequence[nn.Module]) -> list[int]:
    """Pixels per cell after each part."""
    found, now = [], 1
    for part in parts:
        now *= 2 if _halves(part) else 1
        found.append(now)
    return found


def dilate(parts: Sequence[nn.Module], stride: int) -> None:
    """Change parts, in place, so that no cell is larger than `stride` pixels.

    Where a part would halve the resolution further it does not, and all that follows is dilated by 2 once more: every
    weight meets the neighbours that it met before.
    """
    dilation = 1
    for part, now in zip(parts, strides(parts), strict=True):
        coarse, own = _halves(part) and now > stride, dilation
        for layer in part.modules():
            if isinstance(layer, nn.MaxPool2d) and coarse:
                layer.kernel_size, layer.padding, layer.stride = 3, 1, 1
            elif isinstance(layer, nn.Conv2d):
                _widen(layer, own)
                if coarse and layer.stride == (2, 2):
                    layer.stride = (1, 1)
                    own = 2 * dilation
        dilation *= 2 if coarse else 1


def _widen(layer: nn.Conv2d, dilation: int) -> None:
    """Give a convolution wider than 1x1 this dilation and a padding that keeps the size."""
    if dilation == 1 or layer.kernel_size == (1, 1):
        return
    layer.dilation = (dilation, dilation)
    layer.padding = (dilation * (layer.kernel_size[0] // 2), dilation * (layer.kernel_size[1] // 2))
    if layer.groups == layer.in_channels and layer.kernel_size == (3, 3):
        layer.__class__ = Interleaved  # the same parameters, computed otherwise


class Dilated(Body):
    """The trunk of a backbone at a stride of `stride` pixels; no head.

    Maxima are over 3x3 with a border, as in DeepLab, so that S = 8 n + 1 pixels give n + 1 cells.
    """

    FIRST, LAST, FINAL = "parts.0", "parts", ""
    STAGES: ClassVar[dict[str, str]] = {}

    def __init__(self, name: str, channels: int, stride: int, folded: bool = False) -> None:
        super().__init__()
        parts = dense_parts(BACKBONES[name].build(channels, 1))
        self.before = strides(parts)
        dilate(parts, stride)
        for layer in parts:
            if isinstance(layer, nn.MaxPool2d):
                layer.kernel_size, layer.padding = 3, 1
        self.parts = nn.ModuleList(parts)
        if folded:
            fold(self)

    def trunk(self, x: Tensor) -> Tensor:
        """(B, C, H, W), normalised -> (B, D, h, w)."""
        for part in self.parts:
            x = part(x)
        return x


def later(network: Backbone, first: int) -> list[nn.Module]:
    """All layers of a classifier but those of its trunk's first parts."""
    fixed = {id(module) for part in trunk_parts(network.body)[:first] for module in part.modules()}
    return [m for m in network.modules() if not list(m.children()) and id(m) not in fixed]


class Late(nn.Module):
    """A classifier from the map that its first parts give: (B, D, h, w) -> logits (B, classes).

    So that what never changes is computed once, and class maps can be asked of what follows.
    """

    def __init__(self, network: Backbone, first: int) -> None:
        super().__init__()
        self.parts = nn.Sequential(*trunk_parts(network.body)[first:])
        self.whole = network
        self.last = f"parts.{len(self.parts) - 1}"

    def forward(self, x: Tensor) -> Tensor:
        """(B, D, h, w) -> logits (B, classes)."""
        return self.whole.head(self.parts(x))


class LargeFov(nn.Module):
    """DeepLab-LargeFOV. Images (B, C, S, S) in [-1, 1] -> scores (B, K, h, w), h = (S - 1) / stride + 1 rounded down.

    fc6: 3x3, dilated so that it reaches 12 cells of 8 pixels far; fc7: 1x1; dropout after both; one score per class.
    """

    def __init__(
        self,
        name: str,
        channels: int,
        classes: int,
        stride: int = 8,
        width: int = 1024,
        dropout: float = 0.5,
        folded: bool = False,
    ) -> None:
        """`folded`: without batch normalisation, which `norm.fold` has put into the convolutions."""
        super().__init__()
        self.network = Backbone(Dilated(name, channels, stride, folded), channels)
        found = 320 if name == "mobilenet_v2" else BACKBONES[name].features
        reach = max(1, 12 * 8 // stride)
        self.fc6 = nn.Conv2d(found, width, 3, padding=reach, dilation=reach)
        self.fc7 = nn.Conv2d(width, width, 1)
        self.score = nn.Conv2d(width, classes, 1)
        self.dropout = Dropout(dropout)
        for layer in (self.fc6, self.fc7):
            nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu")
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        nn.init.normal_(self.score.weight, 0, 0.01)
        nn.init.zeros_(self.score.bias)  # type: ignore[arg-type]

    @property
    def trunk(self) -> Dilated:
        """The dilated trunk behind the normalisation."""
        body = self.network.body
        if not isinstance(body, Dilated):
            raise TypeError("the trunk is not dilated")
        return body

    @torch.no_grad()
    def take(self, network: Backbone) -> None:
        """Take the weights of a classifier's trunk, its normalisation, and whether its batch statistics are frozen."""
        for own, theirs in zip(self.trunk.parts, dense_parts(network.body), strict=True):
            own.load_state_dict(theirs.state_dict())
        for name in ("mean", "std", "frozen"):
            getattr(self.network, name).copy_(getattr(network, name))

    def early(self, fixed: int) -> int:
        """How many of the trunk's first parts had cells of at most `fixed` pixels in the classifier; 0 for 0."""
        return sum(own <= fixed for own in self.trunk.before) if fixed else 0

    def head(self, x: Tensor) -> Tensor:
        """The trunk's map (B, D, h, w) -> scores (B, K, h, w)."""
        x = self.dropout(F.relu(self.fc6(x)))
        x = self.dropout(F.relu(self.fc7(x)))
        scores: Tensor = self.score(x)
        return scores

    def first(self, images: Tensor, count: int) -> Tensor:
        """(B, C, S, S) in [-1, 1] -> the map after the trunk's first `count` parts."""
        x = self.network.normalised(images)
        for part in self.trunk.parts[:count]:
            x = part(x)
        return x

    def rest(self, x: Tensor, count: int) -> Tensor:
        """The map after the trunk's first `count` parts -> scores (B, K, h, w)."""
        for part in self.trunk.parts[count:]:
            x = part(x)
        return self.head(x)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, S, S) in [-1, 1] -> scores (B, K, h, w)."""
        return self.rest(self.network.normalised(images), 0)


def enlarge(maps: Tensor, height: int, width: int) -> Tensor:
    """(B, K, h, w) -> (B, K, height, width), bilinear. Where cells can lie on the pixels 0, s, 2s, ... they do."""
    sides = zip((height, width), maps.shape[2:], strict=True)
    corners = all(small > 1 and (large - 1) % (small - 1) == 0 for large, small in sides)
    return F.interpolate(maps, (height, width), mode="bilinear", align_corners=corners)
