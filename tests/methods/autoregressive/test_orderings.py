"""Causality of the whole network in every ordering, and how orderings are drawn."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from decoupe.methods.autoregressive.config import Config
from decoupe.methods.autoregressive.networks import Autoregressive, build_stem
from decoupe.methods.autoregressive.room import draw_pair, pool
from decoupe.methods.room import Draw
from decoupe.nn.masked_conv import RASTER, ZIGZAG, MaskedConv2d, Ordering, mean_before
from tests.tiny import build

ALL = RASTER + ZIGZAG


def _network(blocks: int, attention: int, norm: str, seed: int = 0) -> Autoregressive:
    torch.manual_seed(seed)
    network = Autoregressive(3, 8, blocks, attention, 2, norm, 0.0)
    network.last = torch.nn.Sequential()  # a ReLU at the end would hide what reaches a pixel
    return network.train(norm == "pixel")


def _check(network: Autoregressive, ordering: Ordering, height: int, width: int, pixel: int, seed: int) -> None:
    """Change one pixel: nothing earlier moves by a single bit, the pixel itself or a later one does."""
    x = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(seed))
    y, z = divmod(pixel, width)
    other = x.clone()
    other[0, :, y, z] += 1.5
    with torch.no_grad():
        changed = (network(x, ordering) != network(other, ordering)).any(1)[0]
    rank = ordering.rank(height, width)
    assert not changed[rank < rank[y, z]].any(), "an earlier output moved"
    later = rank > rank[y, z]
    assert changed[later].any() or not later.any(), "no later output moved"


@pytest.mark.parametrize("norm", ["pixel", "batch"])
@pytest.mark.parametrize(("blocks", "attention"), [(1, 0), (2, 0), (4, 0), (1, 1), (3, 2)])
@pytest.mark.parametrize("ordering", ALL, ids=lambda o: o.name)
def test_every_pixel_of_a_small_map(ordering: Ordering, blocks: int, attention: int, norm: str) -> None:
    """Per-pixel normalisation holds in training; batch statistics mix all pixels, there it holds once they are set."""
    network = _network(blocks, attention, norm)
    reach = 2 * blocks  # a convolution alone may find no later pixel inside a corner of the map
    for pixel in range(5 * 6):
        if attention or reach >= 2 and not ordering.zigzag:
            _check(network, ordering, 5, 6, pixel, seed=pixel)


@settings(max_examples=60, deadline=None)
@given(
    index=st.integers(0, 15),
    height=st.integers(2, 17),
    width=st.integers(2, 17),
    place=st.floats(0, 0.999),
    blocks=st.integers(1, 4),
    attention=st.booleans(),
    seed=st.integers(0, 99),
)
def test_random_sizes(
    index: int, height: int, width: int, place: float, blocks: int, attention: bool, seed: int
) -> None:
    ordering = ALL[index]
    pixel = int(place * height * width)
    network = _network(blocks, int(attention or ordering.zigzag), "pixel", seed)
    _check(network, ordering, height, width, pixel, seed)


@pytest.mark.parametrize("ordering", [*ALL, None], ids=lambda o: o.name if o else "none")
def test_means_before_are_of_what_a_masked_convolution_sees(ordering: Ordering | None) -> None:
    """Against sums of a kernel of ones, and against causality: nothing earlier moves by a single bit."""
    torch.manual_seed(0)
    x = torch.randn(2, 3, 6, 7, dtype=torch.float64)
    for reach in (1, 2, 4):
        found = mean_before(x, reach, ordering)
        conv = MaskedConv2d(1, 1, 2 * reach + 1, bias=False).double()
        with torch.no_grad():
            conv.weight.fill_(1)
            total = torch.cat([conv(x[:, i : i + 1], ordering) for i in range(3)], 1)
            count = conv(torch.ones(1, 1, 6, 7, dtype=torch.float64), ordering)
        assert torch.allclose(found, total / count, atol=1e-12) and int(count.min()) >= 1
        if ordering is None:
            assert torch.allclose(found[:, :, 0, 0], x[:, :, : reach + 1, : reach + 1].mean((2, 3)))
            continue
        rank = ordering.rank(6, 7)
        for place in ((0, 0), (2, 3), (5, 6), (3, 0)):
            other = x.clone()
            other[:, :, place[0], place[1]] += 1
            moved = (mean_before(other, reach, ordering) != found).any(1).any(0)
            assert moved[place] and not moved[rank < rank[place]].any()


def test_attention_sees_what_convolutions_are_blind_to() -> None:
    """Bottom left pixel, top right corner: earlier, yet outside the cone that masked kernels reach in one block."""
    ordering, x = RASTER[0], torch.randn(1, 3, 3, 20, generator=torch.Generator().manual_seed(0))
    other = x.clone()
    other[0, :, 0, 19] += 1.5
    for attention, seen in ((0, False), (1, True)):
        network = _network(1, attention, "pixel")
        with torch.no_grad():
            moved = (network(x, ordering) != network(other, ordering)).any(1)[0, 2, 0]
        assert bool(moved) == seen


def test_inference_is_the_plain_convolution() -> None:
    torch.manual_seed(0)
    conv = MaskedConv2d(4, 4)
    x = torch.randn(2, 4, 7, 9)
    assert torch.equal(conv(x), F.conv2d(x, conv.weight, conv.bias, padding=1))
    room, _ = build("autoregressive")
    room.eval()
    images = torch.randn(1, 3, 32, 32).clamp(-1, 1)
    with torch.no_grad():
        plain = room.segment(images)
        middle = images.clone()
        middle[:, :, 16, 16] = 1
        moved = (room.segment(middle) != plain).any(1)[0]
    assert moved[:16].any() and moved[17:].any() and moved[:, :16].any() and moved[:, 17:].any()


def test_how_many_orderings() -> None:
    assert pool(Config()) == RASTER
    assert pool(Config(ordering_count=2)) == (RASTER[0], RASTER[0].reflected())
    assert pool(Config(orderings="both", attention=1)) == ALL
    assert set(pool(Config(orderings="zigzag", attention=1, ordering_count=4))) < set(ZIGZAG)


def test_sampling() -> None:
    for how in ("random", "norepeat", "hard"):
        pairs = [draw_pair(RASTER, how, Draw(seed, 4)) for seed in range(800)]
        counts = Counter(RASTER.index(second) for _, second in pairs)
        assert min(counts.values()) > 60  # of 100 each
        same = sum(first == second for first, second in pairs)
        assert same == 0 if how != "random" else 60 < same < 140
        if how == "hard":
            assert all(second == first.reflected() for first, second in pairs)
        if how == "norepeat":
            assert len(set(pairs)) == 56


def test_every_process_draws_the_same_orderings() -> None:
    for seed in range(20):
        alone = draw_pair(ALL, "random", Draw(seed, 8))
        assert all(draw_pair(ALL, "random", Draw(seed, 4, rank, 2)) == alone for rank in (0, 1))


@pytest.mark.parametrize("kind", ["identity", "stem", "residual", "residuals", "resnet18"])
@pytest.mark.parametrize("stride", [1, 2, 4, 8])
def test_stems_give_what_they_say(kind: str, stride: int) -> None:
    stem, features = build_stem(kind, 5, 4, stride, "batch", 0.0)
    assert stem(torch.randn(2, 5, 32, 48)).shape == (2, features, 32 // stride, 48 // stride)
