"""The networks of `layer_disposal`: decoders side by side equal decoders one by one; shapes; initial weights."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from decoupe.compositing import visible
from decoupe.methods.layer_disposal.networks import Decoders, Encoder, Generator, Keeping, Shape

SHAPE = Shape(z=5, width=4, outputs=4, size=32)
SHAPES = [
    SHAPE,
    dataclasses.replace(SHAPE, norm="group"),
    dataclasses.replace(SHAPE, residual=True),
    dataclasses.replace(SHAPE, flat=True, size=64),
]


def _codes(shape: Shape, n: int = 3) -> torch.Tensor:
    side = 1 if shape.flat else shape.size // 16
    return torch.rand(n, shape.z, side, side, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("shape", SHAPES, ids=["plain", "group", "residual", "flat"])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("way", ["side_by_side", "in_turn"])
def test_decoders_together_equal_decoders_by_themselves(shape: Shape, training: bool, way: str) -> None:
    """Images, statistics and gradients of fp64 networks; and what one decoder does changes nothing in another."""
    torch.manual_seed(0)
    together = Decoders(shape, 3).train(training)
    alone = [together.alone(i).double() for i in range(3)]
    together.double()
    codes = _codes(shape).double()
    made = getattr(together, way)(codes)
    apart = torch.stack([one(codes)[:, 0] for one in alone], 1)
    assert made.shape == (3, 3, 4, shape.size, shape.size)
    assert torch.allclose(made, apart, atol=1e-12)
    for key, statistic in together.named_buffers():
        assert statistic.ndim or int(statistic) == int(training)
        if statistic.ndim:
            assert torch.allclose(statistic, torch.cat([dict(one.named_buffers())[key] for one in alone])), key
    made[:, 1].square().sum().backward()
    apart[:, 1].square().sum().backward()
    own = dict(alone[1].named_parameters())
    for key, parameter in together.named_parameters():
        assert parameter.grad is not None
        shares = parameter.grad.chunk(3, Decoders._axis(key))
        assert torch.allclose(shares[1], own[key].grad, rtol=1e-6, atol=1e-9), key  # type: ignore[arg-type]
        assert not shares[0].any() and not shares[2].any(), key


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_threads_that_predict_get_their_own_decoders(norm: str) -> None:
    decoders = Decoders(dataclasses.replace(SHAPE, norm=norm), 6).eval()
    with torch.no_grad():
        expected = decoders.side_by_side(_codes(SHAPE))
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda _: decoders(_codes(SHAPE)), range(24)))
    assert all(torch.allclose(made, expected, atol=1e-5) for made in found)


def test_initial_weights_are_each_decoders_own_unless_they_are_to_be_identical() -> None:
    torch.manual_seed(0)
    for shared in (True, False):
        independent, identical = (Generator(dataclasses.replace(SHAPE, outputs=3), 3, shared, i) for i in (False, True))
        own, same = independent(_codes(SHAPE)), identical(_codes(SHAPE))
        assert not torch.allclose(own.images[:, 0], own.images[:, 1], atol=1e-3)
        assert not torch.allclose(own.masks[:, 0], own.masks[:, 1], atol=1e-4)
        assert torch.allclose(same.images[:, 0], same.images[:, 1], atol=1e-6)
        assert torch.allclose(same.background, same.images[:, 2], atol=1e-6)
        assert torch.allclose(same.masks[:, 0], same.masks[:, 2], atol=1e-6)


def test_a_layers_image_and_mask_have_their_range_and_a_trunk_of_their_own_when_asked() -> None:
    torch.manual_seed(0)
    for shared in (True, False):
        generator = Generator(dataclasses.replace(SHAPE, outputs=2), 3, shared, False)
        stack = generator(_codes(SHAPE) * 50)
        assert stack.background.shape == (3, 2, 32, 32) and stack.images.shape == (3, 3, 2, 32, 32)
        assert stack.masks.shape == (3, 3, 1, 32, 32)
        assert 0 <= float(stack.masks.detach().min()) and float(stack.masks.detach().max()) <= 1
        assert float(stack.images.detach().abs().max()) <= 1
        generator.zero_grad()
        stack.masks.sum().backward()
        touched = generator.decoders.last.weight.grad
        assert (touched is not None) == shared


@pytest.mark.parametrize("size", [32, 64])
@pytest.mark.parametrize("flat", [True, False])
def test_codes_are_small_images_or_vectors(size: int, flat: bool) -> None:
    side = 1 if flat else size // 16
    assert Encoder(3, 4, 7, size, flat, "batch")(torch.zeros(2, 3, size, size)).shape == (2, 7, side, side)


def test_group_norm_makes_an_image_independent_of_its_batch() -> None:
    torch.manual_seed(0)
    codes = _codes(SHAPE)
    for norm, independent in (("group", True), ("batch", False)):
        decoders = Decoders(dataclasses.replace(SHAPE, norm=norm), 2).train()
        same = torch.allclose(decoders(codes)[:1], decoders(codes[:1]), atol=1e-5)
        assert same == independent


def test_keeping_is_one_probability_or_a_learned_one() -> None:
    uniform = torch.rand(4, 3, generator=torch.Generator().manual_seed(0))
    assert not list(Keeping(3, 0.4, False).parameters())
    assert torch.equal(Keeping(3, 0.4, False)(uniform), (uniform < 0.4).float())
    assert bool((Keeping(3, 1.0, False)(uniform) == 1).all())
    assert torch.allclose(Keeping(3, 0.4, True).probs(), torch.full((3,), 0.4), atol=1e-6)


@pytest.mark.parametrize("shared", [True, False])
def test_masks_can_begin_with_even_shares(shared: bool) -> None:
    """Background and layers show alike; without `even` every mask begins near one half."""
    torch.manual_seed(0)
    shape = dataclasses.replace(SHAPE, outputs=3)
    shares = visible(Generator(shape, 4, shared, False, even=True)(_codes(SHAPE)).masks).detach().mean((0, 2, 3))
    assert torch.allclose(shares, torch.full((5,), 0.2), atol=0.03)
    assert float(Generator(shape, 4, shared, False)(_codes(SHAPE)).masks.detach().mean()) == pytest.approx(
        0.5, abs=0.02
    )
