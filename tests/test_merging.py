"""Merging an over-clustering, and the K that is read off it."""

from __future__ import annotations

import pytest
import torch

from decoupe.errors import Fault
from decoupe.losses.information import mutual_information
from decoupe.merging import merge, propose


def _planted(classes: int, each: int, leak: float, seed: int = 0) -> tuple[torch.Tensor, list[int]]:
    """Joint of clusters that split `classes` equal classes at random; neighbours leave their class now and then."""
    generator = torch.Generator().manual_seed(seed)
    owner = (torch.arange(classes * each) % classes)[torch.randperm(classes * each, generator=generator)]
    share = torch.rand(classes * each, generator=generator, dtype=torch.float64) + 0.5
    share /= torch.stack([share[owner == owner[i]].sum() for i in range(len(owner))])
    between = torch.full((classes, classes), leak / classes**2, dtype=torch.float64)
    between += torch.eye(classes) * (1 - leak) / classes
    return between[owner][:, owner] * share[:, None] * share, owner.tolist()


@pytest.mark.parametrize("classes", [2, 3, 5, 8])
def test_planted_classes_are_found(classes: int) -> None:
    joint, owner = _planted(classes, 3, 0.2)
    found = merge(joint)
    assert propose(found.information) == classes
    groups = found.groups[classes - 1]
    assert len(set(zip(owner, groups, strict=True))) == classes


def test_information_is_that_of_the_merged_joints_and_never_grows() -> None:
    joint, _ = _planted(4, 2, 0.4, seed=3)
    found = merge(joint)
    assert len(found.information) == len(found.groups) == 8
    assert found.information[0] == pytest.approx(0, abs=1e-9)
    for k in range(1, 9):
        members = torch.nn.functional.one_hot(torch.tensor(found.groups[k - 1]), k).double()
        merged = members.T @ joint @ members
        assert float(mutual_information(merged)) == pytest.approx(found.information[k - 1], abs=1e-6)
    assert all(a <= b + 1e-12 for a, b in zip(found.information, found.information[1:], strict=False))


def test_bounds_of_the_proposal() -> None:
    joint, _ = _planted(8, 3, 0.2)
    found = merge(joint)
    assert propose(found.information, most=5) <= 5
    assert propose((0.0, 0.5)) == 2 and propose((0.0,)) == 1


def test_a_rare_cluster_unlike_the_others_survives_where_size_counts_less() -> None:
    """Two halves that differ a little, and one cluster in fifty that never mixes with them."""
    halves = torch.tensor([[0.30, 0.19], [0.19, 0.30]], dtype=torch.float64)
    joint = torch.zeros(3, 3, dtype=torch.float64)
    joint[:2, :2], joint[2, 2] = halves, 0.02
    alike, blind = merge(joint), merge(joint, 1.0)
    assert alike.groups[1] == (0, 1, 0) or alike.groups[1] == (0, 1, 1) or blind.groups[1] == (0, 0, 1)
    assert blind.groups[1] == (0, 0, 1)
    rare = torch.zeros(3, 3, dtype=torch.float64)
    rare[:2, :2], rare[2, 2] = torch.tensor([[0.497, 0.001], [0.001, 0.497]]), 0.004
    assert merge(rare).groups[1] in ((0, 1, 0), (0, 1, 1))  # losing the speck costs least
    with pytest.raises(Fault, match="blindness between 0 and 1"):
        merge(joint, 2.0)
