"""The formulas of `layer_disposal` against slow, obvious references."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from decoupe.compositing import Stack, visible
from decoupe.methods.layer_disposal import losses


def _stack(k: int, batch: int = 2, size: int = 3, seed: int = 0) -> Stack:
    g = torch.Generator().manual_seed(seed)

    def made(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=g, dtype=torch.float64)

    images = made(batch, k, 2, size, size) * 2 - 1
    return Stack(made(batch, 2, size, size) * 2 - 1, images, made(batch, k, 1, size, size))


def _by_hand(stack: Stack, image: int, keep: tuple[int, ...]) -> Tensor:
    """Eq. 3.1 and 3.2 pixel by pixel, with the cases as they are printed."""
    out = stack.background[image].clone()
    for k, kept in enumerate(keep):
        for c, y, x in itertools.product(*(range(n) for n in out.shape)):
            if kept:
                m, f = float(stack.masks[image, k, 0, y, x]), float(stack.images[image, k, c, y, x])
                out[c, y, x] = f * m + float(out[c, y, x]) * (1 - m)
    return out


def test_every_pattern_of_kept_layers_gives_the_printed_recursion() -> None:
    k = 4
    stack = _stack(k)
    for keep in itertools.product((0, 1), repeat=k):
        rows = torch.tensor([keep, tuple(reversed(keep))], dtype=torch.float64)
        found = losses.generate(stack, rows)
        assert torch.allclose(found, stack.flatten(rows), atol=1e-12)
        for image in range(2):
            wanted = _by_hand(stack, image, tuple(int(v) for v in rows[image]))
            assert torch.allclose(found[image], wanted, atol=1e-12)
    assert torch.equal(losses.generate(stack, torch.ones(2, k, dtype=torch.float64)), stack.flatten())


def test_the_expectation_over_draws_is_the_sum_over_all_patterns() -> None:
    """Weighted by p^kept (1 - p)^dropped; the same as one recursion with masks p m, as Eq. 3.2 is linear in each."""
    k, p = 4, 0.4
    stack = _stack(k, 1)
    wanted = torch.zeros_like(stack.background)
    for keep in itertools.product((0, 1), repeat=k):
        wanted += p ** sum(keep) * (1 - p) ** (k - sum(keep)) * _by_hand(stack, 0, keep)[None]
    soft = Stack(stack.background, stack.images, p * stack.masks).flatten()
    assert torch.allclose(soft, wanted, atol=1e-12)
    n = 40_000
    keep = losses.keeping(torch.rand(n, k, generator=torch.Generator().manual_seed(1)), torch.full((k,), p)).double()
    many = Stack(*(t.expand(n, *t.shape[1:]) for t in (stack.background, stack.images, stack.masks)))
    assert torch.allclose(losses.generate(many, keep).mean(0), wanted[0], atol=0.02)


def test_the_draw_keeps_with_probability_p_and_keep_means_kept() -> None:
    uniform = torch.rand(50_000, 3, generator=torch.Generator().manual_seed(0))
    keep = losses.keeping(uniform, torch.tensor([0.4, 1.0, 0.05]))
    assert set(keep.unique().tolist()) == {0.0, 1.0}
    assert torch.allclose(keep.mean(0), torch.tensor([0.4, 1.0, 0.05]), atol=0.01)


def test_learned_probabilities_keep_their_mean_and_get_the_relaxed_gradient() -> None:
    logits = torch.tensor([-2.0, 0.0, 5.0], requires_grad=True)
    probs = losses.keep_probs(logits, 0.4)
    assert float(probs.detach().mean()) == pytest.approx(0.4, abs=1e-5)
    assert probs.detach().argsort().tolist() == [0, 1, 2]
    uniform = torch.rand(5, 3, generator=torch.Generator().manual_seed(0))
    keep = losses.keeping(uniform, probs)
    assert torch.allclose(keep.detach(), (uniform < probs).float(), atol=1e-6)
    keep.sum().backward()
    p = probs.detach()
    soft = torch.sigmoid(torch.logit(p) - torch.logit(uniform))
    wanted = (soft * (1 - soft)).sum(0) / (p * (1 - p)) * p * (1 - p)  # d logit p / d logits, c held fixed
    assert logits.grad is not None and torch.allclose(logits.grad, wanted, rtol=1e-4, atol=1e-5)


def test_what_is_visible_is_what_the_flat_image_is_made_of() -> None:
    stack = _stack(5)
    shares = visible(stack.masks)
    assert torch.allclose(shares.sum(1), torch.ones(2, 3, 3, dtype=torch.float64))
    layers = torch.cat([stack.background[:, None], stack.images], 1)
    assert torch.allclose((shares[:, :, None] * layers).sum(1), stack.flatten(), atol=1e-12)
    for b, y, x in itertools.product(range(2), range(3), range(3)):
        for k in range(6):
            left = float(stack.masks[b, k - 1, 0, y, x]) if k else 1.0
            for front in range(k, 5):
                left *= 1 - float(stack.masks[b, front, 0, y, x])
            assert float(shares[b, k, y, x]) == pytest.approx(left)


def test_latent_and_pixel_errors_by_hand() -> None:
    codes = torch.arange(12.0).reshape(2, 3, 2, 1)
    assert float(losses.latent(codes + 2, codes)) == pytest.approx(6 * 4)
    assert float(losses.pixels(codes + 2, codes)) == pytest.approx(4)
    logits, keep = torch.tensor([[0.0, 2.0]]), torch.tensor([[1.0, 0.0]])
    by_hand = (torch.log(torch.tensor(2.0)) + torch.log1p(torch.exp(torch.tensor(2.0)))) / 2
    assert float(losses.presence(logits, keep)) == pytest.approx(float(by_hand))


def test_overlap_is_the_mean_cosine_of_pairs() -> None:
    masks = _stack(4).masks
    pairs = []
    for a, b in itertools.combinations(range(4), 2):
        u, v = masks[:, a].flatten(), masks[:, b].flatten()
        pairs.append(float((u @ v) / (u.norm() * v.norm())))
    assert float(losses.overlap(masks)) == pytest.approx(sum(pairs) / 6, rel=1e-5)
    apart = torch.eye(4).reshape(1, 4, 1, 2, 2)
    assert float(losses.overlap(apart)) == pytest.approx(0, abs=1e-6)
    assert float(losses.overlap(torch.ones(2, 3, 1, 4, 4))) == pytest.approx(1, rel=1e-5)
    assert float(losses.overlap(torch.ones(2, 1, 1, 4, 4))) == 0


def test_overlap_keeps_its_digits_in_mixed_precision() -> None:
    masks = _stack(3, size=8).masks.float()
    with torch.autocast("cpu", torch.bfloat16):
        mixed = losses.overlap(masks)
    assert float(mixed) == pytest.approx(float(losses.overlap(masks)), rel=1e-6)


def test_moved_layers_are_those_of_other_pixels_and_go_on_beyond_the_border() -> None:
    """Whole pixels: image and mask of a layer move together, each layer by itself, the background stays."""
    stack, side = _stack(2, size=4), 4
    pixels = torch.tensor([[[1, 0], [0, -2]], [[-3, 1], [0, 0]]])
    moved = stack.moved(pixels.double() * 2 / side)
    assert moved.background is stack.background
    for image, k, y, x in itertools.product(range(2), range(2), range(side), range(side)):
        right, down = pixels[image, k].tolist()
        from_y, from_x = min(max(y - down, 0), side - 1), min(max(x - right, 0), side - 1)
        for found, given in ((moved.images, stack.images), (moved.masks, stack.masks)):
            assert torch.allclose(found[image, k, :, y, x], given[image, k, :, from_y, from_x])


def test_undecided_is_the_distance_to_the_nearer_end() -> None:
    masks = torch.tensor([0.0, 1.0, 0.5, 0.2, 0.9, 0.6]).view(1, 2, 1, 1, 3).requires_grad_(True)
    assert float(losses.undecided(masks).detach()) == pytest.approx((0 + 0 + 0.5 + 0.2 + 0.1 + 0.4) / 6)
    losses.undecided(masks).backward()
    assert masks.grad is not None
    assert masks.grad.flatten()[3:].sign().tolist() == [1, -1, -1], "below 1/2 it falls towards 0, above towards 1"


def test_too_small_counts_layers_by_themselves() -> None:
    """One layer at twice the area does not make up for one that covers a quarter of it, or nothing."""
    masks = torch.tensor([0.2, 0.025, 0.0]).view(1, 3, 1, 1, 1).expand(2, 3, 1, 4, 4)
    assert float(losses.too_small(masks, 0.1)) == pytest.approx((0 + 0.75 + 1) / 3, rel=1e-5)
    half = torch.cat([torch.zeros(1, 1, 1, 4, 4), torch.ones(1, 1, 1, 4, 4)])
    assert float(losses.too_small(half, 0.5)) == 0, "over the batch, not in each image"


def test_gradient_penalty_of_a_known_function() -> None:
    """D(x) = a sum x^2 has |grad|^2 = 4 a^2 |x|^2; and the penalty has a gradient in a."""
    x = torch.rand(3, 2, 4, 4, generator=torch.Generator().manual_seed(0)).requires_grad_(True)
    a = torch.tensor(0.7, requires_grad=True)
    penalty = losses.gradient_penalty(a * x.square().flatten(1).sum(1), x)
    squared = float(x.detach().square().flatten(1).sum(1).mean())
    assert float(penalty.detach()) == pytest.approx(2 * 0.49 * squared, rel=1e-5)
    penalty.backward()
    assert a.grad is not None and float(a.grad) == pytest.approx(4 * 0.7 * squared, rel=1e-5)
