"""Orderings by hand and by brute force; masked convolutions; an optimiser that leaves masked weights alone."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from decoupe.nn.masked_conv import RASTER, ZIGZAG, MaskedConv2d, Ordering, SparingAdam

ALL = RASTER + ZIGZAG


def test_there_are_sixteen_different_orderings() -> None:
    assert len({tuple(o.rank(5, 5).flatten().tolist()) for o in ALL}) == 16
    assert len({o.name for o in ALL}) == 16


def test_ranks_by_hand() -> None:
    assert Ordering().rank(2, 3).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert Ordering(left=True).rank(2, 3).tolist() == [[2, 1, 0], [5, 4, 3]]
    assert Ordering(up=True, columns=True).rank(2, 3).tolist() == [[1, 3, 5], [0, 2, 4]]
    assert Ordering(zigzag=True).rank(3, 4).tolist() == [[0, 1, 5, 6], [2, 4, 7, 10], [3, 8, 9, 11]]
    assert Ordering(zigzag=True, columns=True).rank(3, 3).tolist() == [[0, 2, 3], [1, 4, 7], [5, 6, 8]]
    assert Ordering(zigzag=True, up=True, left=True).rank(2, 2).tolist() == [[3, 2], [1, 0]]


@pytest.mark.parametrize("ordering", ALL, ids=lambda o: o.name)
def test_a_pixel_sees_exactly_what_was_visited_up_to_it(ordering: Ordering) -> None:
    height, width = 4, 6
    order = ordering.order(height, width).tolist()
    allowed = ordering.allowed(height, width)
    assert sorted(order) == list(range(height * width)) and allowed.dtype == torch.bool
    for j, pixel in enumerate(order):
        assert set(allowed[pixel].nonzero()[:, 0].tolist()) == set(order[: j + 1])


@pytest.mark.parametrize("ordering", RASTER, ids=lambda o: o.name)
def test_opposite_raster_orderings_are_exact_reverses(ordering: Ordering) -> None:
    there, back = ordering.rank(5, 7), ordering.reflected().rank(5, 7)
    assert torch.equal(there + back, torch.full((5, 7), 34))
    assert RASTER[RASTER.index(ordering) ^ 1] == ordering.reflected()


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("ordering", ALL, ids=lambda o: o.name)
def test_the_mask_keeps_a_weight_where_and_only_where_it_reaches_the_past(ordering: Ordering, kernel: int) -> None:
    """Each weight in turn, alone: it moves a dot by its offset, which must be earlier or the pixel itself."""
    size, half = 9, kernel // 2
    rank, mask = ordering.rank(size, size), ordering.mask(kernel)
    left, _, top, _ = ordering.padding(kernel)
    centre = size // 2
    for i in range(kernel):
        for j in range(kernel):
            y, x = centre + i - top, centre + j - left  # what the weight reads for the centre
            past = bool(rank[y, x] <= rank[centre, centre])
            assert bool(mask[i, j]) == past
    assert int((1 - mask).sum()) == (0 if ordering.zigzag else half)


def test_four_masks_and_four_shifts_make_the_raster_orderings() -> None:
    masks = [tuple(o.mask(3).flatten().tolist()) for o in RASTER]
    shifts = [o.padding(3) for o in RASTER]
    assert len(set(masks)) == 4 and len(set(shifts)) == 4 and len(set(zip(masks, shifts, strict=True))) == 8
    assert set(shifts) == {(1, 1, 2, 0), (1, 1, 0, 2), (2, 0, 1, 1), (0, 2, 1, 1)}


@pytest.mark.parametrize("ordering", [None, *ALL], ids=lambda o: o.name if o else "plain")
def test_masked_convolution_against_a_loop(ordering: Ordering | None) -> None:
    torch.manual_seed(1)
    conv = MaskedConv2d(2, 3).double()
    x = torch.randn(1, 2, 5, 4, dtype=torch.float64)
    given = conv(x, ordering)
    mask = torch.ones(3, 3) if ordering is None else ordering.mask(3)
    left, _, top, _ = (1, 1, 1, 1) if ordering is None else ordering.padding(3)
    for y in range(5):
        for z in range(4):
            value = conv.bias.detach().clone()
            for i in range(3):
                for j in range(3):
                    a, b = y + i - top, z + j - left
                    if mask[i, j] and 0 <= a < 5 and 0 <= b < 4:
                        value = value + conv.weight[:, :, i, j] @ x[0, :, a, b]
            assert torch.allclose(given[0, :, y, z], value, atol=1e-12)


def test_a_masked_weight_gets_no_gradient_and_no_update_whatever_the_momentum() -> None:
    torch.manual_seed(0)
    conv = MaskedConv2d(3, 4)
    optimiser = SparingAdam(conv.parameters(), 0.1, weight_decay=0.1)
    x = torch.randn(2, 3, 6, 6)
    for _ in range(3):  # momentum for every weight
        F.softplus(conv(x)).sum().backward()
        optimiser.step()
        optimiser.zero_grad()
    ordering = RASTER[0]
    masked = (ordering.mask(3) == 0).expand_as(conv.weight)
    before = conv.weight.detach().clone()
    F.softplus(conv(x, ordering)).sum().backward()
    assert conv.weight.grad is not None and not conv.weight.grad[masked].any() and conv.weight.grad[~masked].all()
    optimiser.step()
    assert torch.equal(conv.weight[masked], before[masked])
    assert (conv.weight != before)[~masked].all()


def test_without_zero_gradients_it_is_adamw() -> None:
    torch.manual_seed(0)
    ours, theirs = torch.nn.Linear(4, 3), torch.nn.Linear(4, 3)
    theirs.load_state_dict(ours.state_dict())
    mine = SparingAdam(ours.parameters(), 0.01, weight_decay=0.2)
    reference = torch.optim.AdamW(theirs.parameters(), 0.01, weight_decay=0.2)
    x = torch.randn(5, 4)
    for _ in range(4):
        for network, optimiser in ((ours, mine), (theirs, reference)):
            optimiser.zero_grad()
            network(x).square().sum().backward()
            optimiser.step()
    assert torch.equal(ours.weight, theirs.weight) and torch.equal(ours.bias, theirs.bias)
