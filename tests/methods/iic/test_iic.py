"""Invariant information clustering: its trunk, its published settings, and that planted regions are found."""

from __future__ import annotations

import pytest
import torch

from decoupe.errors import UsageFault
from decoupe.methods.iic.config import PRESETS, Config
from decoupe.methods.iic.networks import Vgg
from decoupe.methods.room import Batch, Draw
from tests.tiny import build


@pytest.mark.parametrize("halvings", [0, 1, 2])
@pytest.mark.parametrize("sobel", [False, True])
def test_the_trunk_keeps_the_map(halvings: int, sobel: bool) -> None:
    trunk = Vgg(4, Config(width=4, halvings=halvings, sobel=sobel))
    assert trunk(torch.randn(2, 4, 32, 40)).shape == (2, 32, 32 // 2**halvings, 40 // 2**halvings)
    widths = [m.out_channels for m in trunk.modules() if isinstance(m, torch.nn.Conv2d)]
    assert widths == [4, 8, 16, 16, 32, 32]
    assert [m.dilation[0] for m in trunk.modules() if isinstance(m, torch.nn.Conv2d)] == [1, 1, 1, 1, 2, 2]


def test_standardised_images_do_not_tell_their_light() -> None:
    images = 0.3 * torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    brighter = 0.7 * images + torch.tensor([0.2, -0.3, 0.1])[None, :, None, None]
    trunk = Vgg(3, Config(width=4, halvings=1, standardise=True)).eval()
    with torch.no_grad():
        assert torch.allclose(trunk(images), trunk(brighter), atol=1e-4)
    found = trunk.prepared(images)
    assert torch.allclose(found.mean((2, 3)), torch.zeros(2, 3), atol=1e-5)
    assert torch.allclose(found.std((2, 3)), torch.ones(2, 3), atol=1e-2)
    plain = Vgg(3, Config(width=4, halvings=1))
    assert plain.prepared(images) is images and trunk.prepared(torch.zeros(1, 3, 32, 32)).isfinite().all()


def test_published_settings() -> None:
    assert {
        n: (c.k, c.over_k, c.reach, c.lr, c.batch, c.sobel) for n, c in PRESETS.items() if n not in ("cpu", "study")
    } == {
        "potsdam-3": (3, 24, 10, 1e-5, 75, False),
        "potsdam-6": (6, 36, 5, 1e-6, 60, False),
        "cocostuff-3": (3, 15, 10, 1e-4, 120, True),
        "cocostuff-15": (15, 45, 10, 1e-4, 60, True),
    }
    assert all(c.width == 64 and c.full for n, c in PRESETS.items() if n not in ("cpu", "study"))


def _patches(count: int = 16, size: int = 32, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Patches of noise in two tones, and which is which."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(2, (count, 4, 4), generator=generator).repeat_interleave(8, 1).repeat_interleave(8, 2)
    noise = 0.05 * torch.randn(count, 3, size, size, generator=generator)
    return (0.4 * (2 * labels[:, None] - 1) + noise).clamp(-1, 1), labels


@pytest.mark.slow
def test_planted_regions_are_found() -> None:
    """Trained on fresh images in every step, looked at on others."""
    room, _ = build("iic", width=4, over_k=4, lr=3e-3, jitter=0.0, halvings=0)
    phases = room.stages()[0].phases
    optimisers = [phase.optimiser() for phase in phases]
    for step in range(30):
        images, _ = _patches(seed=step)
        for phase, optimiser in zip(phases, optimisers, strict=True):
            optimiser.zero_grad()
            phase(Batch(torch.arange(16), images, images, Draw(step, 16), 0.0))[0].backward()
            optimiser.step()
    room.eval()
    images, labels = _patches(seed=999)
    with torch.no_grad():
        right = float((room.segment(images).argmax(1) == labels).float().mean())
    assert max(right, 1 - right) > 0.8


def test_full_size_comparison_and_rotation_train_a_step() -> None:
    images, _ = _patches(8)
    room, _ = build("iic", full=True, reach=6, rotation=45.0, sobel=True)
    for phase in room.stages()[0].phases:
        loss, logged = phase(Batch(torch.arange(8), images, images, Draw(0, 8), 0.0))
        loss.backward()
        assert loss.isfinite() and 0 <= float(logged[f"{phase.name} use"]) <= 1


def test_embedding_and_samples() -> None:
    images, _ = _patches(3)
    room, _ = build("iic")
    room.eval()
    with torch.no_grad():
        embedded = room.embed(images)
        assert embedded["features"].shape == (3, 32) and torch.allclose(embedded["regions"].sum(1), torch.ones(3))
        shown = room.samples(Batch(torch.arange(3), images, images, Draw(0, 3), 0.0))
    assert shown["regions"].shape == (3, 3, 32, 32)


@pytest.mark.parametrize("wrong", [{"size": 126}, {"k": "auto", "over_k": 2}])
def test_settings_that_do_not_go_together(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageFault) as caught:
        Config(**wrong)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
