"""Losses of refining against obvious references; what is trained, and that gradients reach it in every room."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from decoupe.methods import ROOMS
from decoupe.methods.room import DataSpec, Draw
from decoupe.supervision import (
    LabelledPhotos,
    differentiable,
    kept_loss,
    labelled_loss,
    learns,
    parts_of,
    shown,
    split_shares,
)
from tests.tiny import build

FIXED = {"baselines"}
"""Rooms without a network: they are refined through a student."""
LATER = {"tags"}
"""Rooms whose first stage segments by other means than a network that gives masks: the same until a later stage."""


def soft(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)).softmax(1)


def test_labelled_loss_is_the_weighted_mean_over_pixels() -> None:
    probs, target, covered = soft(2, 3, 4, 5), soft(2, 3, 4, 5, seed=1), torch.rand(2, 4, 5)
    covered[0, 0] = 0
    total = weight = 0.0
    for b in range(2):
        for y in range(4):
            for x in range(5):
                entropy = -sum(float(target[b, g, y, x] * probs[b, g, y, x].log()) for g in range(3))
                total += float(covered[b, y, x]) * entropy
                weight += float(covered[b, y, x])
    assert float(labelled_loss(probs, target, covered)) == pytest.approx(total / weight, rel=1e-5)
    probs[0, :, 0] = 0.5
    assert float(labelled_loss(probs, target, covered)) == pytest.approx(total / weight, rel=1e-5), "void costs nothing"


def test_kept_loss_is_least_for_what_was_there() -> None:
    before = soft(2, 3, 4, 4)
    assert all(kept_loss(soft(2, 3, 4, 4, seed=s), before) > kept_loss(before, before) for s in range(1, 8))
    expected = float(-(before * before.log()).sum(1).mean())
    assert float(kept_loss(before, before)) == pytest.approx(expected, rel=1e-6)


def test_regions_are_merged_as_they_are_shown() -> None:
    probs = soft(2, 4, 3, 3)
    merged = shown(probs, [[0], [1, 3], [2]])
    assert torch.allclose(merged[:, 1], probs[:, 1] + probs[:, 3]) and torch.allclose(
        merged.sum(1), torch.ones(2, 3, 3)
    )
    assert shown(probs, [[0], [1], [2], [3]]) is probs


def test_labels_become_shares_of_pixels_and_void_counts_for_nothing() -> None:
    photos = LabelledPhotos(DataSpec(3, 32), 2)
    labels = np.zeros((64, 64), np.int64)
    labels[:, 32:] = 1
    labels[:32] = 255
    photos.add(np.zeros((3, 32, 32), np.uint8), labels)
    _, shares, covered = photos.drawn(Draw(0, 4), 2, torch.device("cpu"))
    assert shares.shape == (2, 2, 32, 32) and covered.shape == (2, 32, 32)
    assert float(covered[:, :15].abs().max()) < 0.01 and float(covered[:, 17:].min()) > 0.99
    assert float(shares[:, 0, 20:, :15].min()) > 0.99 and float(shares[:, 1, 20:, 17:].min()) > 0.99


def test_split_shares_never_divides_by_nothing() -> None:
    shares, covered = split_shares(torch.zeros(1, 3, 4, 4))
    assert bool(shares.isfinite().all()) and float(covered.max()) == 0


def test_scribbles_are_filled_up_to_the_weight() -> None:
    photos = LabelledPhotos(DataSpec(3, 32), 2)
    labels = np.full((32, 32), 255)
    labels[4:8, 4:8] = 1
    photos.add(np.zeros((3, 32, 32), np.uint8), labels)
    photos.spread(lambda square, known: np.stack([np.full((32, 32), 0.25), np.full((32, 32), 0.75)]).astype("f4"), 0.5)
    _, shares, covered = photos.drawn(Draw(0, 1), 1, torch.device("cpu"))
    assert float(covered[0, 20, 20]) == pytest.approx(0.5, abs=0.01) and float(covered[0, 5, 5]) > 0.99
    assert float(shares[0, 1, 20, 20]) == pytest.approx(0.75, abs=0.01) and float(shares[0, 1, 5, 5]) > 0.99


@pytest.mark.parametrize("name", [name for name in ROOMS if name not in FIXED | LATER])
def test_gradients_reach_every_room_that_has_networks(name: str) -> None:
    room, data = build(name)
    room.prepare(data)
    room.enter(0, data, True)
    room.eval().requires_grad_(False)
    assert learns(room) and not any(p.requires_grad for p in room.parameters())
    parts = parts_of(room)
    assert parts and all(any(True for _ in part.parameters()) for part in parts.values())
    room.requires_grad_(True)
    images = torch.rand(2, room.spec.channels, 32, 32) * 2 - 1
    with differentiable(room) as segment:
        (segment(images)[:, 0].mean()).backward()
    reached = [p for part in parts.values() for p in part.parameters() if p.grad is not None and p.grad.abs().sum() > 0]
    assert reached
    state = set(room.state_dict())
    assert all(any(key.startswith(f"{part}.") for key in state) for part in parts)


@pytest.mark.parametrize("name", sorted(FIXED | LATER))
def test_rooms_without_networks_do_not_learn(name: str) -> None:
    room, data = build(name)
    room.prepare(data)
    if room.stages():
        room.enter(0, data, True)
    assert not learns(room.eval())
