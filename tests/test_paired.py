"""A transform and its way back."""

from __future__ import annotations

import torch

from decoupe.methods.room import Draw
from decoupe.paired import Transform, _turn


def _smooth(count: int = 4, size: int = 32) -> torch.Tensor:
    y, x = torch.meshgrid(torch.linspace(-1, 1, size), torch.linspace(-1, 1, size), indexing="ij")
    return torch.stack([torch.stack([(2 * y + i).sin(), (2 * x - y).cos()]) for i in range(count)])


def test_nothing_asked_nothing_done() -> None:
    images = _smooth()
    transform = Transform(Draw(0, 4), 0, False, 0)
    maps, valid = transform.undo(transform.apply(images))
    assert torch.equal(maps, images) and valid is None


def test_mirrored_images_come_back_bit_for_bit() -> None:
    images = _smooth(16)
    transform = Transform(Draw(0, 16), 0, True, 0)
    changed = transform.apply(images)
    flipped = (changed != images).flatten(1).any(1)
    assert 2 < int(flipped.sum()) < 14 and torch.equal(changed[flipped], images[flipped].flip(3))
    assert torch.equal(transform.undo(changed)[0], images)


def test_rotated_and_mirrored_images_come_back_where_they_were_seen() -> None:
    images = _smooth(8)
    transform = Transform(Draw(3, 8), 0, True, 180)
    maps, valid = transform.undo(transform.apply(images))
    assert valid is not None and valid.dtype == torch.bool and 0.7 < float(valid.float().mean()) < 1
    inner = valid.expand_as(maps)
    assert float((maps - images).abs()[inner].max()) < 0.05 and not maps[~inner].any()
    small, inside = transform.undo(torch.ones(8, 3, 8, 8))
    assert (
        inside is not None
        and inside.shape == (8, 1, 8, 8)
        and torch.allclose(small[inside.expand_as(small)], torch.tensor(1.0))
    )


def test_a_quarter_turn_is_a_quarter_turn() -> None:
    image = torch.randn(1, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    turned = _turn(image, torch.tensor([torch.pi / 2]), "zeros")
    assert torch.allclose(turned, image.rot90(-1, (2, 3)), atol=1e-5) or torch.allclose(
        turned, image.rot90(1, (2, 3)), atol=1e-5
    )


def test_the_same_images_get_the_same_change_whatever_the_number_of_processes() -> None:
    images = _smooth(4)
    whole = Transform(Draw(5, 4), 0.3, True, 90).apply(images)
    parts = [Transform(Draw(5, 2, rank, 2), 0.3, True, 90).apply(images[2 * rank : 2 * rank + 2]) for rank in (0, 1)]
    assert torch.allclose(whole, torch.cat(parts), atol=1e-6)
