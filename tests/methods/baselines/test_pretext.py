"""Kinds that cluster feature maps: patches, pretexts that can be learned, rounds of own clusters, and whole runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import decoupe
from decoupe.errors import UsageFault
from decoupe.methods.baselines.config import CELLS, PRETEXTS, Config
from decoupe.methods.baselines.pretext import PLACES, corners, patches, shape
from decoupe.methods.baselines.room import Baselines
from decoupe.methods.room import Batch, DataSpec, Draw, Phase, TrainingData


def test_patches_are_cut_where_they_should() -> None:
    images = torch.arange(2 * 3 * 40 * 40).view(2, 3, 40, 40).float()
    rows, columns = torch.tensor([[0, 5], [30, 2]]), torch.tensor([[1, 9], [30, 0]])
    found = patches(images, rows, columns, 10)
    assert found.shape == (4, 3, 10, 10)
    assert torch.equal(found[1], images[0, :, 5:15, 9:19]) and torch.equal(found[2], images[1, :, 30:40, 30:40])


@pytest.mark.parametrize("size", [32, 64, 100, 128, 512])
def test_every_neighbour_of_a_patch_is_inside_the_image(size: int) -> None:
    side, gap, jitter = shape(size)
    rows, columns = corners(Draw(0, 64), size, side, side + gap + jitter)
    for lengths in (rows, columns):
        assert int(lengths.min()) - (side + gap + jitter) >= 0
        assert int(lengths.max()) + side + gap + jitter + side <= size
    assert gap >= 1 and side >= 8 and len(set(PLACES)) == 8


def _room(kind: str, size: int = 48, **options: object) -> Baselines:
    torch.manual_seed(0)
    config = Config(kind=kind, size=size, k=3, width=8, lr=5e-3, batch=8, train_images=64, **options)  # type: ignore[arg-type]
    return Baselines(config, DataSpec(3, size))


def _images(count: int, seed: int, size: int = 48) -> torch.Tensor:
    """Each of a colour of its own, which grows brighter to the right and redder downwards."""
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.linspace(-1, 1, size), torch.linspace(-1, 1, size), indexing="ij")
    base = torch.rand(count, 3, 1, 1, generator=generator) - 0.5
    slopes = torch.stack([0.4 * y, 0.4 * x, -0.2 * x])
    noise = 0.02 * torch.randn(count, 3, size, size, generator=generator)
    return (base + slopes + noise).clamp(-1, 1)


def _learn(phase: Phase, steps: int) -> list[dict[str, float]]:
    """What the phase logs, step by step."""
    optimiser, found = phase.optimiser(), []
    for step in range(steps):
        images = _images(8, step)
        optimiser.zero_grad()
        loss, logged = phase(Batch(torch.arange(8), images, images, Draw(step, 8), 0.0))
        loss.backward()
        optimiser.step()
        found.append({name: float(value) for name, value in logged.items()})
    return found


@pytest.mark.parametrize(("kind", "chance", "reached"), [("doersch", 1 / 8, 0.25), ("isola", 0.5, 0.75)])
@pytest.mark.slow
def test_a_pretext_is_learned(kind: str, chance: float, reached: float) -> None:
    room = _room(kind)
    phase = room.stages()[0].phases[0]
    seen = [logged["right"] for logged in _learn(phase, 60)]
    assert np.mean(seen[:5]) < (chance + reached) / 2 + 0.1
    assert np.mean(seen[-15:]) > reached


def test_a_round_takes_new_clusters_and_keeps_its_teacher() -> None:
    room = _room("deepcluster")
    levels = ((_images(16, 0) + 1) * 127.5).byte().numpy()
    data = TrainingData(levels, levels, DataSpec(3, 48))
    assert [stage.name for stage in room.stages()] == ["round 1", "round 2", "round 3", "round 4", "centres"]
    room.enter(0, data, True)
    before = {k: v.clone() for k, v in room.past.state_dict().items()}
    phase = room.stages()[0].phases[0]
    losses = [logged["own clusters"] for logged in _learn(phase, 12)]
    assert losses[-1] < losses[0] - 0.1
    assert all(torch.equal(v, before[k]) for k, v in room.past.state_dict().items())
    assert not torch.equal(room.cells.encoder.state_dict()["layers.0.weight"], before["encoder.layers.0.weight"])
    room.enter(1, data, True)
    assert not torch.equal(room.past.encoder.state_dict()["layers.0.weight"], before["encoder.layers.0.weight"])


@pytest.mark.parametrize("kind", [kind for kind in CELLS if kind != "features"])
@pytest.mark.slow
def test_whole_runs(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise beside a ramp: two regions for every kind that need not be trained."""
    monkeypatch.setenv("DECOUPE_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for index in range(8):
        photo = np.full((48, 48, 3), 120)
        photo[:, :24] += rng.integers(-90, 90, (48, 24, 1))
        photo[:, 24:] += 4 * np.arange(24)[None, :, None]
        Image.fromarray(photo.clip(0, 255).astype(np.uint8)).save(tmp_path / f"photos/{index}.png")
    model = decoupe.fit(
        "baselines", tmp_path / "photos", run=tmp_path / "run", kind=kind, k=2, size=48, width=8, batch=4,
        train_images=16, precision="fp32",
    )  # fmt: skip
    labels = model.segment(tmp_path / "photos" / "0.png").labels
    assert labels.shape == (48, 48) and model.names == ("region 0", "region 1")
    if kind not in PRETEXTS:
        left, right = labels[:, 4:20], labels[:, 28:44]
        assert abs(left.mean() - right.mean()) > 0.6


def test_settings_that_do_not_go_together() -> None:
    for options in ({"kind": "features"}, {"kind": "sift", "features": "mobilenet_v2:a.pth"}):
        with pytest.raises(UsageFault, match="--features NAME:FILE with --kind features"):
            Config(**options)  # type: ignore[arg-type]
