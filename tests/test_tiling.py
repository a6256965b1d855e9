"""`segment --tile`: tiles cover every pixel, blend to what the whole gives, and memory does not grow with the image."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from decoupe.data.decode import read_image, resize, resize_probs
from decoupe.data.windows import Whole
from decoupe.engine.runfolder import Run
from decoupe.engine.tensors import pack_tensors
from decoupe.errors import Fault, UsageFault
from decoupe.export import OF_MASKS
from decoupe.methods.room import to_unit
from decoupe.model import Model
from decoupe.segment import segment
from decoupe.tiling import Tiles, blended, window
from tests.bright import Bright
from tests.tiny import build, photos


def scene(height: int, width: int, bands: int = 3, seed: int = 0) -> np.ndarray:
    """(H, W, C) uint8: bright discs of several sizes on a dark, uneven ground."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    image = 60 + 25 * np.sin(x / 37) + rng.normal(0, 12, (height, width))
    for _ in range(max(4, height * width // 4000)):
        cy, cx, r = rng.uniform(0, height), rng.uniform(0, width), rng.uniform(5, 22)
        image = np.where((y - cy) ** 2 + (x - cx) ** 2 < r * r, 190 + rng.normal(0, 15, (height, width)), image)
    return np.repeat(image.clip(0, 255).astype(np.uint8)[..., None], bands, 2)


def local(tiles: list[np.ndarray]) -> np.ndarray:
    """Regions that depend on each pixel alone."""
    share = np.stack(tiles).astype(np.float32).mean(3) / 255
    return np.stack([1 - share, share], 1)


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 150), st.integers(1, 150), st.integers(32, 80), st.data())
def test_what_depends_on_pixels_alone_is_the_same_by_tiles(height: int, width: int, tile: int, data: Any) -> None:
    overlap = data.draw(st.integers(0, tile // 2))
    size = data.draw(st.sampled_from([32, 64, 96]))
    image = np.random.default_rng(height).integers(0, 256, (height, width, 2)).astype(np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("decoupe.tiling.STRIP", 4 * 2 * width * 7)
        strips = list(blended(Whole(image), Tiles(tile, overlap), size, local))
    assert [top for top, _ in strips] == np.cumsum([0, *(s.shape[1] for _, s in strips[:-1])]).tolist()
    found = np.concatenate([strip for _, strip in strips], 1)
    assert found.shape == (2, height, width)
    assert np.allclose(found, local([image])[0], atol=1e-5) and np.allclose(found.sum(0), 1, atol=1e-5)


@settings(deadline=None, max_examples=200)
@given(st.integers(1, 5000), st.integers(32, 700), st.data())
def test_tiles_cover_a_side_and_overlap_enough(length: int, tile: int, data: Any) -> None:
    overlap = data.draw(st.integers(0, tile // 2))
    starts = Tiles(tile, overlap).starts(length, 64)
    assert starts[0] == 0 and starts == sorted(set(starts)) and starts[-1] + tile >= length
    assert all(second - first <= tile - overlap for first, second in zip(starts, starts[1:], strict=False))
    assert starts[-1] < length


def test_the_window_is_smooth_and_never_zero() -> None:
    weights = window(64)
    assert (weights > 0).all() and np.allclose(weights, weights[::-1]) and weights.argmax() in (31, 32)
    assert np.allclose(weights[:32] + weights[32:], 1, atol=1e-6), "halves that overlap sum to 1"


@pytest.mark.parametrize("options", [(16, None), (64, 40), (64, -1)])
def test_sizes_that_do_not_go_together(options: tuple[int, int | None]) -> None:
    with pytest.raises(UsageFault):
        Tiles.choose(*options)


def stored_run(folder: Path, room: str, channels: int = 3, **options: Any) -> Path:
    """A run folder of a room with weights that were not trained."""
    import dataclasses

    built, data = build(room, channels, **options)
    built.prepare(data)
    run = Run.create(folder, room)
    run.commit(config=dataclasses.asdict(built.config), spec=dataclasses.asdict(built.spec), status="done")
    run.write_bytes("weights.safetensors", pack_tensors(built.state_dict()))
    run.set_names(built.regions)
    return folder


def whole_at_scale(model: Model, image: np.ndarray, tile: int) -> np.ndarray:
    """Labels of an image seen in one piece, reduced as its tiles are."""
    height, width = (round(side * model.spec.size / tile) for side in image.shape[:2])
    small = resize(image, height, width).transpose(2, 0, 1)
    with torch.inference_mode():
        probs = model.room.segment(to_unit(small[None]))[0].numpy()
    return resize_probs(probs, *image.shape[:2]).argmax(0)


@pytest.mark.parametrize(
    ("kind", "tile", "overlap"), [("kmeans-1x1", 32, 8), ("kmeans-1x1", 128, 64), ("kmeans-7x7", 64, 16)]
)
def test_tiles_agree_with_the_whole(tmp_path: Path, kind: str, tile: int, overlap: int) -> None:
    """Both can run on 256 x 192 pixels; the whole is reduced as the tiles are."""
    run = stored_run(tmp_path / "run", "baselines", kind=kind, k=3, samples=1000)
    image = scene(192, 256)
    Pillow.fromarray(image).save(tmp_path / "a.png")
    segment(run, tmp_path / "a.png", tmp_path / "out", tile=tile, overlap=overlap)
    found = np.asarray(Pillow.open(tmp_path / "out" / "a.png"))
    assert (found == whole_at_scale(Model(Run.open(run)), image, tile)).mean() >= 0.999


def test_a_network_with_a_wide_view_agrees_too(tmp_path: Path, tiny_run: Path) -> None:
    """A U-Net sees about as far as its tile is wide: the overlap keeps what it does not see out of the result."""
    image = scene(256, 320)
    Pillow.fromarray(image).save(tmp_path / "a.png")
    model = Model(Run.open(tiny_run))
    segment(model, tmp_path / "a.png", tmp_path / "out", "npz", tile=32, overlap=16)
    with np.load(tmp_path / "out" / "a.npz") as stored:
        found = stored["probs"]
    assert found.shape == (2, 256, 320) and np.allclose(found.sum(0), 1, atol=1e-5)
    jumps = np.abs(np.diff(found[1], axis=1))
    at_edges = jumps[:, np.arange(31, 319, 32)].mean()
    assert at_edges < 2 * jumps.mean() + 1e-3, "no step where tiles begin and end"


@pytest.mark.parametrize("size", [(1, 1), (20, 300), (300, 20), (63, 65), (64, 64)])
def test_images_of_any_size_in_all_formats(tmp_path: Path, size: tuple[int, int]) -> None:
    image = scene(*size)
    Pillow.fromarray(image).save(tmp_path / "a.png")
    done = segment(Bright(), tmp_path / "a.png", tmp_path / "out", OF_MASKS, tile=64)
    assert done["written"] == 1 and done["problems"] == []
    labels = np.asarray(Pillow.open(tmp_path / "out" / "a.png"))
    assert labels.shape == size
    with np.load(tmp_path / "out" / "a.npz") as stored:
        assert np.array_equal(stored["labels"], labels) and np.array_equal(stored["probs"].argmax(0), labels)
    assert not list((tmp_path / "out").rglob("*.tmp"))


def test_other_tiles_start_anew_and_the_same_go_on(tmp_path: Path) -> None:
    for number in range(2):
        Pillow.fromarray(scene(90, 70, seed=number)).save(tmp_path / f"{number}.png")
    assert segment(Bright(), tmp_path, tmp_path / "out", tile=48)["written"] == 2
    assert segment(Bright(), tmp_path, tmp_path / "out", tile=48, overlap=12)["written"] == 0
    assert segment(Bright(), tmp_path, tmp_path / "out", tile=64)["replaced"]


def test_overlap_without_tiles_is_misuse(tmp_path: Path) -> None:
    Pillow.fromarray(scene(40, 40)).save(tmp_path / "a.png")
    with pytest.raises(UsageFault, match="--tile"):
        segment(Bright(), tmp_path / "a.png", tmp_path / "out", overlap=8)


def test_crf_of_tiles_follows_the_photo(tmp_path: Path) -> None:
    image = scene(150, 130)
    Pillow.fromarray(image).save(tmp_path / "a.png")
    segment(Bright(), tmp_path / "a.png", tmp_path / "plain", tile=64)
    segment(Bright(), tmp_path / "a.png", tmp_path / "sharp", tile=64, crf="krahenbuhl")
    plain, sharp = (np.asarray(Pillow.open(tmp_path / name / "a.png")) for name in ("plain", "sharp"))
    assert sharp.shape == plain.shape and 0.5 < (plain == sharp).mean() < 1


def test_damaged_and_lying_files_are_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "in" / "good.tif", scene(100, 80), photometric="rgb", tile=(32, 32), compression="zlib")
    data = bytearray((tmp_path / "in" / "good.tif").read_bytes())
    data[400:900] = b"\xff" * 500
    (tmp_path / "in" / "bad.tif").write_bytes(data)
    (tmp_path / "in" / "notes.tif").write_text("hello")
    done = segment(Bright(), tmp_path / "in", tmp_path / "out", tile=64)
    assert done["written"] == 1 and [Path(p["path"]).name for p in done["problems"]] == ["bad.tif", "notes.tif"]
    assert not list((tmp_path / "out").rglob("*.tmp"))


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Pillow.fromarray(scene(90, 70)).save(tmp_path / "a.png")
    monkeypatch.setattr("decoupe.tiling.Stored.put", lambda *_: (_ for _ in ()).throw(Fault("room", "none", "free it")))
    with pytest.raises(Fault, match="free it"):
        segment(Bright(), tmp_path / "a.png", tmp_path / "out", tile=48)


WIDE = 1500
MEASURED = """
import json, pathlib, sys, threading
from decoupe.segment import segment

run, image, out = sys.argv[1:4]
peaks, over = [0], threading.Event()


def watch():
    while not over.wait(0.005):
        status = pathlib.Path("/proc/self/status").read_text()
        peaks[0] = max(peaks[0], int(status.partition("RssAnon:")[2].split()[0]))


watcher = threading.Thread(target=watch)
watcher.start()
done = segment(run, image, out, ("png", "tiff", "csv"), tile=256, overlap=32)
over.set()
watcher.join()
print(json.dumps({"done": done["written"], "peak": peaks[0]}))
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_image(tmp_path: Path) -> None:
    """3000 x 1500 x 4 are 18 MB of pixels; 12000 x 1500 x 4 are 72 MB, which may cost little more."""
    run = stored_run(tmp_path / "run", "baselines", 4, kind="kmeans-1x1", k=2)
    band = np.repeat(photos(1, 1, WIDE)[0].transpose(1, 2, 0), 4, 2)
    peaks = []
    for number, height in enumerate((3000, 12000)):
        path = tmp_path / f"{number}.tif"
        with tifffile.TiffWriter(path) as file:
            file.write(
                (np.ascontiguousarray(t) for t in _tiles(band, height)), shape=(height, WIDE, 4), dtype=np.uint8,
                photometric="rgb", tile=(256, 256), compression="zlib", extrasamples=[0],
            )  # fmt: skip
        out = subprocess.run(
            [sys.executable, "-c", MEASURED, str(run), str(path), str(tmp_path / f"out{number}")],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        measured = json.loads(out.splitlines()[-1])
        assert measured["done"] == 1
        peaks.append(measured["peak"] / 1024)
        assert read_image(tmp_path / f"out{number}" / f"{number}.png").shape[:2] == (height, WIDE)
    assert peaks[1] - peaks[0] < 40, peaks


def _tiles(band: np.ndarray, height: int) -> Any:
    """(256, 256, C) tiles of an image that repeats `band` downwards."""
    width = band.shape[1]
    for top in range(0, height, 256):
        rows = band[np.arange(top, top + 256) % len(band)]
        rows = np.pad(rows, ((0, 0), (0, -width % 256), (0, 0)))
        for left in range(0, rows.shape[1], 256):
            yield rows[:, left : left + 256]
