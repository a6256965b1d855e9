"""Warps, crops, composition and disks against loops; whose gradient reaches whom."""

from __future__ import annotations

import math

import pytest
import torch

from decoupe.methods.independence.cluster.layout import pad_and_crop, pose, random_places, stack, with_disk
from decoupe.methods.room import Draw


def _layers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def _at(plane: torch.Tensor, y: float, x: float) -> float:
    """Bilinear value at (row, column), 0 beyond the border."""
    top, left = math.floor(y), math.floor(x)
    total = 0.0
    for row, column in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
        if 0 <= row < plane.shape[0] and 0 <= column < plane.shape[1]:
            total += float(plane[row, column]) * (1 - abs(y - row)) * (1 - abs(x - column))
    return total


def test_equation_4_shifts_scales_and_turns_all_channels_alike() -> None:
    layer = _layers(1, 4, 6, 6)
    scale, angle, shift = 1.3, 0.4, (0.2, -0.3)
    moved = pose(layer, *(torch.tensor([value], dtype=torch.float64) for value in (scale, angle, shift)))
    for channel in range(4):
        for row in range(6):
            for column in range(6):
                # the pixel's place from the middle, in half sides; undo the shift, the turn, then the scale
                x, y = (column + 0.5) / 3 - 1 - shift[0], (row + 0.5) / 3 - 1 - shift[1]
                back_x = (math.cos(angle) * x + math.sin(angle) * y) / scale
                back_y = (-math.sin(angle) * x + math.cos(angle) * y) / scale
                expected = _at(layer[0, channel], (back_y + 1) * 3 - 0.5, (back_x + 1) * 3 - 0.5)
                assert float(moved[0, channel, row, column]) == pytest.approx(expected, abs=1e-9)


def test_a_pose_that_does_nothing_gives_the_layer_back() -> None:
    layer = _layers(2, 4, 8, 8)
    still = pose(layer, torch.ones(2).double(), torch.zeros(2).double(), torch.zeros(2, 2).double())
    assert torch.allclose(still, layer)


def test_a_quarter_turn_is_exact_and_clockwise() -> None:
    layer = torch.zeros(1, 1, 8, 8, dtype=torch.float64)
    layer[0, 0, 0, 3] = 1  # near the middle of the top row
    turned = pose(layer, torch.ones(1).double(), torch.tensor([math.pi / 2]).double(), torch.zeros(1, 2).double())
    assert torch.allclose(turned, torch.rot90(layer, -1, (2, 3)), atol=1e-6)


def test_poses_are_differentiable() -> None:
    layer = _layers(1, 2, 5, 5).requires_grad_()
    values = [torch.tensor([1.2]).double(), torch.tensor([0.3]).double(), torch.tensor([[0.1, 0.2]]).double()]
    assert torch.autograd.gradcheck(pose, (layer, *(value.requires_grad_() for value in values)))


def test_pad_and_crop_is_a_window_of_the_padded_layer() -> None:
    layers, pad = _layers(3, 4, 6, 6), 4
    places = torch.tensor([[0, 8], [4, 4], [7, 1]])
    cropped = pad_and_crop(layers, pad, places)
    assert torch.equal(cropped[1], layers[1])
    for row in range(3):
        for y in range(6):
            for x in range(6):
                sy, sx = y + int(places[row, 0]) - pad, x + int(places[row, 1]) - pad
                inside = 0 <= sy < 6 and 0 <= sx < 6
                expected = layers[row, :, sy, sx] if inside else torch.zeros(4).double()
                assert torch.equal(cropped[row, :, y, x], expected)


def test_places_cover_the_whole_range_and_no_more() -> None:
    places = random_places(Draw(0, 400), 5, 3)
    assert places.shape == (400, 5, 2)
    assert set(places.flatten().tolist()) == set(range(7))


def test_equation_5_for_many_layers() -> None:
    layers, start = _layers(2, 5, 4, 3, 3), _layers(2, 3, 3, 3, seed=1)
    found = stack(layers, start)
    for b in range(2):
        for y in range(3):
            for x in range(3):
                for c in range(3):
                    value = float(start[b, c, y, x])
                    for n in range(5):
                        m = float(layers[b, n, 3, y, x])
                        value = float(layers[b, n, c, y, x]) * m + value * (1 - m)
                    assert float(found[b, c, y, x]) == pytest.approx(value)


def test_gradient_reaches_each_provider_only_through_its_own_layer() -> None:
    """What a layer hides gets none; what shows through gets its share; hidden providers keep still."""
    back, front = _layers(1, 4, 4, 4).requires_grad_(), _layers(1, 4, 4, 4, seed=1)
    front[:, 3] = 0
    front[:, 3, :, :2] = 1  # hides the left half
    front.requires_grad_()
    stack(torch.stack([back, front], 1), torch.zeros(1, 3, 4, 4).double()).sum().backward()
    assert back.grad is not None and front.grad is not None
    assert float(back.grad[:, :, :, :2].abs().sum()) == 0
    assert torch.allclose(back.grad[:, :3, :, 2:], back.detach()[:, 3:, :, 2:].expand(-1, 3, -1, -1))
    assert float(front.grad[:, :3, :, 2:].abs().sum()) == 0


def test_the_disk_is_black_within_its_radius_only() -> None:
    patches = torch.full((1, 3, 9, 9), 0.7)
    disk = with_disk(patches, 2)
    for y in range(9):
        for x in range(9):
            expected = 0.0 if (y - 4) ** 2 + (x - 4) ** 2 <= 4 else 0.7
            assert float(disk[0, 0, y, x]) == pytest.approx(expected)
    assert float(with_disk(patches, 0).abs().max()) == 0
