"""What is particular to `scene_vae`: who infers what from what, whose gradient goes where; every switch acts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from decoupe.errors import Fault, UsageFault
from decoupe.methods.room import Batch, Draw, to_unit
from decoupe.methods.scene_vae.config import Config
from decoupe.methods.scene_vae.networks import BackboneEncoder
from decoupe.methods.scene_vae.objective import ScenePhase
from decoupe.methods.scene_vae.room import SceneVae
from decoupe.methods.scene_vae.scene import Seen
from tests.tiny import build


def _room(**options: Any) -> tuple[SceneVae, Batch]:
    room, data = build("scene_vae", **options)
    room.prepare(data)
    assert isinstance(room, SceneVae)
    images = to_unit(data.images[np.arange(8)])
    return room, Batch(torch.arange(8), images, images, Draw(3, 8), 0.5)


def _phase(room: SceneVae) -> ScenePhase:
    phase = room.stages()[0].phases[0]
    assert isinstance(phase, ScenePhase)
    return phase


def _gradient(**options: Any) -> dict[str, Tensor]:
    """Gradient of one step by parameter, the same draws whatever the options."""
    room, batch = _room(**options)
    loss, _ = _phase(room)(batch)
    loss.backward()
    return {name: p.grad for name, p in room.named_parameters() if p.grad is not None}


def _differ(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    if set(one) != set(other):
        return True
    return any(one[k].shape != other[k].shape or not torch.allclose(one[k], other[k], rtol=1e-3) for k in one)


@pytest.mark.parametrize(
    ("model", "option"),
    [
        ("telbo", {"decoder_gradient": "shared"}),
        ("telbo", {"posterior": "product"}),
        ("telbo", {"likelihood": "logistic"}),
        ("telbo", {"latent_shape": "vector"}),
        ("telbo", {"free_bits": 1.0}),
        ("telbo", {"samples": 3}),
        ("telbo", {"retrofit_samples": 3}),
        ("telbo", {"cross": 1.0}),
        ("cvae", {"cross": 1.0}),
        ("cvae", {"cross": 1.0, "prior": "standard"}),
        ("telbo", {"tag_dropout": 1.0}),
        ("telbo", {"image_weight": 2.0}),
        ("telbo", {"mask_weight": 2.0}),
        ("telbo", {"tags_weight": 2.0}),
        ("telbo", {"kl_weight": 2.0}),
        ("telbo", {"warm_up": 1.0}),
        ("telbo", {"mirror": False}),
        ("telbo", {"zoom": 2.0}),
        ("telbo", {"jitter": 0.5}),
        ("telbo", {"labelled": 3}),
        ("jmvae", {"unimodal": 5.0}),
        ("jmvae", {"cross": 1.0}),
        ("jvae", {"ignored": "tags"}),
        ("jvae", {"ignored": "mask"}),
        ("cvae", {"prior": "standard"}),
        ("cvae", {"free_bits": 1.0}),
        ("cvae", {"samples": 3}),
    ],
)  # fmt: skip
def test_every_switch_changes_the_gradient(model: str, option: dict[str, Any]) -> None:
    assert _differ(_gradient(model=model), _gradient(model=model, **option))


@pytest.mark.parametrize("setting", ["stopped", "shared"])
def test_stopped_elbos_train_their_encoders_alone(setting: str) -> None:
    room, batch = _room(model="telbo", decoder_gradient=setting)
    phase = _phase(room)
    pool = phase._pool[0]
    assert pool is not None
    bounds, _ = phase._bounds(pool.draw(batch.draw), None, batch.draw, 1.0)
    scene = room.scene
    decoders = [p for part in (scene.paint, scene.draw, scene.tell) for p in part.parameters()]
    heads = {"image+tags": scene.from_image, "mask only": scene.from_mask}
    for name, head in heads.items():
        pulled = torch.autograd.grad(bounds[name], decoders, retain_graph=True, allow_unused=True)
        assert any(g is not None and bool(g.any()) for g in pulled) == (setting == "shared"), name
        own = torch.autograd.grad(bounds[name], list(head.parameters()), retain_graph=True)
        assert all(bool(g.any()) for g in own)
    joint = torch.autograd.grad(bounds["joint"], decoders, retain_graph=True, allow_unused=True)
    assert all(g is not None and bool(g.any()) for g in joint)


def test_images_without_a_mask_take_part_in_the_second_elbo_alone() -> None:
    room, batch = _room(model="telbo")
    others = batch.images.flip(0).roll(3, 1) * 0.5
    changed = Batch(batch.indices, others, others, Draw(3, 8), 0.5)
    _, first = _phase(room)(batch)
    _, second = _phase(room)(changed)
    same = {name for name in first if torch.equal(first[name], second[name])}
    assert {"joint: mask", "joint: image", "mask only: mask"} <= same and "image+tags: image" not in same


def test_a_subset_is_inferred_from_its_parts_alone() -> None:
    """Tags that are not known are as if they had not been given; with the mask observed the image still counts."""
    room, batch = _room(model="telbo")
    room.eval()
    images, scene = batch.images, room.scene
    unknown = torch.full((8, 2), torch.nan)
    tags = torch.tensor([[1.0, 0.0]]).repeat(8, 1)
    labels = (images.mean(1) > 0).long()
    mask = scene.shares(labels)
    with torch.no_grad():
        alone = scene.infer(Seen(images)).mean
        assert torch.allclose(scene.infer(Seen(images, unknown)).mean, alone, atol=1e-6)
        assert not torch.allclose(scene.infer(Seen(images, tags)).mean, alone, atol=1e-4)
        assert not torch.allclose(scene.infer(Seen(images, None, mask)).mean, alone, atol=1e-4)
        assert scene.infer(Seen(None, tags)).mean.shape == alone.shape
        assert scene.infer(Seen(None, None, mask)).mean.shape == alone.shape
    with pytest.raises(Fault, match="observed"):
        room.masks_of(Seen())


def test_jvae_fills_in_what_is_missing_by_decoding_and_encoding_again() -> None:
    once, _ = _room(model="jvae", rounds=1)
    more, batch = _room(model="jvae", rounds=6)
    labels = (batch.images.mean(1) > 0).long()
    seen = Seen(batch.images, torch.ones(8, 2), once.scene.shares(labels))
    with torch.no_grad():
        assert not torch.allclose(once.masks_of(Seen(batch.images)), more.masks_of(Seen(batch.images)), atol=1e-5)
        assert torch.allclose(once.masks_of(seen), more.masks_of(seen), atol=1e-6)  # nothing is missing


@pytest.mark.parametrize("model", ["cvae", "telbo", "unet"])
def test_tags_rule_out_classes(model: str) -> None:
    room, batch = _room(model=model)
    tags = torch.tensor([[1.0, 0.0]] * 4 + [[1.0, torch.nan]] * 4)
    with torch.no_grad():
        probs = room.infer_masks(batch.images, tags)
    assert float(probs[:4, 1].max()) == 0 and float(probs[4:, 1].min()) > 0
    assert torch.allclose(probs.sum(1), torch.ones(8, 32, 32), atol=1e-5)


def test_draws_average_and_are_the_same_for_every_image() -> None:
    room, batch = _room(model="cvae")
    with torch.no_grad():
        mean, drawn = room.masks_of(Seen(batch.images)), room.masks_of(Seen(batch.images), 3)
        again, alone = room.masks_of(Seen(batch.images), 3), room.masks_of(Seen(batch.images[2:3]), 3)
    assert torch.equal(drawn, again) and torch.allclose(drawn[2:3], alone, atol=1e-5)
    assert not torch.allclose(mean, drawn, atol=1e-4)


def test_diagnostics_are_measured_at_their_steps_and_keep_the_latents() -> None:
    room, batch = _room(model="telbo", diagnose=5)
    phase = _phase(room)
    assert "prior coverage" not in phase(batch)[1] and not bool(room.bank_mean.any())
    late = Batch(batch.indices, batch.images, batch.images, Draw(3, 8), 0.5, seen=8 * 4)
    logged = phase(late)[1]
    assert 0 < float(logged["prior coverage"]) <= 1.001 and 0 <= float(logged["active units"]) <= 1
    assert float(logged["gradient variance joint"]) > 0 == float(logged["gradient variance mask only"])
    assert bool(room.bank_mean.any())
    assert "prior coverage" in phase(batch)[1], "the last figures stay"


def test_latents_of_scenes_are_kept_where_nothing_else_is_measured() -> None:
    room, batch = _room(model="telbo", diagnose=0)
    logged = _phase(room)(Batch(batch.indices, batch.images, batch.images, Draw(3, 8), 0.5, seen=8 * 99))[1]
    assert bool(room.bank_mean.any()) and "gradient variance joint" not in logged
    room, batch = _room(model="cvae", diagnose=0)
    logged = _phase(room)(Batch(batch.indices, batch.images, batch.images, Draw(3, 8), 0.5, seen=8 * 99))[1]
    assert "prior coverage" not in logged


def test_a_backbone_encodes_the_image() -> None:
    room, batch = _room(model="cvae", backbone="mobilenet_v2", size=32, halvings=3)
    assert isinstance(room.scene.see, BackboneEncoder)
    maps = room.scene.see(batch.images)
    assert [tuple(m.shape[1:]) for m in maps] == [(4, 16, 16), (8, 8, 8), (16, 4, 4)]
    assert not any("classifier" in name for name in room.state_dict())
    rates = {group["lr"] for group in _phase(room).optimiser().param_groups}
    assert rates == {room.config.lr}


def test_settings_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(UsageFault, match="free-bits"):
        Config(free_bits=0.1, samples=2)
    with pytest.raises(Fault, match="halvings"):
        Config(size=72)
    with pytest.raises(UsageFault, match="backbone"):
        Config(weights="some.pth")
    with pytest.raises(UsageFault, match="masks"):
        build("scene_vae", masks=None)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["cvae", "telbo"])
def test_it_learns_masks_of_discs(model: str) -> None:
    room, batch = _room(model=model, width=8, lr=5e-3, cross=1.0 if model == "telbo" else 0.0)
    phase = _phase(room)
    optimiser = phase.optimiser()
    pool = phase._pool[0]
    assert pool is not None
    scenes = pool.fixed(20)
    for step in range(120):
        loss, _ = phase(Batch(batch.indices, batch.images, batch.images, Draw(step, 8), step / 240, step * 8))
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    with torch.no_grad():
        found = room.segment(scenes.images).argmax(1)
    hit = ((found == 1) & (scenes.labels == 1)).sum() / ((found == 1) | (scenes.labels == 1)).sum()
    assert float(hit) > 0.7
