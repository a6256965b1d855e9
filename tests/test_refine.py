"""`refine`: a few masks change a run for the better, nothing else is touched, and a stop costs nothing but time."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from decoupe.cli import main
from decoupe.data.decode import read_image
from decoupe.engine.runfolder import Run
from decoupe.errors import Fault, Interrupted, UsageFault
from decoupe.evaluate.run import evaluate
from decoupe.export.png import encode_labels
from decoupe.fit import fit
from decoupe.model import load
from decoupe.naming import name
from decoupe.refine import refine
from tests.tiny import TINY

Paint = Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]
"""The disc (40, 40), the column of each pixel, random numbers -> (40, 40, 3)."""


def painted(folder: Path, seed: int, paint: Paint, n: int = 24) -> Path:
    """images/ and masks/ of one disc each, 40 pixels a side."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:40, :40]
    for sub in ("images", "masks"):
        (folder / sub).mkdir(parents=True)
    for index in range(n):
        cy, cx, r = rng.uniform(12, 28), rng.uniform(12, 28), rng.uniform(7, 10)
        mask = (y - cy) ** 2 + (x - cx) ** 2 < r * r
        image = paint(mask, x, rng).clip(0, 255).astype(np.uint8)
        Pillow.fromarray(image).save(folder / "images" / f"{index:02d}.png")
        Pillow.fromarray(mask.astype(np.uint8)).save(folder / "masks" / f"{index:02d}.png")
    return folder


def discs(folder: Path) -> Path:
    """Discs that are darker than their ground on the left half: brightness alone is wrong."""

    def paint(mask: np.ndarray, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        ground = np.where(x < 20, 150, 60)
        image = np.where(mask, 210 - ground, ground) + rng.normal(0, 6, mask.shape)
        return np.repeat(image[..., None], 3, 2)

    return painted(folder, 5, paint)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return discs(tmp_path_factory.mktemp("refine") / "labelled")


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory, labelled: Path) -> Path:
    """A run that goes by brightness: k-means."""
    folder = tmp_path_factory.mktemp("refine-runs") / "kmeans"
    fit("baselines", labelled / "images", run=folder, kind="kmeans-1x1", k=2, size=32)
    name(folder, {0: "background", 1: "object"})
    return folder


@pytest.fixture(scope="module")
def masks(tmp_path_factory: pytest.TempPathFactory, labelled: Path) -> Path:
    """Eight of the masks, as `segment --format png` writes them."""
    folder = tmp_path_factory.mktemp("refine-masks")
    for path in sorted((labelled / "masks").iterdir())[:8]:
        labels = np.asarray(Pillow.open(path)).astype(np.int64)
        (folder / path.name).write_bytes(encode_labels(labels, ("background", "object"), [(0, 0, 0), (255, 0, 0)]))
    return folder


def iou(run: Path, labelled: Path, first: int = 8) -> float:
    """Of the object on photos that were not among the masks."""
    model, both, either = load(run), 0, 0
    index = model.names.index("object")
    for path in sorted((labelled / "images").iterdir())[first:]:
        found = model.segment(read_image(path)).labels == index
        truth = np.asarray(Pillow.open(labelled / "masks" / path.name)) == 1
        both, either = both + int((found & truth).sum()), either + int((found | truth).sum())
    return both / either


@pytest.mark.slow
def test_a_few_masks_teach_what_the_run_had_wrong(student: Path, labelled: Path, masks: Path, tmp_path: Path) -> None:
    """k-means cannot learn; its student can, and gets right on other photos what brightness alone gets wrong."""
    before = {path.name: path.read_bytes() for path in student.iterdir() if path.is_file()}
    model = refine(student, masks, run=tmp_path / "better", images_seen=5_000, keep=0.02, lr=5e-3)
    assert {path.name: path.read_bytes() for path in student.iterdir() if path.is_file()} == before
    assert model.run.info["room"] == "student" and model.names == ("background", "object")
    assert model.run.info["refined"]["labelled"] == 8
    was, now = iou(student, labelled), iou(tmp_path / "better", labelled)
    assert now > was + 0.1, (was, now)
    rows = evaluate(tmp_path / "better", f"masks:{labelled}")["results"]
    assert all(row["uses_labels"] for row in rows)


@pytest.mark.slow
@pytest.mark.parametrize("room", ["independence", "redraw", "autoregressive"])
def test_rooms_with_networks_go_on_from_their_weights(room: str, labelled: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = TINY[room] | ({"k": 2} if room == "autoregressive" else {})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("decoupe.engine.health.FULL", 2.0)
        first = fit(room, labelled / "images", run=tmp_path / "first", precision="fp32", images_seen=160, **options)
        name(first.run, {0: "background", 1: "object"})
        model = refine(tmp_path / "first", f"masks:{labelled}", run=tmp_path / "next", images_seen=96, lr=1e-3)
    assert model.room.NAME == room and model.names == ("background", "object")
    assert model.run.info["config"] == first.run.info["config"]
    rows = [row for row in model.run.metrics() if "losses" in row or "areas" in row]
    assert rows and model.run.info["status"] == "done"
    own, new = load(tmp_path / "first").room.state_dict(), model.room.state_dict()
    assert any(not np.array_equal(own[key], new[key]) for key in new)
    with pytest.raises(UsageFault, match="refine"):
        fit(room, run=tmp_path / "next", resume=True)


def test_stopped_and_resumed_equals_a_straight_run(tiny_run: Path, synth: Path, tmp_path: Path) -> None:
    from decoupe.engine.loop import Loop

    options: dict[str, Any] = {"images": synth / "images", "images_seen": 64}
    straight = refine(tiny_run, f"synth:{synth}", run=tmp_path / "straight", **options)
    tick = Loop._tick

    def stopping(self: Loop) -> None:
        tick(self)
        self._signal = int(self.counters.images >= 24)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Interrupted, match="decoupe refine .* --resume"):
        patch.setattr(Loop, "_tick", stopping)
        refine(tiny_run, f"synth:{synth}", run=tmp_path / "stopped", **options)
    resumed = refine(tiny_run, f"synth:{synth}", run=tmp_path / "stopped", resume=True, **options)
    left, right = straight.room.state_dict(), resumed.room.state_dict()
    needed = [key for key in left if key.startswith(straight.room.inference)]
    assert needed and [key for key in needed if not np.array_equal(left[key], right[key])] == []
    with pytest.raises(UsageFault, match="refined run"):
        refine(tiny_run, f"synth:{synth}", run=tiny_run, resume=True, **options)


def test_what_to_type_after_a_stop_can_be_pasted(tiny_run: Path, synth: Path, tmp_path: Path) -> None:
    from decoupe.engine.loop import Loop

    run = tmp_path / "a run's folder"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Interrupted) as stop:
        patch.setattr(Loop, "_tick", lambda self: setattr(self, "_signal", 1))
        refine(tiny_run, f"synth:{synth}", run=run, images=synth / "images", images_seen=64)
    wanted = ["decoupe", "refine", str(tiny_run), "--masks", f"synth:{synth}", "--run", str(run), "--resume"]
    assert shlex.split(stop.value.command) == wanted


def test_scribbles_are_few_pixels_and_spread(tiny_run: Path, synth: Path, tmp_path: Path) -> None:
    for path in sorted((synth / "images").iterdir())[:3]:
        labels = np.full(read_image(path).shape[:2], 255)
        labels[:2], labels[14:18, 14:18] = 0, 1
        (tmp_path / "drawn").mkdir(exist_ok=True)
        data = encode_labels(labels, ("background", "object"), [(i, i, i) for i in range(256)])
        (tmp_path / "drawn" / path.name).write_bytes(data)
    model = refine(
        tiny_run, scribbles=tmp_path / "drawn", images=synth / "images", run=tmp_path / "next", images_seen=32
    )  # fmt: skip
    assert model.run.info["refined"]["labelled"] == 3


def test_what_does_not_fit_is_said_before_anything_is_written(tiny_run: Path, synth: Path, tmp_path: Path) -> None:
    images = synth / "images"
    run, out = tmp_path / "run", tmp_path / "next"
    shutil.copytree(tiny_run, run)
    first = sorted(images.iterdir())[0]
    (tmp_path / "masks").mkdir()
    mask = tmp_path / "masks" / first.name
    size = read_image(first).shape[:2]
    cases: list[tuple[np.ndarray, tuple[str, ...], str]] = [
        (np.zeros((7, 9), np.int64), ("background", "object"), "size of their photos"),
        (np.zeros(size, np.int64), ("sky", "sea"), "decoupe name RUN"),
        (np.full(size, 255), (), "something labelled"),
        (np.full(size, 9), (), "classes"),
    ]
    for labels, names, words in cases:
        data = encode_labels(labels, names or ("",) * 256, [(i, i, i) for i in range(256)])
        mask.write_bytes(data if names else data.replace(b"decoupe:names", b"another:names"))
        if not names:
            Pillow.fromarray(labels.astype(np.uint8)).save(mask)
        with pytest.raises(Fault, match=words):
            refine(run, tmp_path / "masks", images=images, run=out)
    with pytest.raises(UsageFault, match="--masks or --scribbles"):
        refine(run, run=out)
    with pytest.raises(Fault, match="accept"):
        refine(run, "accepted", images=images, run=out)
    assert not out.exists()


def test_the_command(tiny_run: Path, synth: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["refine", str(tiny_run), "--masks", f"synth:{synth}", "--run", str(tmp_path / "next")]
    assert main([*words, "--images", str(synth / "images"), "--images-seen", "16"]) == 0
    seen = capsys.readouterr()
    assert "next   decoupe segment" in seen.out and "8 labelled photos" in seen.err
    assert Run.open(tmp_path / "next").info["command"].startswith("decoupe")
