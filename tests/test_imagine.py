"""`decoupe imagine` and `segment --tags`, on a small run of real files."""

from __future__ import annotations

import dataclasses
import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from decoupe.cli import main
from decoupe.data.catalogue import open_dataset
from decoupe.data.decode import read_image, read_mask
from decoupe.engine.runfolder import Run
from decoupe.engine.tensors import pack_tensors
from decoupe.errors import Fault, UsageFault
from decoupe.imagine import imagine
from decoupe.losses.variational import Gaussian
from decoupe.methods.scene_vae.diagnostics import BANK, posteriors
from decoupe.methods.scene_vae.imagining import arc, draws, walk
from decoupe.methods.scene_vae.room import SceneVae
from decoupe.model import load
from decoupe.segment import segment
from tests.tiny import build, masked


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A joint model with the weights it begins with, and latents of scenes."""
    room, data = build("scene_vae")
    assert isinstance(room, SceneVae)
    room.prepare(data)
    pool = room._pool
    assert pool is not None
    q, _ = posteriors(room.scene, pool)
    rows = torch.arange(BANK) % len(q.mean)
    room.bank_mean.copy_(3 * q.mean[rows])  # far apart, as learned ones are
    room.bank_log_variance.copy_(q.log_variance[rows])
    made = Run.create(tmp_path_factory.mktemp("imagine") / "run", "scene_vae")
    made.commit(config=dataclasses.asdict(room.config), spec=dataclasses.asdict(room.spec), status="done")
    made.write_bytes("weights.safetensors", pack_tensors(room.state_dict()))
    made.set_names(room.regions)
    return made.path


def _images(out: Path) -> np.ndarray:
    return np.stack([read_image(path) for path in sorted((out / "images").iterdir())])


def test_pairs_are_a_layout_that_can_be_trained_on(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["imagine", str(run), "--walk", "40", "--out", str(tmp_path / "w")]) == 0
    assert "40 pairs, nothing given" in capsys.readouterr().out
    dataset = open_dataset(f"masks:{tmp_path / 'w'}")
    assert len(dataset.samples) == 40 and dataset.classes == ("background", "object")
    assert all(s.truth is not None and s.mask().shape == (32, 32) for s in dataset.samples[:3])
    assert read_image(tmp_path / "w/overview.png").shape == (5 * (32 + 3), 8 * (64 + 3), 3)
    steps = np.abs(np.diff(_images(tmp_path / "w").astype(float), axis=0)).mean((1, 2, 3))
    assert 0 < steps.mean(), "a walk moves"


def test_draws_depend_on_the_seed_and_on_where_they_start(run: Path, tmp_path: Path) -> None:
    for name, start, seed in (("a", "data", 0), ("b", "data", 0), ("c", "data", 1), ("d", "prior", 0)):
        done = imagine(run, tmp_path / name, 6, start=start, seed=seed)
        assert done["n"] == 6 and done["observed"] == []
    a, b, c, d = (_images(tmp_path / name) for name in "abcd")
    assert np.array_equal(a, b) and not np.array_equal(a, c) and not np.array_equal(a, d)


def test_masks_have_the_colours_that_were_chosen(run: Path, tmp_path: Path) -> None:
    named = Run.open(shutil.copytree(run, tmp_path / "run"))
    named.set_names(named.names, colours=["#c0ffee"] * len(named.names))
    imagine(named.path, tmp_path / "out", 2)
    with Image.open(tmp_path / "out/masks/000000.png") as mask:
        assert (mask.getpalette() or [])[:3] == [0xC0, 0xFF, 0xEE]
    with Image.open(tmp_path / "out/overview.png") as overview:
        assert (np.asarray(overview) == (0xC0, 0xFF, 0xEE)).all(2).any()


def test_a_given_mask_is_the_mask_of_every_pair(run: Path, tmp_path: Path) -> None:
    mask = np.zeros((64, 64), np.uint8)
    mask[16:48, 16:48] = 1
    Image.fromarray(mask).save(tmp_path / "m.png")
    done = imagine(run, tmp_path / "out", 3, mask=tmp_path / "m.png")
    assert done["observed"] == ["mask"]
    for path in (tmp_path / "out/masks").iterdir():
        assert np.array_equal(read_mask(path), mask[1::2, 1::2])
    assert not np.array_equal(*_images(tmp_path / "out")[:2])
    Image.fromarray(mask * 7).save(tmp_path / "wrong.png")
    with pytest.raises(Fault, match="classes of the run"):
        imagine(run, tmp_path / "no", 1, mask=tmp_path / "wrong.png")


def test_tags_decide_what_is_imagined(run: Path, tmp_path: Path) -> None:
    both = imagine(run, tmp_path / "both", 4, tags=["background", "Object"])
    imagine(run, tmp_path / "one", 4, tags=["background"])
    assert both["observed"] == ["tags"]
    assert not np.array_equal(_images(tmp_path / "both"), _images(tmp_path / "one"))
    with pytest.raises(UsageFault, match="horse"):
        imagine(run, tmp_path / "no", 1, tags=["horse"])


def test_misuse_is_one_line(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "o")
    for words, said in (
        (["--walk", "4", "--n", "4"], "--n or --walk"),
        (["--step", "0.2"], "--walk N"),
        (["--tags", "object", "--from", "prior"], "--from without"),
    ):
        assert main(["imagine", str(run), "--out", out, *words]) == 2
        assert said in capsys.readouterr().err
    (tmp_path / "o").mkdir()
    (tmp_path / "o/mine.txt").write_text("mine")
    assert main(["imagine", str(run), "--out", out]) == 1
    assert "new or empty" in capsys.readouterr().err


def test_segment_observes_tags_where_they_are_known(run: Path, tmp_path: Path) -> None:
    photos = Path(masked()) / "images"
    (tmp_path / "tags.csv").write_text("image,tags\n000.npy,background\n001.npy,background object\n")
    segment(run, photos, tmp_path / "plain")
    segment(run, photos, tmp_path / "tagged", tags=tmp_path / "tags.csv")
    plain, tagged = ({p.stem: read_mask(p) for p in (tmp_path / n).glob("*.png")} for n in ("plain", "tagged"))
    assert not tagged["000"].any(), "no object, says the tag"
    assert np.array_equal(plain["005"], tagged["005"]), "nothing known of it"
    (tmp_path / "other.csv").write_text("image,tags\n000.npy,horse\n")
    with pytest.raises(Fault, match="tags among"):
        segment(run, photos, tmp_path / "x", tags=tmp_path / "other.csv")


# ------------------------------------------------------------------ walks


def test_tags_that_rule_out_everything_leave_regions(run: Path) -> None:
    room = load(run).room
    images = torch.zeros(2, 3, 32, 32)
    found = room.infer_masks(images, torch.zeros(2, len(room.regions)))
    assert torch.allclose(found.sum(1), torch.ones(2, 32, 32), atol=1e-5)


def test_a_walk_around_one_gaussian_keeps_its_distribution() -> None:
    q = Gaussian(torch.full((1, 3, 1, 1), 2.0), torch.full((1, 3, 1, 1), -1.0))
    z = torch.stack(list(walk(q, 20_000, 0.4, torch.Generator().manual_seed(0))))
    assert float(z.mean()) == pytest.approx(2, abs=0.05) and float(z.var()) == pytest.approx(np.exp(-1), rel=0.1)
    steps = (z[1:] - z[:-1]).square().mean()
    assert float(steps) < 0.5 * float((z[1:] - z[:-1].flip(0)).square().mean()), "neighbours are near"


def test_a_walk_between_scenes_passes_from_one_to_the_next() -> None:
    q = Gaussian(torch.eye(4)[:, :, None, None] * 5, torch.full((4, 4, 1, 1), -20.0))
    z = torch.stack(list(walk(q, 60, 0.25, torch.Generator().manual_seed(0)))).flatten(1)
    on_scene = (z.max(1).values > 4.99) & (z.sort(1).values[:, 2] < 0.01)
    assert on_scene[::4].all() and not on_scene.all()
    norms = arc(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), 0.3).norm()
    assert float(norms) == pytest.approx(1)


def test_draws_take_the_scenes_in_turn() -> None:
    q = Gaussian(torch.arange(3.0).view(3, 1, 1, 1), torch.full((3, 1, 1, 1), -20.0))
    found = [round(float(z)) for z in draws(q, 7, torch.Generator().manual_seed(0))]
    assert all((b - a) % 3 == 1 for a, b in itertools.pairwise(found))
