"""Every loss against its formula written out cell by cell, and its gradient against finite differences."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from decoupe.methods.tags import losses
from decoupe.methods.tags.cues import edges


def scores(seed: int = 0, b: int = 2, k: int = 4, h: int = 5, w: int = 6) -> Tensor:
    return torch.randn(b, k, h, w, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def f_of(seed: int = 0) -> Tensor:
    """Probabilities in float64, so that differences are exact enough."""
    p = torch.softmax(scores(seed), 1) + losses.FLOOR
    return p / p.sum(1, keepdim=True)


CUES = torch.randint(0, 6, (2, 5, 6), generator=torch.Generator().manual_seed(3)).to(torch.uint8)
CUES[CUES > 3] = 255
PRESENT = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]], dtype=torch.float64)


def slow_seed(f: Tensor, cues: Tensor) -> float:
    total = 0.0
    for image, cue in zip(f.tolist(), cues.tolist(), strict=True):
        terms = [math.log(image[c][y][x]) for y, row in enumerate(cue) for x, c in enumerate(row) if c != losses.NONE]
        total -= sum(terms) / len(terms) if terms else 0.0
    return total / len(f)


def slow_rank(values: list[float], decay: float) -> float:
    ranked = sorted(values, reverse=True)
    d = decay ** (1681 / len(values)) if decay else 0.0
    weights = [d**j if j or d else 1.0 for j in range(len(values))]
    return sum(w * v for w, v in zip(weights, ranked, strict=True)) / sum(weights)


def slow_expand(f: Tensor, present: Tensor) -> float:
    total = 0.0
    for image, tags in zip(f, present.tolist(), strict=True):
        flat = [plane.flatten().tolist() for plane in image]
        there = [c for c, tag in enumerate(tags, 1) if tag]
        away = [c for c, tag in enumerate(tags, 1) if not tag]
        if there:
            total -= sum(math.log(slow_rank(flat[c], 0.996)) for c in there) / len(there)
        if away:
            total -= sum(math.log(1 - max(flat[c])) for c in away) / len(away)
        total -= math.log(slow_rank(flat[0], 0.999))
    return total / len(f)


def slow_constrain(f: Tensor, q: Tensor) -> float:
    total, n = 0.0, f.shape[2] * f.shape[3] * len(f)
    for p, r in zip(
        f.permute(0, 2, 3, 1).reshape(-1, 4).tolist(), q.permute(0, 2, 3, 1).reshape(-1, 4).tolist(), strict=True
    ):
        total += sum(b * math.log(b / a) for a, b in zip(p, r, strict=True) if b > 0)
    return total / n


def test_the_softmax_has_a_floor_and_sums_to_one() -> None:
    extreme = torch.tensor([200.0, 0.0, -200.0]).view(1, 3, 1, 1)
    f = losses.probabilities(extreme)
    assert torch.allclose(f.sum(1), torch.ones(1, 1, 1)) and float(f.min()) == pytest.approx(1e-4 / 1.0003, rel=1e-3)


@pytest.mark.parametrize("seed", [0, 1])
def test_seed(seed: int) -> None:
    f = f_of(seed)
    assert float(losses.seed(f, CUES)) == pytest.approx(slow_seed(f, CUES), rel=1e-9)


def test_seed_without_any_cue_is_zero_and_has_no_gradient() -> None:
    f = f_of().requires_grad_()
    loss = losses.seed(f, torch.full((2, 5, 6), 255, dtype=torch.uint8))
    loss.backward()
    assert float(loss.detach()) == 0 and f.grad is not None and float(f.grad.abs().max()) == 0


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.996, 0.999, 1.0])
def test_rank_pooling(decay: float) -> None:
    f = f_of()
    found = losses.rank_pooled(f, decay)
    wanted = [[slow_rank(plane.flatten().tolist(), decay) for plane in image] for image in f]
    assert torch.allclose(found, torch.tensor(wanted, dtype=torch.float64), rtol=1e-6)


def test_rank_pooling_at_its_own_size_uses_the_decay_as_it_is_stated() -> None:
    f = torch.rand(1, 1, 41, 41, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ranked = f.flatten().sort(descending=True).values
    weights = 0.996 ** torch.arange(1681, dtype=torch.float64)
    assert float(losses.rank_pooled(f, 0.996)) == pytest.approx(
        float((ranked * weights).sum() / weights.sum()), rel=1e-6
    )


@pytest.mark.parametrize("present", [PRESENT, torch.zeros(2, 3), torch.ones(2, 3)])
def test_expand(present: Tensor) -> None:
    f = f_of(2)
    assert float(losses.expand(f, present)) == pytest.approx(slow_expand(f, present), rel=1e-6)


def test_constrain() -> None:
    f, q = f_of(0), f_of(1)
    assert float(losses.constrain(f, q)) == pytest.approx(slow_constrain(f, q), rel=1e-9)
    assert float(losses.constrain(f, f)) == pytest.approx(0, abs=1e-12)


def test_no_gradient_goes_through_what_the_crf_gives() -> None:
    q = f_of(1).requires_grad_()
    losses.constrain(f_of(0).requires_grad_(), q).backward()
    assert q.grad is None


@pytest.mark.parametrize("name", ["seed", "expand", "constrain"])
def test_gradients_by_finite_differences(name: str) -> None:
    x = scores(4).requires_grad_()
    q = f_of(1)

    def loss(x: Tensor) -> Tensor:
        p = torch.softmax(x, 1) + losses.FLOOR
        f = p / p.sum(1, keepdim=True)
        if name == "seed":
            return losses.seed(f, CUES)
        return losses.expand(f, PRESENT) if name == "expand" else losses.constrain(f, q)

    assert torch.autograd.gradcheck(loss, (x,), eps=1e-6, atol=1e-6)


def test_the_crf_of_the_loss_is_that_of_the_text_at_41_cells() -> None:
    from decoupe.crf import PRESETS, dense_crf

    generator = torch.Generator().manual_seed(0)
    f = torch.rand(1, 3, 41, 41, generator=generator).softmax(1)
    images = torch.rand(1, 3, 41, 41, generator=generator) * 2 - 1
    photo = ((images + 1) * 127.5).permute(0, 2, 3, 1)
    assert torch.allclose(edges(f, images), dense_crf(f, photo, PRESETS["sec-train"], None), atol=1e-6)


def test_imbalance_and_cross_entropy() -> None:
    tags = torch.tensor([[1, 0], [1, 0], [1, 1], [0, 0]])
    assert losses.imbalance(tags, 1.0).tolist() == [1.0, 3.0] and losses.imbalance(tags, 0.0).tolist() == [1.0, 1.0]
    logits, weights = torch.tensor([[0.3, -1.0], [2.0, 0.5], [0.0, 0.0], [9.0, 9.0]]), torch.tensor([1.0, 3.0])
    wanted = 0.0
    for row, tag in zip(logits[:3].tolist(), tags[:3].tolist(), strict=True):
        for x, y, w in zip(row, tag, weights.tolist(), strict=True):
            p = 1 / (1 + math.exp(-x))
            wanted -= w * math.log(p) if y else math.log(1 - p)
    counted = torch.tensor([1.0, 1.0, 1.0, 0.0])
    assert float(losses.multi_label(logits, tags, weights, counted)) == pytest.approx(wanted / 6, rel=1e-5)
