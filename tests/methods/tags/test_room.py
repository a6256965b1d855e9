"""The chain of `tags` from files to named masks: weights, fixed parts, cues of both kinds, self-training, resuming."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from decoupe import load
from decoupe.cli import main
from decoupe.engine.runfolder import Run
from decoupe.engine.tensors import save_tensors
from decoupe.errors import Fault, UsageFault
from decoupe.methods.room import Batch, DataSpec, Draw, TrainingData, to_unit
from decoupe.methods.tags.config import PRESETS, Config
from decoupe.methods.tags.features import compute
from decoupe.methods.tags.room import Tags
from decoupe.nn.backbones import backbone
from tests.tiny import TINY, build, photos

SMALL: dict[str, Any] = TINY["tags"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Weights of a classifier of 10 classes, as somebody else may have published them."""
    torch.manual_seed(5)
    path = tmp_path_factory.mktemp("weights") / "net.safetensors"
    save_tensors(path, backbone("mobilenet_v2", 10).body.state_dict())
    return str(path)


def coloured(n: int = 24, size: int = 65) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Photos (n, 3, S, S) with a red or a blue square, or both, or none, on noise; tags (n, 2); masks (n, S, S)."""
    rng = np.random.default_rng(0)
    images = rng.normal(120, 12, (n, 3, size, size))
    masks, tags = np.zeros((n, size, size), np.uint8), np.zeros((n, 2), np.uint8)
    for i in range(n):
        for c in range(2):
            if (i >> c) & 1:
                y, x = rng.integers(2, size // 2 - 4, 2) + (np.array([0, size // 2]) if c else 0)
                box = (slice(int(y), int(y) + size // 3), slice(int(x), int(x) + size // 3))
                images[(i, slice(None), *box)] += np.array(
                    [[[110]], [[-60]], [[-60]]] if c == 0 else [[[-60]], [[-60]], [[110]]]
                )
                masks[(i, *box)], tags[i, c] = c + 1, 1
    return images.clip(0, 255).astype(np.uint8), tags, masks


def room_of(weights: str, **options: Any) -> tuple[Tags, TrainingData]:
    images, tags, _ = coloured()
    config = Config(**(SMALL | {"size": 65, "weights": weights} | options))
    data = TrainingData(images, images, DataSpec(3, 65, ("red", "blue")), tags=tags)
    torch.manual_seed(0)
    return Tags(config, data.spec), data


def test_without_tags_it_says_what_is_missing() -> None:
    with pytest.raises(Fault, match="--tags tags.csv"):
        Tags(Config(), DataSpec(3, 64))
    room, data = build("tags")
    with pytest.raises(Fault, match="tags of every photo"):
        room.enter(0, dataclasses.replace(data, tags=None), True)


def test_weights_are_installed_folded_and_given_to_both_networks(weights: str) -> None:
    room, data = room_of(weights)
    room.prepare(data)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in room.modules())
    images = to_unit(data.images[:2])
    published = backbone("mobilenet_v2", 10, weights=weights).eval()
    room.eval()
    with torch.no_grad():
        count = room._fixed
        assert 0 < count
        assert torch.allclose(
            room.segmenter.first(images, count),
            torch.nn.Sequential(*list(published.body.features)[:count])(published.normalised(images)),
            atol=1e-4,
        )


def test_what_is_fixed_stays_and_is_computed_once(weights: str) -> None:
    """The stored features are those of the photo and of its mirror image, to the precision of bfloat16."""
    room, data = room_of(weights)
    room.prepare(data)
    room.eval()
    features = compute(room.segmenter, room._fixed, data, torch.device("cpu"))
    assert features is not None and features.maps.shape[:2] == (24, 2)
    images = to_unit(data.images[:3])
    for mirrored in (False, True):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            wanted = room.segmenter.first(images.flip(3) if mirrored else images, room._fixed).float()
        found = features.of(torch.arange(3), torch.full((3,), mirrored), torch.device("cpu"))
        assert torch.allclose(found, wanted, atol=0.02 * float(wanted.abs().max()))
    room.enter(0, data, True)
    trained = {id(p) for m in room.stages()[0].phases[0].trained() for p in m.parameters()}
    early = [p for part in list(room.classifier.body.features)[: room._fixed] for p in part.parameters()]
    assert early and not any(id(p) in trained for p in early)


def test_without_weights_nothing_is_fixed() -> None:
    room, data = build("tags")
    room.prepare(data)
    room.enter(0, data, True)
    assert room._fixed == 0 and room._features is None
    parameters = {id(p) for m in room.stages()[1].phases[0].trained() for p in m.parameters()}
    assert parameters == {id(p) for p in room.segmenter.parameters()}


@pytest.mark.parametrize("ground", ["maps", "saliency"])
def test_cues_are_of_the_tags_of_each_photo(weights: str, ground: str) -> None:
    room, data = room_of(weights, ground=ground)
    room.prepare(data)
    room.enter(0, data, True)
    room.enter(1, data, True)
    assert room._cues.shape == (24, 9, 9)
    for cue, tags in zip(room._cues, data.tags, strict=True):
        assert set(cue.unique().tolist()) <= {0, 255} | {c + 1 for c in range(2) if tags[c]}
    nothing = [i for i in range(24) if not data.tags[i].any()]
    assert nothing and all((room._cues[i] == 0).all() for i in nothing)


def test_the_same_cues_are_made_again_after_a_stop(weights: str) -> None:
    room, data = room_of(weights)
    room.prepare(data)
    room.enter(0, data, True)
    room.enter(1, data, True)
    first = room._cues.clone()
    again, _ = room_of(weights)
    again.load_state_dict(room.state_dict())
    again.enter(1, data, False)
    assert torch.equal(again._cues, first) and torch.equal(again.done, room.done)


def test_targets_of_a_round_are_those_of_its_beginning(weights: str) -> None:
    """The segmenter moves on; what it learns does not."""
    room, data = room_of(weights, sure=0.0)
    room.prepare(data)
    room.enter(0, data, True)
    room.enter(2, data, True)
    first = room._cues.clone()
    with torch.no_grad():
        room.segmenter.score.weight.add_(torch.randn_like(room.segmenter.score.weight))
    room.enter(2, data, False)
    assert torch.equal(room._cues, first)


def test_given_cues_replace_the_classifiers(weights: str) -> None:
    room, data = room_of(weights)
    _, _, masks = coloured()
    room.prepare(data)
    room.enter(1, dataclasses.replace(data, cues=masks), True)
    assert torch.equal(room._cues, torch.from_numpy(masks)[:, ::8, ::8])


def test_thresholds_are_chosen_on_photos_that_are_held_out(weights: str) -> None:
    room, data = room_of(weights, holdout=0.5)
    room.prepare(data)
    room.enter(0, data, True)
    assert float(room._counted.sum()) == 12
    room.enter(1, data, True)
    assert not torch.equal(room.thresholds, torch.full((2,), 0.5))
    phase = room.stages()[0].phases[0]
    held = (room._counted == 0).nonzero()[:4, 0]
    batch = Batch(held, to_unit(data.images[held.numpy()]), to_unit(data.images[:4]), Draw(0, 4), 0.5)
    assert float(phase(batch)[0].detach()) == 0, "held-out photos teach the classifier nothing"


def test_gate_and_kind_of_masks(weights: str) -> None:
    room, data = room_of(weights)
    room.prepare(data)
    room.enter(1, data, True)
    room.eval()
    images = to_unit(data.images[:4])
    with torch.no_grad():
        free = room.segment(images)
        room.config = dataclasses.replace(room.config, gate=1.0)
        gated = room.segment(images)
        assert (gated[:, 1:] == 0).all() and (gated[:, 0] == 1).all() and (free[:, 1:] > 0).all()
        room.config = dataclasses.replace(room.config, masks="gradcam", gate=0.0)
        maps = room.segment(images)
    assert not torch.allclose(maps, free) and torch.allclose(maps.sum(1), torch.ones(4, 65, 65), atol=1e-5)


@pytest.mark.parametrize(
    ("options", "stage", "wanted"),
    [
        ({}, 3, "stego"), ({}, 2, "stego"), ({}, 1, "sec-test"), ({}, 0, "sec-test"),
        ({"rounds": 0}, 1, "sec-test"), ({"masks": "gradcam"}, 3, "sec-test"),
        ({"crf": "none"}, 3, None), ({"crf": "cutler"}, 1, "cutler"), ({"crf": "stego", "rounds": 0}, 1, "stego"),
    ],
)  # fmt: skip
def test_the_crf_is_that_of_the_masks_it_sharpens(
    weights: str, options: dict[str, Any], stage: int, wanted: str | None
) -> None:
    room, data = room_of(weights, **options)
    room.prepare(data)
    room.enter(stage, data, True)
    assert room.crf == wanted


def test_the_preset_of_the_text_is_the_texts() -> None:
    paper = PRESETS["paper"]
    assert (paper.backbone, paper.size, paper.batch, paper.stride, paper.width) == ("vgg16", 321, 15, 8, 1024)
    assert (paper.optimiser, paper.lr, paper.sec_images, paper.cue, paper.cam) == ("sgd", 1e-3, 120_000, 0.2, "gradcam")
    assert paper.rounds == 0 and paper.gate == 0 and paper.fixed == 0 and paper.balance == 0
    with pytest.raises(Fault, match="gradcam"):
        Config(backbone="vgg16", cam="cam")


@pytest.mark.slow
def test_the_segmenter_learns_from_a_few_cells_of_each_thing(weights: str) -> None:
    """A tenth of the cells are cues; the losses on areas and edges fill in the rest."""
    room, data = room_of(weights, width=32, lr=2e-3, mirror=False)
    _, _, masks = coloured()
    rng = np.random.default_rng(1)
    few = np.where(rng.random(masks.shape) < 0.1, masks, 255).astype(np.uint8)
    room.prepare(data)
    room.enter(1, dataclasses.replace(data, cues=few), True)
    phase = room.stages()[1].phases[0]
    room.requires_grad_(False)
    for module in phase.trained():
        module.requires_grad_(True)
    optimiser, losses = phase.optimiser(), []
    room.train()
    for step in range(40):
        chosen = (torch.arange(8) + 8 * step) % 24
        images = to_unit(data.images[chosen.numpy()])
        loss, _ = phase(Batch(chosen, images, images, Draw(step, 8), 0.5))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-6:]) < 0.7 * np.mean(losses[:3]), losses


# ------------------------------------------------------------------ the command line


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    images, tags, masks = coloured(16, 48)
    (tmp_path / "photos").mkdir()
    rows = ["image,tags"]
    for i, (image, tag) in enumerate(zip(images, tags, strict=True)):
        Image.fromarray(image.transpose(1, 2, 0)).save(tmp_path / f"photos/p{i:02d}.png")
        rows.append(f"p{i:02d}.png,{' '.join(name for name, there in zip(('red', 'blue'), tag, strict=True) if there)}")
    (tmp_path / "tags.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def words(folder: Path, *more: str) -> list[str]:
    options = [f"--{key.replace('_', '-')}={value}" for key, value in SMALL.items()]
    fit = ["fit", "tags", "--images", f"{folder}/photos", "--run", f"{folder}/run", "--precision", "fp32"]
    return [*fit, *options, *more]


@pytest.mark.slow
def test_two_commands_from_tags_to_named_masks(folder: Path, weights: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("decoupe.engine.health.FULL", 2.0)
        assert main(words(folder, "--tags", f"{folder}/tags.csv", "--weights", weights)) == 0
    out = f"{folder}/masks"
    assert main(["segment", f"{folder}/run", f"{folder}/photos", "--out", out, "--format", "png,csv"]) == 0
    assert len(list(Path(out).glob("*.png"))) == 16
    model = load(folder / "run")
    assert model.names == ("background", "blue", "red") and model.crf == "stego"
    run = Run.open(folder / "run")
    assert [c.stage for c in run.candidates()] == ["classifier", "sec", "self-training 1", "self-training 2"]
    assert [c.score is not None for c in run.candidates()] == [False, False, False, True]  # only the end is chosen from
    assert run.info["data"]["tags"].startswith("tags: blue 8, red 8; 4 with none of them")
    page = (folder / "run/report.html").read_text()
    assert all(f"{title}<" in page for title in ("photo", "class maps", "cues", "before the CRF", "found"))
    Path(weights).rename(weights + ".gone")  # a finished run needs no file of weights
    try:
        assert load(folder / "run").segment(folder / "photos/p03.png").probs.shape == (3, 48, 48)
    finally:
        Path(weights + ".gone").rename(weights)


@pytest.mark.slow
def test_tags_that_change_end_a_resumed_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("decoupe.engine.health.FULL", 2.0)
        assert main(words(folder, "--tags", f"{folder}/tags.csv")) == 0
    text = (folder / "tags.csv").read_text()
    (folder / "tags.csv").write_text(text.replace("p01.png,red", "p01.png,blue"))
    assert main(["fit", "tags", "--run", f"{folder}/run", "--resume"]) == 1
    assert "other content" in capsys.readouterr().err


def test_misuse_of_tags_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words(folder)) == 2
    assert "--tags FILE" in capsys.readouterr().err
    baselines = ["fit", "baselines", "--images", f"{folder}/photos", "--run", f"{folder}/other"]
    assert main([*baselines, "--tags", f"{folder}/tags.csv"]) == 2
    assert "learns from tags" in capsys.readouterr().err
    assert main(words(folder, "--tags", f"{folder}/tags.csv", "--crf", "nonsense")) == 2
    assert "CRF preset" in capsys.readouterr().err
    with pytest.raises(UsageFault):
        Config(crf="nonsense")


def test_photos_of_the_tiny_room_are_what_they_were() -> None:
    """`build` gives every photo a row of tags."""
    room, data = build("tags")
    assert data.tags is not None and data.tags.shape == (40, 2) and len(photos(2)) == 2
    assert room.regions == ("background", "bright", "round")


def test_masks_are_averaged_with_those_of_the_mirror_image_and_scored_before_that(weights: str) -> None:
    room, data = room_of(weights)
    room.done.fill_(2)
    torch.nn.init.normal_(room.segmenter.score.weight, std=0.5)
    images = to_unit(data.images[:4])
    with torch.no_grad():
        once, mirrored = room.eval().learned(images), room.learned(images.flip(3)).flip(3)
        both = room.segment(images)
        torch.testing.assert_close(both, (once + mirrored) / 2)
        torch.testing.assert_close(both, room.segment(images.flip(3)).flip(3))
        single = room_of(weights, flip=False)[0].eval()
        single.load_state_dict(room.state_dict())
        torch.testing.assert_close(single.segment(images), once)
        sides = torch.zeros_like(once)  # left, right, middle column: the mirror image disagrees in two of three
        sides[:, 0, :, :32], sides[:, 1, :, 33:], sides[:, 2, :, 32] = 1, 1, 1
        room.learned = lambda images: sides  # type: ignore[method-assign]
        torch.testing.assert_close(room.score(images), torch.full((4,), 1 / 3))


def test_more_tags_than_a_byte_tells_apart_are_one_line() -> None:
    """255 is the cue that says nothing: with 255 tags the last would teach nothing, with 256 it would be background."""
    names = tuple(f"tag {i}" for i in range(255))
    with pytest.raises(Fault, match="at most 254 tags: cues are bytes, got 255; choose some with --classes"):
        Tags(Config(**SMALL), DataSpec(3, 32, names))
