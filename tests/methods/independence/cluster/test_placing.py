"""The layout that learns: it begins at the prior, its warps are those of Eq. 4, and who gets whose gradient."""

from __future__ import annotations

import torch

from decoupe.methods.independence.cluster.layout import pad_and_crop, pose, random_places, stack
from decoupe.methods.independence.cluster.placing import NOISE, SCALE, SHIFT, Placer, update_penalty
from decoupe.methods.room import Draw


def _given(seed: int = 0, n: int = 3) -> tuple[torch.Tensor, ...]:
    """(layers, z, places, noise, start) of two composites of 16 px."""
    rows = torch.Generator().manual_seed(seed)
    layers = torch.rand(2, n, 4, 16, 16, generator=rows)
    places = random_places(Draw(seed, 2), n, 8)
    return (
        layers, torch.randn(2, n, 5, generator=rows), places, torch.randn(2, n, NOISE, generator=rows),
        torch.rand(2, 3, 16, 16, generator=rows),
    )  # fmt: skip


def test_it_begins_at_the_prior() -> None:
    layers, z, places, noise, start = _given()
    made, corrections = Placer(3, 5, 8, upright=False).requires_grad_(False)(layers, z, places, noise, start)
    placed = pad_and_crop(layers.flatten(0, 1), 8, places.flatten(0, 1)).view(layers.shape)
    assert torch.allclose(made, stack(placed, start), atol=1e-5) and not corrections.any()
    assert float(update_penalty(corrections)) == 0


def test_corrections_are_small_warps_in_sight_of_what_lies_below() -> None:
    layers, z, places, noise, start = _given(1)
    placer = Placer(3, 5, 8, upright=True).requires_grad_(False)
    torch.manual_seed(0)
    torch.nn.init.normal_(placer.last.weight, std=0.5)
    made, corrections = placer(layers, z, places, noise, start)
    below = start
    for i in range(3):  # slowly, from the corrections that it says it made
        x, y, grow, turn = corrections[:, i].unbind(1)
        at = torch.stack([(8 - places[:, i, 1]) / 8 + SHIFT * x, (8 - places[:, i, 0]) / 8 + SHIFT * y], 1)
        moved = pose(layers[:, i], torch.exp(SCALE * grow), 0.15 * turn, at)
        below = moved[:, :3] * moved[:, 3:] + below * (1 - moved[:, 3:])
    assert torch.allclose(made, below, atol=1e-6)
    assert torch.isclose(update_penalty(corrections), (corrections**2).sum() / corrections.numel())
    again, others = placer(layers, z, places, noise, torch.zeros_like(start))
    assert not torch.allclose(others[:, 0], corrections[:, 0])  # another ground, another place


def test_a_layer_gets_gradient_through_its_own_warp_only() -> None:
    """A layer hidden behind an opaque one gets none, though the placer of the upper one saw it."""
    layers, z, places, noise, start = _given(2, 2)
    layers[:, 1, 3] = 1.0  # opaque
    layers.requires_grad_()
    placer = Placer(3, 5, 8, upright=False)
    torch.nn.init.normal_(placer.last.weight, std=0.1)
    made, _ = placer(layers, z, torch.full_like(places, 8), noise * 0, start)
    made[:, :, 6:10, 6:10].sum().backward()
    assert layers.grad is not None and placer.last.weight.grad is not None
    hidden, seen = layers.grad[:, 0].abs().max(), layers.grad[:, 1].abs().max()
    assert hidden < 1e-5 < 0.1 < seen and placer.last.weight.grad.any()  # what is opaque is so up to rounding
