"""ResNet-18 and ResNet-50, torchvision's parameter names (stride in the 3x3 convolution of a bottleneck)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from decoupe.nn.backbones.base import Body
from decoupe.nn.norm import BatchNorm2d


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    """A 1x1 convolution where size or width change, else nothing."""
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), BatchNorm2d(outputs))


class Basic(nn.Module):
    """Two 3x3 convolutions and the input."""

    EXPANSION = 1

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.downsample = _shortcut(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, width, H / stride, W / stride), rounded up."""
        skip = x if self.downsample is None else self.downsample(x)
        result: Tensor = self.relu(self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x))))) + skip)
        return result


class Bottleneck(nn.Module):
    """1x1 to `width`, 3x3, 1x1 to 4 * width, and the input."""

    EXPANSION = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = BatchNorm2d(4 * width)
        self.relu = nn.ReLU()
        self.downsample = _shortcut(inputs, 4 * width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, 4 * width, H / stride, W / stride), rounded up."""
        skip = x if self.downsample is None else self.downsample(x)
        h = self.relu(self.bn1(self.conv1(x)))
        h = self.relu(self.bn2(self.conv2(h)))
        result: Tensor = self.relu(self.bn3(self.conv3(h)) + skip)
        return result


class ResNet(Body):
    """Four groups of residual blocks. The last map is at stride 32 (7x7 at 224)."""

    FIRST, LAST, FINAL = "conv1", "layer4", "fc"
    STAGES = {"stage1": "relu", "stage2": "layer1", "stage3": "layer2", "stage4": "layer3", "stage5": "layer4"}

    def __init__(self, block: type[Basic | Bottleneck], counts: Sequence[int], channels: int, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 64, 7, 2, 3, bias=False)
        self.bn1 = BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        now, groups = 64, []
        for i, count in enumerate(counts):
            width = 64 * 2**i
            group = []
            for j in range(count):
                group.append(block(now, width, 2 if i and not j else 1))
                now = width * block.EXPANSION
            groups.append(nn.Sequential(*group))
        self.layer1, self.layer2, self.layer3, self.layer4 = groups
        self.fc = nn.Linear(now, classes)
        self.initialise()

    def trunk(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 512 or 2048, H / 32, W / 32), rounded up."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        maps: Tensor = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return maps

    def head(self, maps: Tensor) -> Tensor:
        """(B, D, h, w) -> logits (B, classes): mean over the places, one linear layer."""
        return torch.as_tensor(self.fc(maps.mean((2, 3))))


class ResNet18(ResNet):
    """Eight basic blocks, 512 channels at the end."""

    def __init__(self, channels: int = 3, classes: int = 1000) -> None:
        super().__init__(Basic, (2, 2, 2, 2), channels, classes)


class ResNet50(ResNet):
    """Sixteen bottlenecks, 2048 channels at the end."""

    def __init__(self, channels: int = 3, classes: int = 1000) -> None:
        super().__init__(Bottleneck, (3, 4, 6, 3), channels, classes)
