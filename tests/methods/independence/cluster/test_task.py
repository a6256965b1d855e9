"""The task from one image to its count: phases, resuming, the provider's way, the command line."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import decoupe
from decoupe.cli import main
from decoupe.engine.launch import World
from decoupe.engine.loop import Loop
from decoupe.engine.progress import Silent
from decoupe.engine.runfolder import Run
from decoupe.errors import Fault, UsageFault
from decoupe.methods.independence.cluster.networks import SIDE, Critic, Generator
from decoupe.methods.independence.cluster.patches import OneImage, _proposed, estimate
from decoupe.methods.independence.cluster.task import Cluster
from decoupe.methods.independence.config import PRESETS, Config
from decoupe.methods.independence.room import Independence
from decoupe.methods.room import Batch, DataSpec, Draw, TrainingData, to_unit
from tests.tiny import steps, stopping

TINY: dict[str, Any] = {
    "task": "cluster", "size": 32, "batch": 8, "passes": 2, "pass_images": 24, "composites": 6, "segmenter_width": 4,
    "views": 2, "discriminator_width": 4, "generator_width": 4, "generator_images": 16, "layers": 3,
}  # fmt: skip


def picture(size: int = 128, seed: int = 0) -> tuple[np.ndarray, int]:
    """(H, W, 3) uint8 of bright disks about 18 px across on a dark ground, and their number."""
    rng = np.random.default_rng(seed)
    image, places = rng.normal(50, 6, (size, size, 3)), [(0.0, -99.0)]
    y, x = np.mgrid[:size, :size]
    for _ in range(400):
        cy, cx = rng.uniform(12, size - 12, 2)
        if min((cy - a) ** 2 + (cx - b) ** 2 for a, b in places) > 21**2:
            places.append((cy, cx))
            image[(y - cy) ** 2 + (x - cx) ** 2 <= rng.uniform(8, 10) ** 2] = rng.uniform(160, 200)
    return image.clip(0, 255).astype(np.uint8), len(places) - 1


def room(**options: Any) -> tuple[Cluster, TrainingData]:
    """A tiny room on `picture`."""
    config = Config(**{**TINY, **options})
    image, _ = picture(96)
    source = OneImage(image, 18.0, config.size)
    data = TrainingData(source, source, DataSpec(3, config.size))
    torch.manual_seed(0)
    made = Independence.of(config)(config, data.spec)
    assert isinstance(made, Cluster)
    made.prepare(data)
    return made, data


def test_the_task_chooses_its_class() -> None:
    assert Independence.of(Config()) is Independence and Independence.of(Config(**TINY)) is Cluster
    for name in ("crowd", "fruit", "seeds"):
        preset = PRESETS[name]
        assert preset.task == "cluster" and preset.source == "provider" and preset.area_weight == 1000
    tables = {"crowd": (8, 6, 0.1, 30), "fruit": (10, 5, 0.25, 32), "seeds": (12, 2, 0.25, 26)}
    for name, values in tables.items():
        preset = PRESETS[name]
        assert (preset.layers, preset.latent, preset.area, preset.pad) == values


@pytest.mark.parametrize(("source", "layout"), [("cutouts", "prior"), ("provider", "prior"), ("provider", "trained")])
def test_phases_change_their_own_networks_only(source: str, layout: str) -> None:
    made, data = room(source=source, layout=layout, area=0.1)
    images = to_unit(data.images[np.arange(8)])
    for step in steps(made, data, lambda stage: Batch(torch.arange(8), images, images, Draw(stage, 8), 0.5)):
        assert step.loss.isfinite() and all(bool(v.isfinite()) for v in step.logged.values())
        assert step.changed and all(step.changed.values()), step.phase


def test_two_processes_see_what_one_sees() -> None:
    """Row r of R processes is row r of one: composites and patches alike."""
    made, data = room()
    made.enter(0, data, True)
    phase, lesson = made.stages()[0].phases[0], made._lesson
    images = to_unit(data.images[np.arange(8)])
    assert lesson is not None
    whole = phase.lecture(Batch(torch.arange(8), images, images, Draw(5, 8), 0.0), lesson)
    parts = [
        phase.lecture(Batch(torch.arange(4), images[:4], images[:4], Draw(5, 4, rank, 2), 0.0), lesson)
        for rank in (0, 1)
    ]
    assert torch.equal(whole[0], torch.cat([part[0] for part in parts]))
    assert torch.equal(whole[1], torch.cat([part[1] for part in parts]))
    assert whole[0].shape == (8, 3, 32, 32) and whole[1].shape == (8, 4, 32, 32)
    assert sorted(float(t[3].mean()) == 1 for t in whole[1])[:2] == [False, False]  # two patches of the image


def _loop(folder: Path, resume: bool = False, **options: Any) -> Loop:
    made, data = room(**options)
    run = Run.open(folder, verify=False) if resume else Run.create(folder, "independence")
    if not resume:
        run.commit(precision="fp32", config=dataclasses.asdict(made.config))
    return Loop(
        made, data, run, Silent(), World(), batch=8, seed=0, budget=(None, None), started=time.monotonic(),
        device=torch.device("cpu"),
    )  # fmt: skip


def test_stop_and_resume_equals_a_straight_run(tmp_path: Path) -> None:
    straight = _loop(tmp_path / "straight")
    straight.train(False)
    with pytest.raises(Exception, match="Resume"):
        stopping(_loop(tmp_path / "stopped"), 32).train(False)  # in the second round: its lesson follows from the first
    resumed = _loop(tmp_path / "stopped", resume=True)
    resumed.train(True)
    left, right = straight.room.state_dict(), resumed.room.state_dict()
    assert [k for k in left if not torch.equal(left[k], right[k])] == []


def test_generator_and_critic_have_the_shapes_of_table_2() -> None:
    generator, critic = Generator(3, 5, 64).requires_grad_(False), Critic(3, 5, 64).requires_grad_(False)
    layers = generator(torch.randn(2, 5))
    assert layers.shape == (2, 4, SIDE, SIDE) and 0 <= float(layers.min()) and float(layers.max()) <= 1
    assert critic(layers[:, :3]).shape == (2, 1, 4, 4) and critic.read(layers[:, :3]).shape == (2, 5)
    wide = [m.out_channels for m in critic.modules() if isinstance(m, torch.nn.Conv2d)]
    assert wide == [64, 128, 256, 512, 1024, 1]
    assert [m.out_channels for m in generator.modules() if isinstance(m, torch.nn.Conv2d)] == [256, 256]
    ups = [m.out_channels for m in generator.modules() if isinstance(m, torch.nn.ConvTranspose2d)]
    assert ups == [128, 64, 4]


def test_noise_is_not_taken_for_things_and_specks_are_not_overlooked() -> None:
    rng, (y, x) = np.random.default_rng(3), np.mgrid[:480, :480]
    discs = sum(((y - cy) ** 2 + (x - cx) ** 2 < 21**2) * 22.0 for cy in (80, 240, 400) for cx in (80, 240, 400))
    noise = rng.poisson(1.0, (480, 480)) * 2
    dark = np.where(discs + noise > 6, 6 + discs + noise, 6).astype(np.uint8)
    alone = _proposed(np.repeat(dark[..., None], 3, 2), 480)[0]
    assert alone.diameter < 9 and len(alone.quality) > 200  # speckles, of which there are many more
    diameter, count, _ = estimate(np.repeat(dark[..., None], 3, 2))
    assert 36 < diameter < 50 and 6 <= count <= 12

    specks = np.full((480, 480), 20.0)
    for cy, cx in rng.uniform(8, 472, (300, 2)):
        specks = np.maximum(specks, 20 + 150 * np.clip(3 + 0.5 - np.hypot(y - cy, x - cx), 0, 1))
    image = (specks + rng.normal(0, 3, specks.shape)).clip(0, 255).astype(np.uint8)
    diameter, count, _ = estimate(np.repeat(image[..., None], 3, 2))
    assert diameter == pytest.approx(6, abs=1.5) and count > 200


def test_the_size_of_things_is_estimated_and_an_empty_image_refused() -> None:
    image, number = picture()
    diameter, count, _ = estimate(image)
    assert diameter == pytest.approx(18, abs=2.5) and count > 0.7 * number
    with pytest.raises(Fault, match="instance-px"):
        estimate(np.full((64, 64, 3), 30, np.uint8))


def test_one_image_only(tmp_path: Path) -> None:
    for name in ("a", "b"):
        Image.fromarray(picture()[0]).save(tmp_path / f"{name}.png")
    with pytest.raises(UsageFault, match="one image"):
        decoupe.fit("independence", tmp_path, run=tmp_path / "run", **TINY)


def test_from_one_image_to_a_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command line: fit, count with JSON, segment as COCO; and the things are the disks."""
    image, number = picture(160, 3)
    photo = tmp_path / "disks.png"
    Image.fromarray(image).save(photo)
    run, out = tmp_path / "run", tmp_path / "masks"
    options = ["--batch", "8", "--pass-images", "480", "--passes", "1", "--composites", "48", "--segmenter-width", "8"]
    fit = ["fit", "independence", "--task", "cluster", "--images", str(photo), "--run", str(run), "--size", "48"]
    assert main([*fit, "--precision", "fp32", "--views", "4", "--lr-segmenter", "0.004", *options]) == 0
    assert "px across" in capsys.readouterr().err
    assert main(["count", str(run), str(photo), "--json", str(tmp_path / "count.json")]) == 0
    found = json.loads((tmp_path / "count.json").read_text())["images"][0]
    assert abs(found["count"] - number) <= max(2, 0.1 * number)
    assert len(found["views"]) == 4 and len(found["areas_px"]) == found["count"]
    assert sum(found["histogram"]["things"]) == found["count"]
    assert found["median_diameter_px"] == pytest.approx(18, abs=3)
    assert f"{found['count']} +- " in capsys.readouterr().out
    assert main(["segment", str(run), str(photo), "--out", str(out), "--format", "coco,png,overlay,csv"]) == 0
    coco = json.loads((out / "coco.json").read_text())
    assert len(coco["annotations"]) == found["count"]
    assert all(0 < one["score"] <= 1 and one["area"] > 20 for one in coco["annotations"])
    rows = (out / "measures.csv").read_text().splitlines()
    place = rows[0].split(",").index("instances")
    assert rows[2].split(",")[place] == str(found["count"])
    regions = decoupe.load(run).segment(photo)
    assert len(regions.instances) == found["count"] and regions.probs.shape == (2, 160, 160)


def test_counting_needs_a_run_that_finds_things(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo = tmp_path / "disks.png"
    Image.fromarray(picture()[0]).save(photo)
    decoupe.fit("baselines", tmp_path, run=tmp_path / "run", kind="otsu", size=32)
    assert main(["count", str(tmp_path / "run"), str(photo)]) == 1
    assert "--task cluster" in capsys.readouterr().err
