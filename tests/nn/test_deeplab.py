"""Dilated trunks meet the neighbours they met before; DeepLab-LargeFOV has the shapes of its paper."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from decoupe.errors import Fault
from decoupe.nn.backbones import BACKBONES, backbone
from decoupe.nn.backbones.base import Body
from decoupe.nn.deeplab import Interleaved, LargeFov, Late, dense_parts, dilate, enlarge, later, strides, trunk_parts
from decoupe.nn.norm import fold


def image(side: int, seed: int = 0, b: int = 1) -> Tensor:
    return torch.rand(b, 3, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize("size", [(8, 8), (7, 9), (5, 13)])
@pytest.mark.parametrize("dilation", [2, 4])
def test_interleaved_is_the_dilated_convolution(size: tuple[int, int], dilation: int) -> None:
    torch.manual_seed(0)
    plain = nn.Conv2d(6, 6, 3, padding=dilation, dilation=dilation, groups=6)
    fast = copy.deepcopy(plain)
    fast.__class__ = Interleaved
    x = torch.randn(2, 6, *size)
    grads = []
    for conv in (plain, fast):
        own = x.clone().requires_grad_()
        y = conv(own)
        y.square().sum().backward()
        assert own.grad is not None and conv.weight.grad is not None
        grads.append((y.detach(), own.grad, conv.weight.grad))
    for one, other in zip(*grads, strict=True):
        assert torch.allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18", "resnet50"])
@pytest.mark.parametrize("stride", [8, 16])
def test_a_dilated_trunk_gives_the_coarse_map_between_finer_cells(name: str, stride: int) -> None:
    """Every 32 / stride-th cell is what the undilated network gives there, as no weight meets another neighbour."""
    torch.manual_seed(0)
    network = backbone(name, 4).eval()
    fine = copy.deepcopy(network)
    dilate(trunk_parts(fine.body), stride)
    with torch.no_grad():
        x = image(257)
        coarse, dense = network.features(x), fine.features(x)
    step = 32 // stride
    assert dense.shape[2] == 256 // stride + 1
    middle = slice(3, 6)  # away from the border, where padding differs
    assert torch.allclose(dense[:, :, ::step, ::step][:, :, middle, middle], coarse[:, :, middle, middle], atol=1e-3)


@pytest.mark.parametrize("name", list(BACKBONES))
def test_large_fov_gives_41_cells_of_321_pixels(name: str) -> None:
    network = LargeFov(name, 3, 5, stride=8, width=4).eval()
    with torch.no_grad():
        assert network(image(321)).shape == (1, 5, 41, 41)


def test_large_fov_of_the_text() -> None:
    network = LargeFov("vgg16", 3, 21)
    assert network.fc6.weight.shape == (1024, 512, 3, 3) and network.fc6.dilation == (12, 12)
    assert network.fc7.weight.shape == (1024, 1024, 1, 1) and network.dropout.p == 0.5
    convolutions = [m for m in network.trunk.modules() if isinstance(m, nn.Conv2d)]
    assert [c.dilation[0] for c in convolutions] == [1] * 10 + [2] * 3
    pools = [m for m in network.trunk.modules() if isinstance(m, nn.MaxPool2d)]
    assert [p.stride for p in pools] == [2, 2, 2, 1, 1]


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18"])
def test_the_segmenter_takes_a_classifiers_trunk_and_its_early_parts_are_the_same(name: str) -> None:
    torch.manual_seed(0)
    network, segmenter = backbone(name, 4).eval(), LargeFov(name, 3, 5, stride=16, width=4).eval()
    segmenter.take(network)
    count = segmenter.early(16)
    assert 0 < count < len(segmenter.trunk.parts) and segmenter.early(0) == 0
    with torch.no_grad():
        x = image(65)
        first = segmenter.first(x, count)
        assert torch.allclose(segmenter.rest(first, count), segmenter(x), atol=1e-5)
        assert torch.allclose(Late(network, count)(first), network(x), atol=1e-4)


def test_what_is_later_is_all_but_the_early_parts() -> None:
    network = backbone("mobilenet_v2", 4)
    count = 14
    own = {id(p) for m in later(network, count) for p in m.parameters()}
    fixed = {id(p) for part in trunk_parts(network.body)[:count] for p in part.parameters()}
    assert own | fixed == {id(p) for p in network.parameters()} and not own & fixed


def test_strides_are_those_of_the_published_networks() -> None:
    for name, wanted in (("vgg16", 16), ("mobilenet_v2", 32), ("resnet18", 32)):
        body = BACKBONES[name].build(3, 2)
        assert strides(trunk_parts(body))[-1] == wanted
        assert len(dense_parts(body)) - len(trunk_parts(body)) == {"vgg16": 1, "mobilenet_v2": -1, "resnet18": 0}[name]
    with pytest.raises(Fault, match="backbone"):
        trunk_parts(Body())


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18", "resnet50"])
def test_folding_changes_nothing_in_evaluation(name: str) -> None:
    torch.manual_seed(0)
    network = backbone(name, 4)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_mean, -0.2, 0.2)  # type: ignore[arg-type]
            nn.init.uniform_(layer.running_var, 0.5, 2.0)  # type: ignore[arg-type]
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.uniform_(layer.bias, -0.2, 0.2)
    network.eval()
    folded = copy.deepcopy(network)
    fold(folded)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.modules())
    with torch.no_grad():
        a, b = network(image(64)), folded(image(64))
    assert torch.allclose(a, b, rtol=1e-3, atol=1e-4 * float(a.abs().max()))


def test_enlarging_keeps_cells_on_their_pixels() -> None:
    x = torch.rand(1, 2, 5, 5)
    assert torch.allclose(enlarge(x, 33, 33)[:, :, ::8, ::8], x, atol=1e-6)
    assert torch.allclose(enlarge(x, 20, 20), F.interpolate(x, (20, 20), mode="bilinear", align_corners=False))
