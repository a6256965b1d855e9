"""What each phase of `layer_disposal` sees and changes, its switches, and its inference strategies."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from decoupe.errors import Fault
from decoupe.methods.layer_disposal import losses
from decoupe.methods.layer_disposal.config import PRESETS, Config
from decoupe.methods.layer_disposal.phases import DiscriminatorPhase, GeneratorPhase, PixelPhase
from decoupe.methods.layer_disposal.room import LayerDisposal
from decoupe.methods.room import Batch, DataSpec, Draw, to_unit
from tests.tiny import TINY, photos

PLAIN = TINY["layer_disposal"] | {
    "learn_keep": False, "unique_weight": 0.0, "move": 0.0, "binary_weight": 0.0, "area": 0.0, "r1": 0.0,
    "augment": False, "anneal": 0.0,
}  # fmt: skip


def _room(**options: Any) -> LayerDisposal:
    torch.manual_seed(0)
    return LayerDisposal(Config(**(PLAIN | options)), DataSpec(3, 32)).train()


def _batch(seed: int = 0) -> Batch:
    images = to_unit(photos(8))
    return Batch(torch.arange(8), images, images.flip(0), Draw(seed, 8), 0.0)


def _phases(room: LayerDisposal) -> tuple[GeneratorPhase, DiscriminatorPhase]:
    first, second = room.stages()[0].phases
    assert isinstance(first, GeneratorPhase) and isinstance(second, DiscriminatorPhase)
    return first, second


def _vivid(**options: Any) -> LayerDisposal:
    """A room whose raw generator makes images and masks that one can tell from nothing."""
    room = _room(**options)
    with torch.no_grad():
        room.generator.decoders.last.weight.mul_(40)
        for seed in range(8):  # running statistics
            room.generator(_phases(room)[0].game.codes(Draw(seed, 8)))
    return room


def test_the_encoder_never_sees_a_dropped_composite_and_the_discriminator_never_a_whole_one() -> None:
    room = _room(keep_prob=0.3, mirror=False)
    generator, discriminator = _phases(room)
    seen: dict[str, list[Tensor]] = {"E": [], "D": []}
    room.encoder.register_forward_pre_hook(lambda _, args: seen["E"].append(args[0]))
    room.discriminator.register_forward_pre_hook(lambda _, args: seen["D"].append(args[0]))
    batch = _batch()
    generator(batch)
    assert not seen["E"] and len(seen["D"]) == 1
    discriminator(batch)
    made = discriminator.game.made(batch)
    assert 0 < float(made.keep.mean()) < 1
    dropped = losses.generate(made.stack, made.keep)
    assert [torch.equal(made.stack.flatten(), one) for one in seen["E"]] == [True]
    assert torch.equal(seen["D"][0], dropped) and torch.equal(seen["D"][2], dropped)
    assert torch.equal(seen["D"][1], batch.images)
    partly = made.keep.mean(1) < 1
    assert not torch.equal(dropped[partly], made.stack.flatten()[partly])


def test_no_gradient_of_the_encoders_phase_reaches_the_generator() -> None:
    room = _room()
    generator, discriminator = _phases(room)
    batch = _batch()
    generator(batch)[0].backward()
    assert all(p.grad is not None for p in room.generator.parameters())
    assert all(p.grad is None for p in room.encoder.parameters()), "E has no part in Eq. 3.4"
    room.zero_grad(set_to_none=True)
    loss, _ = discriminator(batch)  # every parameter of the room wants a gradient here
    loss.backward()
    assert all(p.grad is None for p in room.generator.parameters())
    assert all(p.grad is not None for p in (*room.encoder.parameters(), *room.discriminator.parameters()))


def test_eq_3_3_is_the_sum_of_its_terms() -> None:
    room = _room(encoder_weight=3.0, mirror=False).eval()
    generator, discriminator = _phases(room)
    batch = _batch()
    generator(batch)
    loss, _ = discriminator(batch)
    made = discriminator.game.made(batch)
    real = room.discriminator(batch.images)
    fake = room.discriminator(losses.generate(made.stack, made.keep))
    cross = -(torch.sigmoid(real).log().mean() + (1 - torch.sigmoid(fake)).log().mean())
    error = (room.encoder(made.stack.flatten()) - made.codes).square().sum((1, 2, 3)).mean()
    assert float(loss.detach()) == pytest.approx(float((cross + 3 * error).detach()), rel=1e-5)


def test_photos_are_rebuilt_from_all_layers_while_some_of_them_are_dropped_before_the_discriminator() -> None:
    room = _room(photo_weight=3.0, encoder_weight=2.0, mirror=False).eval()
    generator, discriminator = _phases(room)
    batch = _batch()
    loss, logged = generator(batch)
    made = discriminator.game.made(batch)
    half = len(batch.images) // 2
    assert torch.equal(made.codes[half:], room.encoder(batch.images[half:])), "half of the codes are of photos"
    assert bool((made.codes[:half].abs() <= 1).all())
    rebuilt = made.stack.flatten()
    looks = -torch.sigmoid(room.discriminator(losses.generate(made.stack, made.keep))).log().mean()
    error = (rebuilt[half:] - batch.images[half:]).abs().mean()
    read = (room.encoder(rebuilt[:half]) - made.codes[:half]).square().sum((1, 2, 3)).mean()
    assert float(loss.detach()) == pytest.approx(float((looks + 3 * error + 2 * read).detach()), rel=1e-5)
    assert float(logged["photos"]) == pytest.approx(float(error.detach()), rel=1e-5)
    loss.backward()
    assert all(p.grad is not None for p in (*room.encoder.parameters(), *room.generator.parameters()))
    assert room.encoder in generator.trained() and room.encoder not in discriminator.trained()
    with pytest.raises(Fault, match="photo-weight"):
        Config(photo_weight=1.0, inference="pixel-real")
    alone = to_unit(photos(8))[:1]
    with pytest.raises(Fault, match="2 images or more per process"):
        generator(Batch(torch.arange(1), alone, alone, Draw(0, 1), 0.0))


def test_d_sees_layers_moved_each_by_itself_and_e_does_not() -> None:
    room = _vivid(move=0.25, augment=False)
    seen: dict[str, list[Tensor]] = {"D": [], "E": []}
    for name, module in (("D", room.discriminator), ("E", room.encoder)):
        module.register_forward_pre_hook(lambda _, given, name=name: seen[name].append(given[0].detach().clone()))
    generator, discriminator = _phases(room)
    batch = _batch()
    generator(batch), discriminator(batch)
    made = discriminator.game.made(batch)
    assert made.shift is not None and made.shift.shape == (8, room.config.k, 2)
    assert 0.4 < float(made.shift.abs().max()) <= 0.5, "in half sides"
    moved = losses.generate(made.stack.moved(made.shift), made.keep)
    assert torch.equal(seen["D"][0], moved) and torch.equal(seen["D"][2], moved), "both see the same images"
    assert not torch.allclose(moved, losses.generate(made.stack, made.keep))
    assert torch.equal(seen["E"][0], made.stack.flatten())


def test_without_a_generator_phase_the_other_makes_its_own_images() -> None:
    room = _room()
    batch = _batch()
    loss, logged = _phases(room)[1](batch)
    assert loss.isfinite() and 0 < float(logged["z"]) < 5


def test_keep_prob_one_drops_nothing() -> None:
    room = _room(keep_prob=1.0)
    generator, _ = _phases(room)
    made = generator.game.make(_batch())
    assert bool((made.keep == 1).all())
    with pytest.raises(Fault, match="keep_prob below 1"):
        Config(learn_keep=True, keep_prob=1.0)


@pytest.mark.parametrize("prior", ["uniform", "normal"])
@pytest.mark.parametrize("latent", ["reduced", "flat"])
def test_codes_follow_the_prior(prior: str, latent: str) -> None:
    game = _phases(_room(prior=prior, latent=latent))[0].game
    codes = torch.cat([game.codes(Draw(seed, 8)) for seed in range(100)]).double()
    assert codes.shape[2:] == ((1, 1) if latent == "flat" else (2, 2))
    assert float(codes.mean()) == pytest.approx(0, abs=0.05)
    assert float(codes.var()) == pytest.approx(1 if prior == "normal" else 1 / 3, rel=0.05)
    assert (float(codes.abs().max()) > 1) == (prior == "normal")


@pytest.mark.parametrize(
    "options",
    [
        {"unique_weight": 2.0}, {"r1": 5.0, "r1_every": 1}, {"adversarial": "hinge"},
        {"augment": True}, {"blocks": "residual"}, {"norm": "group"}, {"shared_trunk": False}, {"latent": "flat"},
        {"zoom": 1.3}, {"mirror": False}, {"even": False}, {"initial": "identical"}, {"prior": "normal"},
        {"photo_weight": 3.0}, {"move": 0.2}, {"binary_weight": 2.0}, {"area": 0.5},
    ],
    ids=lambda o: next(iter(o)),
)  # fmt: skip
def test_every_switch_changes_the_game(options: dict[str, Any]) -> None:
    """The losses of one step on one batch differ from the default's: no switch is idle."""

    def step(room: LayerDisposal) -> list[float]:
        batch = _batch()
        return [float(phase(batch)[0].detach()) for phase in _phases(room)]

    assert step(_room()) == step(_room())
    assert step(_room(**options)) != step(_room())


def test_learned_probabilities_move_and_the_mean_stays() -> None:
    room = _room(learn_keep=True)
    phase = _phases(room)[0]
    optimiser = phase.optimiser()
    for seed in range(5):
        phase(_batch(seed))[0].backward()
        optimiser.step()
        optimiser.zero_grad()
    probs = room.keeping.probs().detach()
    assert float(probs.std()) > 1e-5 and float(probs.mean()) == pytest.approx(0.4, abs=1e-5)


@pytest.mark.parametrize("strategy", ["pixel-real", "pixel-generated"])
def test_encoders_for_pixels_learn_with_the_generator_fixed(strategy: str) -> None:
    """Their stage changes no weight and no statistic of G, and lowers the error of the pixels."""
    room = _vivid(inference=strategy, lr=2e-3)
    layers, encoder = room.stages()
    assert room.encoder not in list(layers.phases[1].trained()) and not layers.candidate and encoder.candidate
    (phase,) = encoder.phases
    assert isinstance(phase, PixelPhase)
    before = {k: t.clone() for k, t in room.generator.state_dict().items()}
    optimiser, errors = phase.optimiser(), []
    room.requires_grad_(False)
    for module in phase.trained():
        module.requires_grad_(True)
    for seed in range(30):
        loss, logged = phase(_batch(seed))
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        errors.append(float(logged["pixels"]))
    assert sum(errors[-5:]) < sum(errors[:5])
    after = room.generator.state_dict()
    assert [k for k, t in before.items() if not torch.equal(t, after[k])] == []
    if strategy == "pixel-generated":
        assert "presence" in logged


def test_the_classifiers_learn_which_layers_are_there() -> None:
    """On generated images they are right more often than by always saying what is more frequent."""
    room = _vivid(inference="pixel-generated", lr=4e-3, keep_prob=0.5)
    phase = room.stages()[1].phases[0]
    optimiser = phase.optimiser()
    found = []
    for seed in range(60):
        loss, logged = phase(_batch(seed))
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        found.append(float(logged["presence"]))
    assert sum(found[-10:]) / 10 < 0.66, found[-10:]


def test_absent_layers_are_absent_from_the_masks() -> None:
    room = _room(inference="pixel-generated").eval()
    assert room.presence is not None
    with torch.no_grad():
        last = room.presence.body[-1]
        assert isinstance(last, torch.nn.Conv2d) and last.bias is not None
        last.weight.zero_()
        last.bias.copy_(torch.tensor([30.0, -30.0, 30.0]))
        stack = room.decompose(_batch().images)
        raw = room.generator(room.encoder(_batch().images))
    assert torch.allclose(stack.masks[:, 0], raw.masks[:, 0]) and float(stack.masks[:, 1].max()) < 1e-6


def test_regions_are_what_is_visible_of_the_layers() -> None:
    room = _room().eval()
    images = torch.nn.functional.interpolate(_batch().images, (40, 56))
    with torch.no_grad():
        probs, stack = room.segment(images), room.decompose(images)
    assert room.regions == ("background", "layer 1", "layer 2", "layer 3")
    assert stack.images.shape == (8, 3, 3, 40, 56) and stack.background.shape == (8, 3, 40, 56)
    front = stack.masks[:, -1, 0]
    assert torch.allclose(probs[:, 3], front, atol=1e-6)
    assert torch.allclose(probs[:, 2], stack.masks[:, 1, 0] * (1 - front), atol=1e-6)


def test_the_score_prefers_what_is_rebuilt_better() -> None:
    room = _room().eval()
    with torch.no_grad():
        images = room.decompose(_batch().images).flatten()
        again = room.decompose(images).flatten()
        wanted = 1 - (again - images).abs().mean((1, 2, 3)) / 2
        assert torch.allclose(room.score(images), wanted, atol=1e-6)
        assert float(room.score(images).mean()) > float(room.score(-images.sign()).mean())


def test_the_sample_sheet_shows_every_layer() -> None:
    room = _room().eval()
    with torch.no_grad():
        rows = room.samples(_batch())
    assert list(rows)[:3] == ["photo", "rebuilt", "background"] and len(rows) == 3 + 2 * 3 + 2
    assert all(row.shape == (8, 3, 32, 32) for row in rows.values())


def test_the_texts_settings_are_the_preset_and_sizes_are_multiples_of_16() -> None:
    paper = PRESETS["paper"]
    assert (paper.k, paper.keep_prob, paper.z, paper.latent, paper.encoder_weight) == (5, 0.4, 64, "reduced", 1.0)
    assert (paper.lr, paper.prior, paper.norm, paper.initial) == (2e-4, "uniform", "batch", "independent")
    with pytest.raises(Fault, match="multiple of 16, got 70; choose 80"):
        Config(size=70)
