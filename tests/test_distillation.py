"""What distillations share: maps, targets, recomposition and the label-free score, by hand and for any K."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from decoupe import distillation
from decoupe.distillation import Recipe, StudentPhase, Targets, activate, maps_of, sharpened, smooth_l1, whole
from decoupe.methods.room import Batch, DataSpec, Draw, TrainingData, to_unit
from decoupe.nn.unet import UNet
from tests.tiny import photos


def _bands(k: int) -> Callable[[Tensor], Tensor]:
    """A teacher of k regions: bands of brightness, soft."""

    def teach(images: Tensor) -> Tensor:
        centres = torch.linspace(-0.5, 0.5, k)[None, :, None, None]
        return (-20 * (images.mean(1, keepdim=True) - centres) ** 2).softmax(1)

    return teach


def _data(channels: int = 3) -> TrainingData:
    return TrainingData(photos(24, channels), photos(8, channels, seed=9) // 2, DataSpec(channels, 32))


def _batch(data: TrainingData, seed: int = 0) -> Batch:
    return Batch(torch.arange(8), to_unit(data.images[:8]), to_unit(data.backgrounds[:8]), Draw(seed, 8), 0.5)


@pytest.mark.parametrize("k", [2, 3, 7])
def test_maps_and_regions_are_two_ways_to_write_the_same(k: int) -> None:
    logits = torch.randn(2, distillation.maps_for(k), 5, 6, dtype=torch.bfloat16)
    probs = whole(activate(logits))
    assert probs.shape == (2, k, 5, 6) and probs.dtype == torch.float32
    assert torch.allclose(probs.sum(1), torch.ones(2, 5, 6), atol=1e-6)
    assert torch.equal(whole(maps_of(probs))[:, 1:], probs[:, 1:])


def test_equation_8_is_continuous_with_the_printed_coefficients() -> None:
    for x in (-0.9, -0.2501, -0.25, -0.1, 0.0, 0.1, 0.2499, 0.25, 0.7):
        expected = 4 * x * x if abs(x) < 0.25 else abs(x)
        assert float(smooth_l1(torch.tensor([x], dtype=torch.float64))) == pytest.approx(expected, abs=1e-12)
    below, above = (smooth_l1(torch.tensor([x], dtype=torch.float64)) for x in (0.25 - 1e-9, 0.25 + 1e-9))
    assert float(above - below) == pytest.approx(0, abs=1e-7)
    some = torch.randn(3, 1, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.autograd.gradcheck(smooth_l1, some.requires_grad_())


@pytest.mark.parametrize("k", [2, 3, 10])
def test_sharpening_keeps_sums_order_and_the_undecided(k: int) -> None:
    probs = torch.randn(4, k, 3, 3, generator=torch.Generator().manual_seed(k)).softmax(1)
    sharp = whole(sharpened(maps_of(probs), 1.5))
    assert torch.allclose(sharp.sum(1), torch.ones(4, 3, 3), atol=1e-6) and float(sharp.min()) >= 0
    assert torch.equal(sharp.argmax(1), probs.argmax(1)) and float((sharp.amax(1) - probs.amax(1)).min()) > -1e-6
    even = torch.full((1, k, 2, 2), 1 / k)
    assert torch.allclose(whole(sharpened(maps_of(even), 1.5)), even, atol=1e-6)
    if k == 2:
        assert torch.allclose(sharp[:, 1], ((probs[:, 1] - 0.5) * 1.5 + 0.5).clamp(0, 1), atol=1e-6)


@pytest.mark.parametrize(("k", "limit"), [(2, 100), (3, 100), (3, 10)])
def test_targets_are_the_mirrored_mean_of_the_teacher_to_a_byte(k: int, limit: int) -> None:
    """One teacher that leans to the left: the mean over the mirror image must not."""
    data, plain = _data(), _bands(k)

    def leaning(images: Tensor) -> Tensor:
        left = torch.linspace(1, 0, 32).expand(32, 32)
        return plain(images) * (1 - left) + left * torch.eye(k)[0][:, None, None]

    targets = Targets(data, leaning, limit, snapped=False, device=torch.device("cpu"))
    assert len(targets) == min(limit, 24)
    seen, maps = targets.at(torch.arange(len(targets)))
    expected = (leaning(seen) + leaning(seen.flip(3)).flip(3)) / 2
    assert float((maps - maps_of(expected)).abs().max()) <= 0.5 / 255 + 1e-6
    again, same = targets.of(_batch(data))
    if limit > 24:
        assert torch.equal(again, _batch(data).images) and torch.equal(same, maps[:8])


def _in_order(teach: Callable[[Tensor], Tensor], order: list[int], images: Tensor) -> Tensor:
    return teach(images)[:, order]


def test_the_ground_is_what_touches_the_borders() -> None:
    """Discs are bright on dark: with regions by brightness the dark one is the ground, wherever it stands."""
    data, device = _data(), torch.device("cpu")
    teach = _bands(3)
    for order in ([0, 1, 2], [2, 0, 1]):
        targets = Targets(data, partial(_in_order, teach, order), 100, False, device)
        assert targets.ground == order.index(0)
    assert Targets(data, _bands(3), 100, False, device, ground=2).ground == 2


def _phase(k: int, onto: str, data: TrainingData, recomposed: float = 1.0) -> StudentPhase:
    targets = Targets(data, _bands(k), 100, True, torch.device("cpu"))
    recipe = Recipe(1e-3, 0.4, recomposed, 1.5, onto)  # type: ignore[arg-type]
    return StudentPhase(recipe, UNet(data.spec.channels, 4, 3, "group", outputs=distillation.maps_for(k)), targets)


@pytest.mark.parametrize("k", [2, 3, 5])
@pytest.mark.parametrize("onto", ["patches", "photos"])
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_a_step_teaches_any_regions_and_bands(k: int, onto: str, channels: int) -> None:
    data = _data(channels)
    phase = _phase(k, onto, data)
    loss, logged = phase(_batch(data))
    loss.backward()
    assert loss.isfinite() and 0 < float(logged["student"]) < 1 and set(logged) == {"student", "object"}
    assert all(p.grad is not None and p.grad.isfinite().all() for p in phase.student.parameters())


def test_patches_replace_the_ground_and_nothing_else() -> None:
    data = _data()
    photos_, below = to_unit(data.images[:8]), torch.full((8, 3, 32, 32), -1.0)
    probs = torch.eye(3)[torch.randint(3, (8, 32, 32))].movedim(3, 1)
    shown, target = distillation._on_patches(photos_, probs, 1, below)
    ground = probs[:, 1:2] == 1
    assert torch.equal(target, probs)
    assert torch.equal(shown, torch.where(ground, below, photos_))
    two = probs[:, :1]  # of two regions, the map of region 1
    assert torch.equal(distillation._on_patches(photos_, two, 0, below)[0], torch.where(two == 1, photos_, below))
    assert torch.equal(distillation._on_patches(photos_, two, 1, below)[0], torch.where(two == 1, below, photos_))


@pytest.mark.parametrize("k", [2, 4])
def test_what_is_pasted_on_another_photo_brings_its_own_targets(k: int) -> None:
    """Targets of the mixture sum to 1, and where nothing was pasted they and the photo are the other one's."""
    data = _data()
    phase = _phase(k, "photos", data)
    assert phase.targets is not None
    photos_, maps = phase.targets.at(torch.arange(8))
    shown, mixed = phase._on_photos(photos_, maps, Draw(5, 8))
    assert torch.allclose(whole(mixed).sum(1), torch.ones(8, 32, 32), atol=0.02)
    draw = Draw(5, 8)
    other, below = distillation._moved(*phase.targets.at(draw.integers(24)), draw)
    part = whole(maps) * (draw.uniform(k) < (1.0 if k == 2 else 0.5)).float()[:, :, None, None]
    part[:, phase.targets.ground] = 0
    mask = part.sum(1, keepdim=True)
    untouched = mask < 0.01
    assert 0.05 < float(untouched.float().mean()) < 1 and float((mask > 0.9).float().mean()) > 0.01
    assert float((shown - other).abs()[untouched.expand_as(other)].max()) < 0.03
    assert float((mixed - below).abs()[untouched.expand_as(below)].max()) < 0.03
    pasted = (mask > 0.99).expand_as(photos_)
    assert float((shown - photos_).abs()[pasted].max()) < 0.03


def test_nothing_is_recomposed_at_share_zero() -> None:
    data = _data()
    losses = []
    for onto in ("patches", "photos"):
        torch.manual_seed(0)
        phase = _phase(3, onto, data, recomposed=0.0)
        batch = _batch(data)
        batch.draw = Draw(1, 8)
        with torch.no_grad():
            losses.append(float(phase(batch)[0]))
    assert abs(losses[0] - losses[1]) < 0.02  # the draws after it differ, the photos do not


def test_a_score_prefers_edges_and_decisions() -> None:
    images = to_unit(photos(12))
    teach = _bands(2)

    def sharp(x: Tensor) -> Tensor:
        return (40 * maps_logit(teach(x))).softmax(1)

    def maps_logit(probs: Tensor) -> Tensor:
        return torch.nn.functional.avg_pool2d(probs, 3, 1, 1)

    def shifted(x: Tensor) -> Tensor:
        return sharp(x).roll(5, 3)

    def undecided(x: Tensor) -> Tensor:
        return torch.full((len(x), 2, *x.shape[2:]), 0.5) + 0.01 * torch.cat([x[:, :1], -x[:, :1]], 1).roll(5, 3)

    best, moved, unsure = (float(distillation.score(f, images).mean()) for f in (sharp, shifted, undecided))
    assert best > 0.8 and best > moved + 0.2 and best > unsure + 0.2
    assert float(distillation.score(undecided, images, soft=True).mean()) > best - 0.1  # why decisions are scored


def test_a_region_that_is_not_there_decides_nothing() -> None:
    images = to_unit(photos(6))
    two = _bands(2)

    def three(x: Tensor) -> Tensor:
        probs = two(x)
        return torch.cat([probs, torch.zeros_like(probs[:, :1])], 1)

    assert torch.allclose(distillation.score(two, images), distillation.score(three, images), atol=1e-3)


def test_a_score_of_the_object_alone_is_the_two_agreements() -> None:
    """As the room `independence` is scored: soft IoU of region 1 with the mirrored one's and the snapped one's."""
    from decoupe.engine.selection import soft_iou
    from decoupe.snapping import snap

    images, teach = to_unit(photos(4)), _bands(2)
    probs, mirrored = teach(images), teach(images.flip(3)).flip(3)
    snapped = snap(images, probs)
    expected = (soft_iou(probs, mirrored) + soft_iou(probs, snapped))[:, 1] / 2
    assert torch.allclose(distillation.score(teach, images, first=1, soft=True), expected, atol=1e-5)
