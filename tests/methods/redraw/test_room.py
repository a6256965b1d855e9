"""What is particular to `redraw`: its step, its sharing, its switches."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from benchmarks.redraw_step import measure
from decoupe.errors import Fault
from decoupe.methods.redraw.config import Config
from decoupe.methods.redraw.networks import MaskNetwork, RegionGenerator, SelfAttention, sides, split
from decoupe.methods.redraw.phases import Redrawn
from decoupe.methods.redraw.room import Redraw
from decoupe.methods.room import Batch, DataSpec, Draw, to_unit
from decoupe.nn.instance import ConditionalInstanceNorm2d, InstanceNorm2d, normalise
from tests.tiny import TINY, photos


def _room(**options: Any) -> Redraw:
    torch.manual_seed(0)
    return Redraw(Config(**(TINY["redraw"] | {"regulariser": "none"} | options)), DataSpec(3, 32))


def _batch(n: int = 8, seen: int = 0) -> Batch:
    images = to_unit(photos(n))
    return Batch(torch.arange(n), images, images, Draw(0, n), 0.0, seen)


def _made(room: Redraw, batch: Batch) -> Redrawn:
    return room._game[0].make(batch)


@pytest.mark.parametrize("k", [2, 3])
def test_the_papers_step_redraws_one_region_of_each_image(k: int) -> None:
    room, batch = _room(k=k, mirror=False), _batch(9)
    made = _made(room, batch)
    known = made.latents.isfinite().all(2)
    assert known.sum(1).tolist() == [1] * 9 and sorted(known.sum(0).tolist()) == sorted(
        9 // k + (i < 9 % k) for i in range(k)
    )
    region = known.long().argmax(1)
    shares = nn.functional.adaptive_avg_pool2d(made.masks, room.redraw_size)
    for row in range(9):
        i = int(region[row])
        drawn = room.generators[i](shares[row : row + 1, i : i + 1], made.latents[row : row + 1, i])[0]
        wanted = made.photos[row] * (1 - shares[row, i]) + drawn
        torch.testing.assert_close(made.fakes[row], wanted, atol=1e-4, rtol=0)  # in the photos' order


def test_every_region_is_redrawn_equally_often_whatever_the_number_of_processes() -> None:
    counts = torch.zeros(3)
    for seed in range(60):
        turn = int(Draw(seed, 20).shared(3, 1))
        counts += torch.tensor([float(len(rows)) for rows in split(torch.arange(20), 3, turn)])
        whole = {int(r): i for i, rows in enumerate(split(torch.arange(20), 3, turn)) for r in rows}
        for rank in range(4):
            draw = Draw(seed, 5, rank, 4)
            local = split(torch.arange(5), 3, draw.first + int(draw.shared(3, 1)))
            assert all(whole[5 * rank + int(r)] == i for i, rows in enumerate(local) for r in rows)
    assert float(counts.min() / counts.max()) > 0.97


def test_a_batch_smaller_than_the_regions_is_refused() -> None:
    with pytest.raises(Fault, match="batch"):
        _room(batch=4, k=8)
    with pytest.raises(Fault, match="per process"):
        _made(_room(batch=8, k=3), _batch(2))


def test_the_authors_step_redraws_every_region_and_reads_latents_from_all_of_them() -> None:
    room = _room(step="every")
    made = _made(room, _batch())
    assert made.fakes.shape[0] == 16 and made.readable.shape[0] == 8 and bool(made.latents.isfinite().all())


def test_redrawing_everything_keeps_nothing_of_the_photo() -> None:
    room, batch = _room(step="all", mirror=False), _batch()
    first = _made(room, batch).fakes
    room.masks.forward = lambda images: _fixed(images)  # type: ignore[method-assign]
    a = _made(room, _batch()).fakes
    other = Batch(batch.indices, -batch.images, batch.images, Draw(0, 8), 0.0)
    assert torch.allclose(a, _made(room, other).fakes, atol=1e-5) and not torch.allclose(a, first)


def _fixed(images: torch.Tensor) -> torch.Tensor:
    return torch.full((len(images), 2, *images.shape[2:]), 0.5)


def test_the_discriminator_judges_what_the_generator_made_in_the_same_step() -> None:
    room, batch = _room(), _batch()
    g, d = room.stages()[0].phases
    g(batch)
    made = room._game[0].made(batch)
    d(batch)
    assert room._game[0].made(batch) is made
    assert room._game[0].made(_batch()) is not made


def test_the_penalty_is_switched_off_after_its_images() -> None:
    room = _room(regulariser="concrete", regulariser_images=100)
    g = room.stages()[0].phases[0]
    assert "area" in g(_batch(seen=96))[1] and "area" not in g(_batch(seen=104))[1]
    for kind in ("mse", "rectified", "concrete"):
        assert "area" in _room(regulariser=kind).stages()[0].phases[0](_batch())[1]


@pytest.mark.parametrize("information", ["regressor", "shared", "none"])
@pytest.mark.parametrize("step", ["region", "every", "all"])
def test_each_way_of_reading_latents_trains_in_each_step(information: str, step: str) -> None:
    room = _room(information=information, step=step)
    batch = _batch()
    for phase in room.stages()[0].phases:
        room.requires_grad_(False)
        for module in phase.trained():
            module.requires_grad_(True)
        loss, logged = phase(batch)
        loss.backward()
        assert all(p.grad is not None for module in phase.trained() for p in module.parameters())
        assert loss.isfinite() and ("z" in logged) == (information != "none" and phase.name == "G")


@pytest.mark.parametrize("own", ["attention_generator", "attention_discriminator"])
def test_attention_can_be_left_out(own: str) -> None:
    with_it, without = _room(**{own: True}), _room(**{own: False})
    part = "generators" if own == "attention_generator" else "discriminator"

    def count(room: Redraw) -> int:
        return sum(isinstance(m, SelfAttention) for m in getattr(room, part).modules())

    assert count(with_it) > 0 and count(without) == 0


def test_attention_is_softmax_of_dot_products_and_begins_as_the_identity() -> None:
    torch.manual_seed(0)
    layer, x = SelfAttention(16).eval(), torch.randn(2, 16, 8, 8)
    assert torch.equal(layer(x), x)
    with torch.no_grad():
        layer.gain.fill_(0.5)
        q = layer.query(x).flatten(2)
        k = nn.functional.max_pool2d(layer.key(x), 2).flatten(2)
        v = nn.functional.max_pool2d(layer.value(x), 2).flatten(2)
        weights = torch.softmax(torch.einsum("bcq,bck->bqk", q, k), 2)
        o = layer.out(torch.einsum("bqk,bck->bcq", weights, v).unflatten(2, (8, 8)))
        assert torch.allclose(layer(x), x + 0.5 * o, atol=1e-5)


@pytest.mark.parametrize("size", [32, 48, 50, 64, 100, 256])
def test_generators_draw_any_size(size: int) -> None:
    steps = sides(size)
    assert 4 <= steps[0] < 8 and steps[-1] == size
    assert all(a < b <= 2 * a for a, b in zip(steps, steps[1:], strict=False))
    network = RegionGenerator(3, 4, 5, size, attention=True)
    mask = torch.zeros(2, 1, size, size)
    mask[..., : size // 2] = 1
    drawn = network(mask, torch.randn(2, 5)).detach()
    assert drawn.shape == (2, 3, size, size) and float(drawn.abs().max()) <= 1
    assert float(drawn[..., size // 2 :].abs().max()) == 0


@pytest.mark.parametrize("affine", [False, True])
def test_instance_norm_equals_pytorchs_with_its_gradients(affine: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 5, 6, 7, generator=generator, dtype=torch.float64) + 4
    rows = 1 if affine else 3
    gain, offset, weight = (torch.randn(n, 5, generator=generator, dtype=torch.float64) for n in (rows, rows, 1))
    mine = [t.float().requires_grad_() for t in (x, gain, offset)]
    theirs = [t.clone().requires_grad_() for t in (x, gain, offset)]
    y = normalise(*mine)
    z = nn.functional.instance_norm(theirs[0]) * theirs[1][..., None, None] + theirs[2][..., None, None]
    (y * weight.float()[..., None, None] * x.float()).sum().backward()
    (z * weight[..., None, None] * x).sum().backward()
    assert torch.allclose(y.double(), z, atol=1e-5)
    for own, other in zip(mine, theirs, strict=True):
        assert own.grad is not None and other.grad is not None
        assert torch.allclose(own.grad.double(), other.grad, rtol=1e-3, atol=2e-3)


def test_instance_norm_in_bf16_is_bf16_rounding_away() -> None:
    x = torch.randn(2, 8, 64, 64, generator=torch.Generator().manual_seed(0)).bfloat16() + 3
    found = InstanceNorm2d(8)(x).detach()
    assert found.dtype == torch.bfloat16
    assert float((found.float() - nn.functional.instance_norm(x.float())).abs().max()) < 0.05
    layer = ConditionalInstanceNorm2d(8, 4)
    assert layer(x.float(), torch.randn(2, 4)).shape == x.shape


def test_coarse_masks_vary_on_their_grid() -> None:
    torch.manual_seed(0)
    images = torch.randn(1, 3, 32, 32)
    fine, coarse = MaskNetwork(3, 4, 2, 1)(images).detach(), MaskNetwork(3, 4, 2, 8)(images).detach()

    def rough(masks: torch.Tensor) -> float:
        return float((masks[..., 1:] - masks[..., :-1]).abs().mean() / masks.std())

    assert rough(coarse) < rough(fine) / 2


def test_losses_equal_those_of_the_naive_step() -> None:
    size = {"size": 32, "redraw_size": None, "mask_width": 4, "generator_width": 4, "discriminator_width": 4}
    config = Config(**size, batch=6, z=4, coarse=1, mirror=False, augment=False)  # type: ignore[arg-type]
    assert measure(config, steps=1)["losses"]["difference"] < 1e-4


def test_embeddings() -> None:
    room = _room().eval()
    found = room.embed(to_unit(photos(5)))
    assert found["discriminator"].shape == (5, room.discriminator.trunk.features) and found["mask"].shape == (5, 256)
    assert found["discriminator"].dtype == torch.float32 and room.kept == ("discriminator.",)
