"""Joints, mutual information and the contrastive bound against loops over floats in float64."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from decoupe.losses import information


def _assignments(shape: tuple[int, ...], seed: int, scale: float = 2.0) -> Tensor:
    logits = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return (logits * scale).softmax(1)


def _pair(shape: tuple[int, ...] = (2, 4, 6, 7), scale: float = 2.0) -> tuple[Tensor, Tensor]:
    first = _assignments(shape, 0, scale)
    return first, (0.5 * first + 0.5 * _assignments(shape, 1, scale))


def _joint(first: Tensor, second: Tensor, dy: int, dx: int, valid: Tensor | None) -> list[list[float]]:
    """sum over p of y_i(p) y'_j(p + u), pixel after pixel."""
    count, k, height, width = first.shape
    found = [[0.0] * k for _ in range(k)]
    for b in range(count):
        for y in range(max(0, -dy), min(height, height - dy)):
            for x in range(max(0, -dx), min(width, width - dx)):
                if valid is not None and not (valid[b, 0, y, x] and valid[b, 0, y + dy, x + dx]):
                    continue
                for i in range(k):
                    for j in range(k):
                        found[i][j] += float(first[b, i, y, x]) * float(second[b, j, y + dy, x + dx])
    return found


def _information(joint: list[list[float]], weight: float) -> float:
    k = len(joint)
    total = sum(map(sum, joint))
    p = [[(joint[i][j] + joint[j][i]) / (2 * total) for j in range(k)] for i in range(k)]
    marginal = [sum(row) for row in p]
    return sum(
        p[i][j] * (math.log(p[i][j]) - weight * math.log(marginal[i]) - weight * math.log(marginal[j]))
        for i in range(k)
        for j in range(k)
    )


def _reference(first: Tensor, second: Tensor, reach: int, weight: float, valid: Tensor | None = None) -> float:
    steps = range(-reach, reach + 1)
    each = [_information(_joint(first, second, dy, dx, valid), weight) for dy in steps for dx in steps]
    return sum(each) / len(each)


@pytest.mark.parametrize("reach", [0, 1, 3])
def test_all_displacements_at_once_equal_one_after_the_other(reach: int) -> None:
    first, second = _pair()
    given = information.displaced_joints(first, second, reach)
    assert given.shape == (2 * reach + 1, 2 * reach + 1, 4, 4)
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            wanted = torch.tensor(_joint(first, second, dy, dx, None), dtype=torch.float64)
            assert torch.allclose(given[dy + reach, dx + reach], wanted, atol=1e-11)


@pytest.mark.parametrize("reach", [0, 2])
@pytest.mark.parametrize("weight", [1.0, 1.5])
def test_mutual_information_over_displacements(reach: int, weight: float) -> None:
    first, second = _pair()
    wanted = _reference(first, second, reach, weight)
    assert float(information.displaced_information(first, second, reach, weight)) == pytest.approx(wanted, abs=1e-10)
    single = information.displaced_information(first.float(), second.float(), reach, weight)
    assert single.dtype == torch.float32 and float(single) == pytest.approx(wanted, abs=1e-6)


def test_sure_assignments_in_float32_stay_within_a_millionth() -> None:
    first, second = _pair((2, 5, 9, 8), scale=12.0)
    wanted = _reference(first, second, 2, 1.0)
    given = information.displaced_information(first.float(), second.float(), 2)
    assert float(given) == pytest.approx(wanted, abs=1e-6)


def test_pixels_that_do_not_count() -> None:
    first, second = _pair()
    valid = torch.rand(2, 1, 6, 7, generator=torch.Generator().manual_seed(3)) < 0.7
    wanted = _reference(first, second, 1, 1.0, valid)
    given = information.displaced_information(first, second, 1, valid=valid)
    assert float(given) == pytest.approx(wanted, abs=1e-10)


def test_joints_are_symmetric_distributions() -> None:
    joint = information.symmetric_joints(*_pair(), 2)
    assert joint.shape == (25, 4, 4) and torch.allclose(joint, joint.mT)
    assert torch.allclose(joint.sum((1, 2)), torch.ones(25, dtype=torch.float64))


@pytest.mark.parametrize("reach", [0, 1])
def test_gradients_by_finite_differences(reach: int) -> None:
    logits = torch.randn(1, 3, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    other = _assignments((1, 3, 4, 3), 1)
    assert torch.autograd.gradcheck(lambda x: information.displaced_information(x.softmax(1), other, reach), logits)


def test_bf16_never_reaches_the_joint() -> None:
    """Under autocast, and given bf16 assignments, everything is what float32 makes of the same numbers."""
    first, second = (part.bfloat16() for part in _pair((2, 4, 16, 16)))
    wanted = information.displaced_information(first.float(), second.float(), 2)
    with torch.autocast("cpu", torch.bfloat16):
        for given in (
            information.displaced_information(first, second, 2),
            information.displaced_information(first.float(), second.float(), 2),
        ):
            assert given.dtype == torch.float32 and torch.equal(given, wanted)
        assert information.displaced_joints(first, second, 0).dtype == torch.float32


def test_what_mutual_information_means() -> None:
    """log K for sure, even, agreeing assignments; 0 for one cluster, and for views that know nothing of each other."""
    labels = torch.arange(64).view(1, 8, 8) % 4
    sure = torch.nn.functional.one_hot(labels, 4).movedim(3, 1).double()
    assert float(information.displaced_information(sure, sure, 0)) == pytest.approx(math.log(4), abs=1e-6)
    one = torch.zeros_like(sure)
    one[:, 0] = 1
    assert float(information.displaced_information(one, one, 1)) == pytest.approx(0, abs=1e-6)
    even = torch.full_like(sure, 0.25)
    assert float(information.displaced_information(sure, even, 0)) == pytest.approx(0, abs=1e-6)


def test_pointwise_information_averages_to_the_whole() -> None:
    first, second = _pair((3, 4, 6, 7))
    each = information.pointwise_information(first, second)
    wanted = _information(_joint(first, second, 0, 0, None), 1.0) / math.log(4)
    assert each.shape == (3,) and float(each.mean()) == pytest.approx(wanted, abs=1e-10)


def _bound(first: Tensor, second: Tensor, temperature: float, counts: list[bool]) -> float:
    def cosine(a: Tensor, b: Tensor) -> float:
        return float(a @ b) / math.sqrt(float(a @ a) * float(b @ b))

    rows = [i for i, counted in enumerate(counts) if counted]
    total = 0.0
    for row in rows:
        energies = [math.exp(cosine(first[row], second[m]) / temperature) for m in rows]
        total += math.log(math.exp(cosine(first[row], second[row]) / temperature) / (sum(energies) / len(rows)))
    return total / len(rows)


@pytest.mark.parametrize("counts", [[True] * 6, [True, False, True, True, False, True]])
def test_contrastive_bound(counts: list[bool]) -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randn(6, 5, dtype=torch.float64, generator=generator) for _ in range(2))
    wanted = _bound(first, second, 0.2, counts)
    given = information.contrastive_bound(first, second, 0.2, torch.tensor(counts))
    assert float(given) == pytest.approx(wanted, abs=1e-10)
    single = information.contrastive_bound(first.float(), second.float(), 0.2, torch.tensor(counts))
    assert float(single) == pytest.approx(wanted, abs=1e-6)
    first.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: information.contrastive_bound(x, second, 0.5), first)


def test_the_bound_is_at_most_the_logarithm_of_the_number_of_pixels() -> None:
    rows = torch.eye(8, dtype=torch.float64)
    assert float(information.contrastive_bound(rows, rows, 0.01)) == pytest.approx(math.log(8), abs=1e-6)
    assert float(information.contrastive_bound(rows, rows.roll(1, 0), 0.01)) < -50
