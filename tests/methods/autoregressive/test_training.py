"""Training: what learns, what stays, and that planted regions are found."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

import decoupe
from decoupe.clustering import kmeans, nearest
from decoupe.data.synthetic import write
from decoupe.engine.runfolder import Run
from decoupe.errors import UsageFault
from decoupe.evaluate.run import evaluate
from decoupe.methods.autoregressive import losses
from decoupe.methods.autoregressive.config import PRESETS, Config
from decoupe.methods.autoregressive.networks import drop
from decoupe.methods.clusters import TRIES, ClusterRoom, Head
from decoupe.methods.room import Batch, DataSpec, Draw, Room, TrainingData, to_unit
from decoupe.nn.masked_conv import MaskedConv2d, Ordering
from tests.tiny import TINY, build


def _batch(images: torch.Tensor, seed: int) -> Batch:
    return Batch(torch.arange(len(images)), images, images, Draw(seed, len(images)), 0.0)


def _textures(count: int = 16, size: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    """Images of three colours in large noisy patches, and which patch is which."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(3, (count, 4, 4), generator=generator)
    labels = labels.repeat_interleave(size // 4, 1).repeat_interleave(size // 4, 2)
    tones = torch.tensor([[0.6, -0.5, -0.4], [-0.5, 0.5, -0.3], [-0.4, -0.3, 0.6]])
    noise = 0.25 * torch.randn(count, 3, size, size, generator=generator)
    return (tones[labels].movedim(3, 1) + noise).clamp(-1, 1), labels


def _data(images: torch.Tensor) -> TrainingData:
    levels = ((images + 1) * 127.5).round().byte().numpy()
    return TrainingData(levels, levels, DataSpec(images.shape[1], images.shape[2]))


def test_losses_are_the_negated_bounds() -> None:
    probs = torch.nn.functional.one_hot(torch.arange(36).view(1, 6, 6) % 3, 3).movedim(3, 1).float()
    assert float(losses.clustering(probs, probs, 0)) == pytest.approx(-math.log(3), abs=1e-5)
    assert float(losses.representation(torch.eye(6), torch.eye(6), 0.01)) == pytest.approx(-math.log(6), abs=1e-5)


def test_a_step_leaves_masked_weights_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from decoupe.methods.autoregressive import room as module

    room, data = build("autoregressive", k=3, over_k=0, orderings="raster", attention=0)
    ordering = Ordering()
    phase = room.stages()[0].phases[0]
    optimiser = phase.optimiser()
    images = to_unit(data.images[:8])
    for step in range(4):
        if step == 3:
            monkeypatch.setattr(module, "draw_pair", lambda *given: (ordering, ordering))
            before = {k: p.detach().clone() for k, p in room.named_parameters()}
        optimiser.zero_grad()
        phase(_batch(images, step))[0].backward()
        optimiser.step()
    masked = [(k, m) for k, m in room.named_modules() if isinstance(m, MaskedConv2d) and "autoregressive" in k]
    assert len(masked) == 4
    for name, module_ in masked:
        hidden = (ordering.mask(3) == 0).expand_as(module_.weight)
        old = before[f"{name}.weight"]
        assert torch.equal(module_.weight[hidden], old[hidden])
        assert (module_.weight != old)[~hidden].float().mean() > 0.9


def _train(room: Room, data: TrainingData, images: torch.Tensor, steps: int) -> list[float]:
    """All stages; losses of the first phase of the first."""
    found = []
    for index in range(len(room.stages())):
        room.enter(index, data, True)
        room.train()
        phases = room.stages()[index].phases
        optimisers = [phase.optimiser() for phase in phases]
        for step in range(steps):
            for phase, optimiser in zip(phases, optimisers, strict=True):
                optimiser.zero_grad()
                loss, _ = phase(_batch(images, 100 * index + step))
                loss.backward()
                optimiser.step()
                if index == 0 and phase is phases[0]:
                    found.append(float(loss.detach()))
    room.eval()
    return found


PLAIN = {"dropout": 0.0, "jitter": 0.0, "rotation": 0.0, "orderings": "raster", "attention": 0, "lr": 3e-3}


@pytest.mark.slow
def test_planted_regions_are_found() -> None:
    images, labels = _textures()
    room, _ = build("autoregressive", k=3, over_k=8, width=16, **PLAIN)
    _train(room, _data(images), images, 40)
    with torch.no_grad():
        found = room.segment(images).argmax(1)
        assert float(room.score(images).mean()) > 0.4
    counts = torch.zeros(3, 3)
    counts.index_put_((found.flatten(), labels.flatten()), torch.tensor(1.0), accumulate=True)
    assert float(counts.amax(1).sum() / counts.sum()) > 0.85 and len(set(counts.argmax(1).tolist())) == 3


def test_whitened_bands_are_uncorrelated_and_remembered() -> None:
    """Brightness a hundred times as strong as hue, and a band that never changes."""
    generator = torch.Generator().manual_seed(0)
    bright, hue = (torch.randn(16, 1, 32, 32, generator=generator) for _ in range(2))
    images = torch.cat([0.3 * bright, 0.3 * bright + 0.03 * hue, torch.full_like(hue, 0.5)], 1).clamp(-1, 1)
    room, _ = build("autoregressive", k=3, whiten=True)
    room.prepare(_data(images))
    assert isinstance(room, ClusterRoom)
    found = room.trunk.prepared(images)
    rows = found.movedim(1, 3).flatten(0, 2)
    covariance = torch.cov(rows.T)
    values = torch.linalg.eigvalsh(covariance)
    assert torch.allclose(values[1:], torch.ones(2), atol=0.05) and float(values[0]) < 0.2
    assert torch.allclose(rows.mean(0)[:2], torch.zeros(2), atol=0.05)
    other, _ = build("autoregressive", k=3, whiten=True, seed=3)
    other.load_state_dict(room.state_dict())
    assert isinstance(other, ClusterRoom) and torch.equal(other.trunk.prepared(images), found)


@pytest.mark.parametrize("room_name", ["autoregressive", "iic"])
def test_heads_that_start_at_kmeans_give_its_clusters(room_name: str) -> None:
    images, labels = _textures()
    room, _ = (
        build(room_name, k=3, over_k=5, start="kmeans", dropout=0.0)
        if room_name == "autoregressive"
        else build(room_name, k=3, over_k=5, start="kmeans")
    )
    assert isinstance(room, ClusterRoom)
    before = room.trunk.state_dict()
    before = {k: v.clone() for k, v in before.items() if "running" not in k and "batches" not in k}
    room.enter(0, _data(images), True)
    assert all(torch.equal(room.trunk.state_dict()[k], v) for k, v in before.items())  # only statistics settle
    room.eval()
    with torch.no_grad():
        features = room.features(images).float()
        rows = features.movedim(1, 3).flatten(0, 2)
        for name in ("main", "over"):
            head = room.head(name)
            logits = head(features).movedim(1, 3).flatten(0, 2)
            distance = torch.cdist(rows, head.conv.weight[:, :, 0, 0] * _scale(head))
            assert bool((logits.argmax(1) == distance.argmin(1)).float().mean() > 0.999)
    state = room.heads.state_dict()
    room.enter(0, _data(images), False)
    assert all(
        torch.equal(v, room.heads.state_dict()[k]) for k, v in state.items()
    )  # a resumed run does not start anew


def test_context_is_the_mean_of_cells_around_and_causal_with_an_ordering() -> None:
    images, _ = _textures(2)
    room, _ = build(
        "autoregressive", k=3, shortcut=True, context=2, blocks=0, attention=0, orderings="raster", dropout=0.0
    )
    assert isinstance(room, ClusterRoom)
    room.eval()
    side = 32 // room.trunk.stride
    with torch.no_grad():
        cells = torch.nn.functional.avg_pool2d(images, room.trunk.stride)
        found = room.features(images).float()
        assert found.shape[1] == room.trunk.found + 9
        corner = cells[:, :, :3, :3].mean((2, 3))
        assert torch.allclose(found[:, -3:, 0, 0], corner, atol=1e-5)
        last = images.clone()
        last[:, :, -1, -1] = 1  # of the cell that is visited last
        empty = images[:, :0, :: room.trunk.stride, :: room.trunk.stride]
        seen = [room.trunk.beside(empty, one, None, Ordering()) for one in (images, last)]
        moved = (seen[0] != seen[1]).any(1)
        assert seen[0].shape[1:] == (9, side, side) and moved[:, -1, -1].all() and int(moved.sum()) == 2
    with pytest.raises(UsageFault, match="--shortcut with --context"):
        Config(context=1)


def test_the_best_of_several_starts_is_taken_and_the_seed_decides() -> None:
    rows = torch.cat([torch.randn(300, 2), torch.randn(300, 2) + 6, torch.tensor([[90.0, 0.0]] * 2)])
    rooms = [build("autoregressive", k=3, seed=seed)[0] for seed in (0, 0, 1)]
    assert all(isinstance(room, ClusterRoom) and "seed" not in room.state_dict() for room in rooms)
    one, again, other = (room for room in rooms if isinstance(room, ClusterRoom))
    assert int(one.seed) == int(again.seed) != int(other.seed)
    found = one.centres(rows, 3)
    generator = torch.Generator().manual_seed(int(one.seed))
    single = [float(nearest(rows, kmeans(rows, 3, generator)[0])[1].mean()) for _ in range(TRIES)]
    assert float(nearest(rows, found)[1].mean()) == min(single)
    assert torch.equal(found, again.centres(rows, 3))


def _scale(head: Head) -> float:
    """Logits are (2 f.c - c.c) / s: weights 2c / s and biases -c.c / s give s / 2 back."""
    weight, bias = head.conv.weight[:, :, 0, 0], head.conv.bias
    assert bias is not None
    return float((-bias / weight.square().sum(1)).median() * 2)


@pytest.mark.slow
def test_features_learn_to_tell_pixels_apart_and_centres_share_them() -> None:
    images, _ = _textures()
    room, _ = build("autoregressive", k=3, objective="arl", width=16, **PLAIN)
    losses_seen = _train(room, _data(images), images, 30)
    assert losses_seen[-1] < losses_seen[0] - 0.3
    with torch.no_grad():
        shares = torch.bincount(room.segment(images).argmax(1).flatten(), minlength=3) / images[:, 0].numel()
    assert float(shares.min()) > 0.02


def test_k_is_proposed_from_images_alone_and_kept_with_the_weights() -> None:
    images, _ = _textures()
    room, _ = build("autoregressive", k="auto", over_k=8)
    assert isinstance(room, ClusterRoom) and len(room.regions) == 8  # while K is not known, its over-clustering
    data = _data(images)
    room.enter(0, data, True)
    assert int(room.used) == 0
    room.enter(1, data, True)
    k = int(room.used)
    assert 2 <= k <= 8 and len(room.regions) == k and room.segment(images[:2]).shape[1] == k
    curve = room.curve.tolist()
    assert all(a <= b + 1e-6 for a, b in zip(curve, curve[1:], strict=False)) and len(curve) == 8
    other, _ = build("autoregressive", k="auto", over_k=8, seed=5)
    other.load_state_dict(room.state_dict())
    assert other.regions == room.regions
    phase = room.stages()[1].phases[1]
    assert phase.k == k  # type: ignore[comparison-overlap]


@pytest.mark.slow
def test_a_run_with_proposed_k_can_be_scored_at_every_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Snapshots from before K was known show the over-clustering, whatever names and merges the run has by now."""
    monkeypatch.setenv("DECOUPE_CACHE", str(tmp_path / "cache"))
    write(tmp_path / "data", "aerial", 12, 32, seed=0)
    options = TINY["autoregressive"] | {"train_images": 32}
    model = decoupe.fit(
        "autoregressive", f"synth:{tmp_path / 'data'}", run=tmp_path / "run", precision="fp32", **options
    )
    k = len(model.names)
    assert k == int(model.room.used) and model.spec.channels == 4
    model.run.set_names([f"kind {i}" for i in range(k)], merge=[[0, 1]])
    model.run.commit()
    opened = Run.open(tmp_path / "run")
    snapshots = [c.images for c in opened.candidates()]
    assert len(decoupe.load(opened, snapshots[0]).names) == 6
    assert len(decoupe.load(opened).names) == k - 1
    rows = evaluate(opened, f"synth:{tmp_path / 'data'}", matching="majority")["results"]
    assert [row["selection"] for row in rows] == ["last", "selected", "oracle"]


def test_dropout_is_drawn_with_the_step_and_keeps_the_mean() -> None:
    x = torch.ones(64, 200, 2, 2)
    assert torch.equal(drop(x, 0.3, Draw(1, 64)), drop(x, 0.3, Draw(1, 64)))
    assert float(drop(x, 0.3, Draw(1, 64)).mean()) == pytest.approx(1, abs=0.03)
    assert drop(x, 0.3, None) is x and drop(x, 0.0, Draw(1, 64)) is x


def test_the_variants_of_the_text() -> None:
    shapes = {name: (PRESETS[name].stem, PRESETS[name].blocks) for name in ("f1", "f2", "f3", "f4", "f5")}
    assert shapes == {
        "f1": ("identity", 5), "f2": ("stem", 5), "f3": ("residual", 4), "f4": ("residuals", 0), "f5": ("resnet18", 0),
    }  # fmt: skip


@pytest.mark.parametrize("name", ["f1", "f2", "f3", "f4", "f5"])
def test_every_variant_trains_a_step(name: str) -> None:
    preset = PRESETS[name]
    room, data = build(
        "autoregressive",
        k=3,
        stem=preset.stem,
        blocks=preset.blocks,
        stride=4,
        attention=0,
        orderings="raster",
        width=4,
    )
    for phase in room.stages()[0].phases:
        loss, _ = phase(_batch(to_unit(data.images[:8]), 0))
        loss.backward()
        assert loss.isfinite()
    assert all(p.grad is not None for p in room.parameters())


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"orderings": "zigzag"}, "attention 1 or more"), ({"ordering_count": 3}, "ordering-count"),
        ({"stride": 3}, "stride 1, 2, 4 or 8"), ({"size": 130}, "a size that it divides"),
        ({"reach": 17}, "reach"), ({"k": "auto", "over_k": 0}, "over-k from 4"), ({"k": 1}, "k between 2"),
        ({"attention": 1, "width": 30}, "attention heads divide"), ({"attention": 5}, "attention between 0 and 4"),
    ],
)  # fmt: skip
def test_settings_that_do_not_go_together(wrong: dict[str, object], words: str) -> None:
    with pytest.raises(UsageFault if "between" not in words and words != "reach" else Exception, match=words) as caught:
        Config(**wrong)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
