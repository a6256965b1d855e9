"""The networks: names and sizes of the published weights, bands, stages, real predictions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from decoupe.errors import Fault
from decoupe.nn.backbones import BACKBONES, backbone
from decoupe.nn.backbones.base import IMAGENET_MEAN, IMAGENET_STD, Backbone
from decoupe.nn.backbones.weights import install, read_weights

COUNTS = {"vgg16": 138_357_544, "mobilenet_v2": 3_504_872, "resnet18": 11_689_512, "resnet50": 25_557_032}
"""Parameters of torchvision's networks with 1000 classes."""
ENTRIES = {"vgg16": 32, "mobilenet_v2": 314, "resnet18": 122, "resnet50": 320}
"""Entries of their state dicts."""
SPOTS = {
    "vgg16": {
        "features.0.weight": (64, 3, 3, 3), "features.10.weight": (256, 128, 3, 3), "features.28.bias": (512,),
        "classifier.0.weight": (4096, 25088), "classifier.3.bias": (4096,), "classifier.6.weight": (1000, 4096),
    },
    "mobilenet_v2": {
        "features.0.0.weight": (32, 3, 3, 3), "features.1.conv.0.0.weight": (32, 1, 3, 3),
        "features.2.conv.1.1.running_var": (96,), "features.17.conv.2.weight": (320, 960, 1, 1),
        "features.18.1.num_batches_tracked": (), "classifier.1.weight": (1000, 1280),
    },
    "resnet18": {
        "conv1.weight": (64, 3, 7, 7), "bn1.running_mean": (64,), "layer1.1.conv2.weight": (64, 64, 3, 3),
        "layer2.0.downsample.0.weight": (128, 64, 1, 1), "layer4.0.downsample.1.bias": (512,), "fc.weight": (1000, 512),
    },
    "resnet50": {
        "layer1.0.downsample.0.weight": (256, 64, 1, 1), "layer1.0.conv1.weight": (64, 64, 1, 1),
        "layer3.5.conv3.weight": (1024, 256, 1, 1), "layer4.2.bn3.weight": (2048,), "fc.bias": (1000,),
    },
}  # fmt: skip


def shapes(name: str) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        body = BACKBONES[name].build(3, 1000)
    return {key: tuple(tensor.shape) for key, tensor in body.state_dict().items()}


@pytest.mark.parametrize("name", list(BACKBONES))
def test_parameters_are_those_of_the_published_weights(name: str) -> None:
    with torch.device("meta"):
        body = BACKBONES[name].build(3, 1000)
    assert sum(p.numel() for p in body.parameters()) == COUNTS[name]
    found = shapes(name)
    assert len(found) == ENTRIES[name]
    assert {key: found.get(key) for key in SPOTS[name]} == SPOTS[name]


def test_the_narrow_3x3_of_a_bottleneck_has_the_stride() -> None:
    with torch.device("meta"):
        body = BACKBONES["resnet50"].build(3, 10)
    assert body.get_submodule("layer2.0.conv1").stride == (1, 1)
    assert body.get_submodule("layer2.0.conv2").stride == (2, 2)


@pytest.mark.parametrize("name", list(BACKBONES))
def test_maps_have_the_stride_and_channels_of_the_table(name: str) -> None:
    entry = BACKBONES[name]
    with torch.device("meta"):
        body = entry.build(3, 5)
        x = torch.zeros(2, 3, 224, 160)
        maps = body.trunk(x)
        assert maps.shape == (2, entry.features, 224 // entry.stride, 160 // entry.stride)
        assert body.head(maps).shape == body(x).shape == (2, 5)
        assert body.get_submodule(body.FINAL).weight.shape[0] == 5
    for path in (body.FIRST, body.LAST, *body.STAGES.values()):
        body.get_submodule(path)
    assert list(body.STAGES.values())[-1] == body.LAST


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18"])
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_any_bands_and_sizes_and_layers_by_name(name: str, channels: int) -> None:
    network = backbone(name, classes=4, channels=channels).eval()
    images = torch.rand(2, channels, 70, 32) * 2 - 1
    with torch.no_grad():
        assert network(images).shape == (2, 4)
        found = network.layers(images, [*network.body.STAGES, network.body.LAST])
        assert torch.equal(found["stage5"], network.features(images))
    assert torch.equal(found["stage5"], found[network.body.LAST])
    assert [found[f"stage{i}"].shape[2:] for i in range(1, 6)] == [(35, 16), (18, 8), (9, 4), (5, 2), (3, 1)]
    assert not any(m._forward_hooks for m in network.modules())
    for wrong in ("stage9", network.body.FINAL):
        with pytest.raises(Fault, match="a layer of the trunk"):
            network.layers(images, ["stage1", wrong])
    assert not any(m._forward_hooks for m in network.modules())
    with pytest.raises(Fault, match="images of shape"):
        network(torch.zeros(1, channels + 1, 32, 32))


def test_normalisation_is_torchvisions_of_values_in_0_to_1() -> None:
    network = backbone("resnet18", classes=2)
    x = torch.rand(2, 3, 32, 32)
    wanted = (x - torch.tensor(IMAGENET_MEAN)[:, None, None]) / torch.tensor(IMAGENET_STD)[:, None, None]
    assert torch.allclose(network.normalised(2 * x - 1), wanted, atol=1e-5)
    network.normalise_as("signed")
    assert torch.allclose(network.normalised(2 * x - 1), 2 * x - 1)


def test_grey_bands_answer_like_the_grey_photo() -> None:
    """Whatever the number of bands, an image whose bands are alike gives the same features as in RGB."""
    donor = backbone("resnet18", classes=3, normalisation="signed").eval()
    state = {key: tensor.clone() for key, tensor in donor.body.state_dict().items()}
    grey = torch.rand(1, 1, 64, 64) * 2 - 1
    with torch.no_grad():
        wanted = donor(grey.expand(-1, 3, -1, -1))
        for channels in (1, 4):
            network = backbone("resnet18", classes=3, channels=channels, normalisation="signed").eval()
            install(network, state, "memory")
            kernel = network.body.get_submodule("conv1").weight
            assert torch.allclose(kernel[:, 0], state["conv1.weight"].mean(1) * 3 / channels, atol=1e-6)
            assert torch.allclose(network(grey.expand(-1, channels, -1, -1)), wanted, atol=1e-4)


def test_a_saved_network_needs_no_weights_beside_it() -> None:
    one = backbone("mobilenet_v2", classes=3, normalisation="signed", frozen=True)
    other = backbone("mobilenet_v2", classes=3)
    other.load_state_dict(one.state_dict())
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        assert torch.equal(one.train(False)(images), other.train(False)(images))
    before = {key: tensor.clone() for key, tensor in other.state_dict().items()}
    other.train().features(images)
    assert all(torch.equal(tensor, before[key]) for key, tensor in other.state_dict().items())
    assert other.body.training and not other.body.get_submodule("features.18.1").training
    assert other.body.get_submodule("classifier.0").training


@pytest.mark.parametrize(
    "arguments", [{"name": "resnet34"}, {"classes": 0}, {"channels": 0}, {"normalisation": "none"}], ids=str
)
def test_wrong_settings_are_one_line(arguments: dict[str, object]) -> None:
    with pytest.raises(Fault) as fault:
        backbone(**{"name": "resnet18", **arguments})  # type: ignore[arg-type]
    assert "\n" not in str(fault.value)


@pytest.fixture(scope="module")
def published(shared_data: Path) -> Path:
    path = shared_data / "weights" / "mobilenet_v2_imagenet.pth"
    if not path.is_file():
        pytest.skip(f"no weights at {path}: copy them there to run this test")
    return path


def photo(path: Path) -> Tensor:
    image = Image.open(path).convert("RGB").resize((224, 224), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 127.5 - 1


def test_published_weights_name_what_is_in_the_photos(published: Path, shared_data: Path) -> None:
    state = read_weights(published)
    assert {key: tuple(tensor.shape) for key, tensor in state.items()} == shapes("mobilenet_v2")
    network = backbone("mobilenet_v2", weights=published).eval()
    assert torch.allclose(network.mean, torch.zeros(3)) and bool(network.frozen)
    folder = shared_data / "data" / "VOC2012_animals_tags" / "JPEGImages"
    dogs, cats = range(151, 269), range(281, 286)  # ImageNet's breeds of dogs, and domestic cats
    right = 0
    with torch.no_grad():
        for name, wanted in (
            ("2008_000019", dogs), ("2008_000162", dogs), ("2008_000336", dogs), ("2007_000720", dogs),
            ("2008_000056", cats), ("2008_000116", cats), ("2008_000306", cats), ("2008_000536", cats),
        ):  # fmt: skip
            right += int(network(photo(folder / f"{name}.jpg")).argmax()) in wanted
    assert right >= 6


def test_a_new_head_on_published_features(published: Path, shared_data: Path) -> None:
    whole, mine = (backbone("mobilenet_v2", classes=n, weights=published) for n in (1000, 7))
    x = photo(shared_data / "data" / "VOC2012_animals_tags" / "JPEGImages" / "2008_000019.jpg")
    for network in (whole, mine):
        assert isinstance(network, Backbone)
        network.eval()
    with torch.no_grad():
        assert torch.equal(whole.features(x), mine.features(x))
    assert mine.final.weight.shape == (7, 1280) and 0.008 < float(mine.final.weight.detach().std()) < 0.012


def test_nothing_behind_the_last_map_is_computed() -> None:
    network = backbone("mobilenet_v2").eval()
    images = torch.rand(1, 3, 64, 64)
    expected = network.layers(images, ["stage5", "stage2"])["stage2"]

    def refuse(*_: object) -> None:
        raise AssertionError("computed")

    network.body.get_submodule("features.4").register_forward_hook(refuse)
    assert torch.equal(network.layers(images, ["stage2", "stage1"])["stage2"], expected)
    with pytest.raises(AssertionError, match="computed"):
        network.layers(images, ["stage3"])


def test_a_module_that_runs_several_times_is_seen_at_its_last_run() -> None:
    """Whatever else is asked for: ResNet's blocks have one ReLU for two places."""
    network = backbone("resnet18").eval()
    images = torch.rand(1, 3, 64, 64)
    alone = network.layers(images, ["layer1.0.relu"])["layer1.0.relu"]
    assert torch.equal(alone, network.layers(images, ["layer1.0.relu", "stage5"])["layer1.0.relu"])
    assert torch.equal(alone, network.layers(images, ["layer1.0"])["layer1.0"])
