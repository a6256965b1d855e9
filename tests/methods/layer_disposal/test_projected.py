"""A discriminator that looks through a frozen network: what it judges, what learns, and what a run needs later."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

import decoupe
from decoupe.errors import Fault, UsageFault
from decoupe.methods.layer_disposal import losses
from decoupe.methods.layer_disposal.config import Config
from decoupe.methods.layer_disposal.projected import STAGES, FeatureDiscriminator
from decoupe.methods.layer_disposal.room import LayerDisposal
from decoupe.methods.room import Batch, DataSpec, Draw
from decoupe.nn.backbones import backbone
from tests.tiny import TINY, photos


def test_every_head_judges_its_own_map_in_parts(mobilenet_file: Path) -> None:
    """Against the heads applied by hand to the maps of the same network."""
    torch.manual_seed(0)
    judge = FeatureDiscriminator(3, str(mobilenet_file)).eval()
    judge.read()
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    whole = backbone("mobilenet_v2", weights=mobilenet_file).eval()
    maps = whole.layers(images, STAGES)
    expected = []
    for head, stage in zip(judge.heads, STAGES, strict=True):
        scores = head(maps[stage])
        side = min(4, scores.shape[2])
        step = scores.shape[2] // side
        expected.append(scores.unfold(2, step, step).unfold(3, step, step).mean((4, 5)).flatten(1))
    assert judge(images).shape == (2, 16 + 16 + 16 + 4) and judge(images).dtype == torch.float32
    assert torch.allclose(judge(images), torch.cat(expected, 1), atol=1e-5)
    with pytest.raises(UsageFault, match="NAME one of"):
        FeatureDiscriminator(3, "weights.pth")


def test_heads_learn_and_the_network_does_not(mobilenet_file: Path) -> None:
    config = Config(**(TINY["layer_disposal"] | {"features": str(mobilenet_file), "r1": 0.0, "average": 0.0}))
    torch.manual_seed(0)
    room = LayerDisposal(config, DataSpec(3, 32)).train()
    room.discriminator.read()  # type: ignore[operator,union-attr]
    assert not room.discriminator.network.training  # type: ignore[union-attr]
    before = {key: value.clone() for key, value in room.state_dict().items()}
    images = torch.from_numpy(photos(8)).float() / 127.5 - 1
    batch = Batch(torch.arange(8), images, images.flip(0), Draw(0, 8), 0.0)
    for phase in room.stages()[0].phases:
        room.requires_grad_(False)
        for module in phase.trained():
            module.requires_grad_(True)
        optimiser = phase.optimiser()
        phase(batch)[0].backward()
        optimiser.step()
    changed = {key for key, value in room.state_dict().items() if not torch.equal(value, before[key])}
    assert {key for key in changed if key.startswith("discriminator.network")} == set()
    assert {
        "discriminator.heads.0.0.weight",
        "discriminator.heads.3.4.weight",
        "generator.decoders.last.weight",
    } <= changed


def test_a_run_is_used_without_the_file(mobilenet_file: Path, tmp_path: Path) -> None:
    copy = tmp_path / mobilenet_file.name
    copy.write_bytes(mobilenet_file.read_bytes())
    (tmp_path / "photos").mkdir()
    for i, photo in enumerate(photos(8)):
        Image.fromarray(photo.transpose(1, 2, 0)).save(tmp_path / "photos" / f"{i}.png")
    given = TINY["layer_disposal"] | {"features": str(copy)}
    model = decoupe.fit("layer_disposal", tmp_path / "photos", run=tmp_path / "run", images_seen=16, **given)
    copy.unlink()
    again, square = decoupe.load(tmp_path / "run"), photos(1)
    assert torch.equal(torch.from_numpy(model.predict(square)), torch.from_numpy(again.predict(square)))


def test_a_gradient_penalty_is_of_the_mean_score_and_other_bands_are_judged_too(mobilenet_file: Path) -> None:
    """Against the gradient of one image's mean score at a time."""
    torch.manual_seed(0)
    judge = FeatureDiscriminator(5, str(mobilenet_file)).eval()
    judge.read()
    images = (torch.rand(2, 5, 32, 32) * 2 - 1).requires_grad_(True)
    found = losses.gradient_penalty(judge(images), images)
    squares = []
    for image in images.detach():
        alone = image[None].requires_grad_(True)
        judge(alone).mean().backward()
        assert alone.grad is not None
        squares.append(float(alone.grad.square().sum()))
    assert float(found.detach()) == pytest.approx(sum(squares) / 2 / 2, rel=1e-3)
    judge.zero_grad()
    found.backward()
    assert any(p.grad is not None and bool(p.grad.any()) for p in judge.heads.parameters())


def test_weights_that_are_gone_are_one_line(tmp_path: Path) -> None:
    judge = FeatureDiscriminator(3, str(tmp_path / "mobilenet_v2_gone.pth"))
    with pytest.raises(Fault, match="mobilenet_v2_gone"):
        judge.read()
