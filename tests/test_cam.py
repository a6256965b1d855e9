"""Class activation maps against the formulas written out class by class, in float64."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from decoupe import cam
from decoupe.errors import Fault
from decoupe.nn.backbones import backbone


class Net(nn.Module):
    """Two convolutions, then a head with work in place, dropout and batch normalisation; counts its passes."""

    def __init__(self, classes: int = 4, pooled: bool = False) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 6, 3, 2, 1), nn.Conv2d(6, 8, 3, 1, 1)
        self.norm, self.relu = nn.BatchNorm2d(8), nn.ReLU(inplace=True)
        self.unused = nn.Conv2d(3, 2, 1)
        if pooled:
            self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, classes))
        else:
            self.head = nn.Sequential(
                nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(3), nn.Flatten(),
                nn.Linear(72, 16), nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Linear(16, classes),
            )  # fmt: skip
        self.passes = 0
        nn.init.normal_(self.norm.running_mean, 0, 0.1)

    def forward(self, x: Tensor) -> Tensor:
        self.passes += 1
        self.unused(x)
        logits: Tensor = self.head(self.relu(self.norm(self.two(self.relu(self.one(x))))))
        return logits


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    return Net().double().train()


@pytest.fixture
def images() -> Tensor:
    return torch.randn(3, 3, 18, 14, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def by_hand(net: Net, images: Tensor, method: str) -> Tensor:
    """One image and one class at a time, formulas as in the papers; the layer is `relu` after `two`."""
    net.eval()
    rows = []
    for image in images[:, None]:
        for c in range(4):
            maps = net.norm(net.two(net.relu(net.one(image)))).relu().detach().requires_grad_()
            score = net.head(maps)[0, c]
            gradient = torch.autograd.grad(score, maps)[0][0].clone()
            result = torch.zeros(maps.shape[2:], dtype=maps.dtype)
            for d, (a, g) in enumerate(zip(maps[0].detach(), gradient, strict=True)):
                if method == "gradcam":
                    weight = g.sum() / g.numel()
                else:
                    below = 2 * g**2 + a.sum() * g**3
                    ratio = torch.zeros_like(g)
                    ratio[below != 0] = g[below != 0] ** 2 / below[below != 0]
                    weight = (ratio * g.clamp_min(0)).sum()
                result += weight * maps[0, d].detach()
            rows.append(result.clamp_min(0))
    net.train()
    return torch.stack(rows).view(len(images), 4, *rows[0].shape)


class Norm(nn.Module):
    """Norm and ReLU as one layer, so that its output is what the head sees."""

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.net, self.tail = net, nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net.head(self.tail(self.net.norm(self.net.two(self.net.relu(self.net.one(x)))).relu()))
        return logits


@pytest.mark.parametrize("method", ["gradcam", "gradcam++"])
def test_against_one_class_at_a_time(net: Net, images: Tensor, method: str) -> None:
    wanted = by_hand(net, images, method)
    logits, maps = cam.explain(Norm(net), images, "tail", method)
    assert maps.shape == (3, 4, 9, 7) and float(wanted.amax((2, 3)).min()) >= 0 and float(wanted.max()) > 0
    assert torch.allclose(maps, wanted, atol=1e-9 * float(wanted.max()), rtol=1e-6)
    net.eval()
    assert torch.allclose(logits, net(images))


@pytest.mark.parametrize("layer", ["one", "two", "norm"])
def test_any_layer_though_what_follows_works_in_place(net: Net, images: Tensor, layer: str) -> None:
    kept: list[Tensor] = []
    handle = net.get_submodule(layer).register_forward_hook(lambda m, i, o: kept.append(o) or o.clone())  # type: ignore[func-returns-value]
    net.eval()
    logits = net(images)
    handle.remove()
    wanted = []
    for c in range(4):
        (g,) = torch.autograd.grad(logits[:, c].sum(), kept[0], retain_graph=True)
        wanted.append((g.mean((2, 3), keepdim=True) * kept[0]).sum(1).relu())
    assert torch.allclose(cam.explain(net, images, layer)[1], torch.stack(wanted, 1).detach(), atol=1e-12)


def test_one_pass_whatever_the_number_of_classes_and_images(net: Net, images: Tensor) -> None:
    cam.explain(net, images, "two")
    assert net.passes == 1
    cam.explain(net, images, "two", flip=True, chunk=1)
    assert net.passes == 2
    cam.explain(net, images, "two", scales=(1, 0.5, 2))
    assert net.passes == 5


def test_the_part_before_the_layer_is_neither_recorded_nor_run_backwards(net: Net, images: Tensor) -> None:
    class Watch(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            assert not x.requires_grad
            return x

    net.one = nn.Sequential(net.one, Watch())  # type: ignore[assignment]
    cam.explain(net, images, "two")
    assert all(p.grad is None for p in net.parameters())


def test_classes_chosen_and_in_parts_are_those_of_all(net: Net, images: Tensor) -> None:
    everything = cam.explain(net, images, "two")[1]
    assert torch.allclose(cam.explain(net, images, "two", chunk=3)[1], everything, atol=1e-12)
    assert torch.allclose(cam.explain(net, images, "two", classes=[2, 0])[1], everything[:, [2, 0]], atol=1e-12)


def test_an_operator_that_cannot_be_batched(net: Net, images: Tensor) -> None:
    calls = []

    class Doubled(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, x: Tensor) -> Tensor:
            return 2 * x

        @staticmethod
        def backward(ctx: object, g: Tensor) -> Tensor:  # type: ignore[override]
            calls.append(float(g.sum()))  # `item` has no batching rule
            return 2 * g

    class Double(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return Doubled.apply(x)  # type: ignore[no-untyped-call, no-any-return]

    plain = cam.explain(net, images, "two")[1]
    net.head = nn.Sequential(*net.head, Double())
    assert torch.allclose(cam.explain(net, images, "two")[1], 2 * plain, atol=1e-12)
    assert len(calls) == 4


def state(net: nn.Module) -> tuple[list[bool], int, bool]:
    hooks = sum(len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in net.modules())
    return [m.training for m in net.modules()], hooks, torch.is_grad_enabled()


def test_hooks_modes_and_gradients_are_as_before(net: Net, images: Tensor) -> None:
    net.norm.eval()
    before = state(net)
    assert before[1] == 0
    cam.explain(net, images, "two")
    assert state(net) == before
    for wrong, words in (
        (lambda: cam.explain(net, images, "three"), "name of a layer"),
        (lambda: cam.explain(net, images), "name of a layer"),
        (lambda: cam.explain(net, images, "head"), r"output \(B, D, h, w\)"),
        (lambda: cam.explain(net, images, "relu"), "runs once"),
        (lambda: cam.explain(net, images, "unused"), "depend on"),
        (lambda: cam.explain(net, images, "two", "layercam"), "a method of"),
        (lambda: cam.explain(net, images, "two", classes=[4]), "classes from 0 to 3"),
        (lambda: cam.explain(net, images, "two", scales=()), "scales"),
        (lambda: cam.explain(net, images, "two", "cam"), "use gradcam"),
    ):  # fmt: skip
        call: Callable[[], object] = wrong
        with pytest.raises(Fault, match=words) as fault:
            call()
        assert "\n" not in str(fault.value) and state(net) == before
    with pytest.raises(RuntimeError):
        cam.explain(net, images[:, :2], "two")  # the network itself fails
    assert state(net) == before
    with torch.inference_mode():
        inside = cam.explain(net, images, "two")[1]
        assert torch.is_inference_mode_enabled()
    assert torch.equal(inside, cam.explain(net, images, "two")[1])


def test_grad_cam_is_cam_behind_a_mean_and_a_linear_layer(images: Tensor) -> None:
    torch.manual_seed(3)
    net = Norm(Net(pooled=True).double())
    plain, grads = (cam.explain(net, images, "tail", method)[1] for method in ("cam", "gradcam"))
    assert float(plain.max()) > 0 and torch.allclose(grads * 9 * 7, plain, atol=1e-12)
    linear = net.net.head[2]
    net.eval()
    features: list[Tensor] = []
    with net.tail.register_forward_hook(lambda m, i, o: features.append(o)):
        net(images)
    wanted = sum(linear.weight[1, d] * features[0][:, d] for d in range(8))
    assert torch.allclose(plain[:, 1], torch.as_tensor(wanted).relu().detach(), atol=1e-12)


@pytest.mark.parametrize("method", ["gradcam", "gradcam++"])
def test_flips_are_undone(net: Net, images: Tensor, method: str) -> None:
    """Mirrored photos give mirrored maps; the result is the mean of both passes done by hand."""
    images = images[..., :13]
    straight = cam.explain(net, images, "two", method)[1]
    mirrored = cam.explain(net, images.flip(3), "two", method)[1]
    assert not torch.allclose(straight, mirrored.flip(3), atol=1e-3 * float(straight.max()))
    logits, both = cam.explain(net, images, "two", method, flip=True)
    assert torch.allclose(both, (straight + mirrored.flip(3)) / 2, atol=1e-12)
    assert torch.allclose(both.flip(3), cam.explain(net, images.flip(3), "two", method, flip=True)[1], atol=1e-12)
    net.eval()
    assert torch.allclose(logits, (net(images) + net(images.flip(3))) / 2)


@pytest.mark.parametrize("method", cam.METHODS)
def test_scales_weigh_alike_and_have_the_frame_of_the_first(method: str) -> None:
    """Blocks of one colour: a larger photo of the same has the same map, enlarged."""
    torch.manual_seed(5)
    net = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2)).double()
    images = F.interpolate(torch.randn(2, 3, 4, 4, dtype=torch.float64), scale_factor=16.0)
    small = cam.explain(net, images, "1", method)[1]
    several = cam.explain(net, images, "1", method, scales=(1, 2, 0.5))[1]
    assert several.shape == small.shape == (2, 2, 64, 64)
    inner = [(16 * i + 6, 16 * i + 10) for i in range(4)]
    for top, bottom in inner:
        for left, right in inner:
            a, b = (m[..., top:bottom, left:right] for m in (small, several))
            assert torch.allclose(a, b, atol=0.05 * float(small.max()))
    assert cam.explain(net, images, "1", method, scales=(0.5, 1))[1].shape == (2, 2, 32, 32)


def test_background_is_what_the_present_classes_leave() -> None:
    maps = cam.normalised(
        torch.tensor([[[[0.0, 2.0], [1.0, 4.0]], [[3.0, 0.0], [3.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]]])
    )
    assert maps[0].tolist() == [[[0, 0.5], [0.25, 1]], [[1, 0], [1, 0]], [[0, 0], [0, 0]]]
    one, two = torch.tensor([[True, False, False]]), torch.tensor([[True, True, True]])
    assert cam.background(maps, one)[0, 0].tolist() == [[1, 0.5], [0.75, 0]]
    assert cam.background(maps, two)[0, 0].tolist() == [[0, 0.5], [0, 0]]
    assert cam.background(maps, ~two)[0, 0].tolist() == [[1, 1], [1, 1]]


def test_saliency_is_the_largest_derivative_over_the_bands(net: Net, images: Tensor) -> None:
    present = torch.tensor([[1, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]], dtype=torch.bool)
    before = state(net)
    found = cam.saliency(net, images, present)
    assert state(net) == before and net.passes == 1 and found.shape == (3, 1, 18, 14)
    assert float(found[2].max()) == 0
    net.eval()
    x, step = images.clone(), 1e-6
    for y, column in ((3, 4), (9, 9), (17, 0)):
        slopes = []
        for band in range(3):
            sides = []
            for sign in (1, -1):
                moved = x.clone()
                moved[0, band, y, column] += sign * step
                with torch.no_grad():
                    sides.append(float((net(moved)[0] * present[0]).sum()))
            slopes.append(abs(sides[0] - sides[1]) / (2 * step))
        assert float(found[0, 0, y, column]) == pytest.approx(max(slopes), abs=1e-6)
    assert all(p.grad is None for p in net.parameters()) and not images.requires_grad


def test_background_of_a_saliency() -> None:
    found = torch.zeros(2, 1, 5, 5)
    found[0, 0, 2, 2] = 9
    rest = cam.saliency_background(found)
    assert rest[0, 0].tolist() == [[1] * 5, *[[1, 0, 0, 0, 1]] * 3, [1] * 5] and bool((rest[1] == 1).all())
    assert cam.saliency_background(found, 1)[0, 0, 2].tolist() == [1, 1, 0, 1, 1]
    least = cam.least_salient(torch.arange(20.0, 0, -1).view(1, 1, 4, 5), 0.1)
    assert least.dtype == torch.bool and least.flatten().nonzero().flatten().tolist() == [18, 19]
    with pytest.raises(Fault, match="odd"):
        cam.saliency_background(found, 2)


@pytest.mark.parametrize(("name", "size"), [("mobilenet_v2", 64), ("resnet18", 64)])
def test_backbones_know_their_layer(name: str, size: int) -> None:
    """Both end in a mean and a linear layer, so that the original maps and Grad-CAM agree up to the number of cells."""
    torch.manual_seed(0)
    network = backbone(name, classes=3).double().eval()
    images = torch.rand(2, 3, size, size, dtype=torch.float64) * 2 - 1
    plain, grads = (cam.explain(network, images, None, method)[1] for method in ("cam", "gradcam"))
    assert plain.shape == (2, 3, 2, 2) and float(plain.max()) > 0
    assert torch.allclose(plain, 4 * grads, atol=1e-9 * float(plain.max()))


def test_against_captum(net: Net, images: Tensor) -> None:
    pytest.importorskip("captum", reason="captum cannot be imported: install it to compare with it")
    from captum.attr import LayerGradCam

    maps = cam.explain(net, images, "two")[1]
    net.eval()
    theirs = LayerGradCam(net, net.two)
    for c in range(4):
        wanted = theirs.attribute(images, target=c, relu_attributions=True)[:, 0].detach()
        assert torch.allclose(maps[:, c], wanted, atol=1e-6 * float(maps.max()))
