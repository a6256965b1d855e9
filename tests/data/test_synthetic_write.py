"""The folder that `write` makes: what is in it, and that equal arguments give equal bytes."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from decoupe.data.synthetic import KINDS, background_photos, render, write
from decoupe.errors import UsageFault


def tree(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_what_was_rendered(kind: str, tmp_path: Path) -> None:
    write(tmp_path, kind, 2, 40, seed=6)
    with (tmp_path / "tags.csv").open(newline="") as file:
        tags = {row["image"]: row["tags"].split(";") for row in csv.DictReader(file)}
    with (tmp_path / "boxes.csv").open(newline="") as file:
        boxes = list(csv.DictReader(file))
    about = json.loads((tmp_path / "classes.json").read_text())
    for index in range(2):
        scene, stem = render(kind, 6, index, 40), f"{index:06d}"
        suffix = ".tif" if kind == "aerial" else ".png"
        path = tmp_path / "images" / (stem + suffix)
        image = tifffile.imread(path) if suffix == ".tif" else np.asarray(Image.open(path))
        assert (image == scene.image).all()
        mask = Image.open(tmp_path / "masks" / f"{stem}.png")
        assert mask.mode == "P" and (np.asarray(mask) == scene.mask).all()
        palette = np.array(mask.getpalette()).reshape(-1, 3)[: len(scene.classes)]
        assert palette.tolist() == about["colours"] and len(np.unique(palette, axis=0)) == len(scene.classes)
        instances = np.asarray(Image.open(tmp_path / "instances" / f"{stem}.png"))
        assert instances.dtype == np.uint16 and (instances == scene.instances).all()
        with np.load(tmp_path / "layers" / f"{stem}.npz", allow_pickle=False) as content:
            assert np.abs(content["layers"].astype(np.float32) - scene.layers).max() < 1e-3
        for name, absent in scene.removed.items():
            there = tmp_path / "removed" / name / (stem + suffix)
            assert (
                tifffile.imread(there) if suffix == ".tif" else np.asarray(Image.open(there))
            ).tolist() == absent.tolist()
        assert tags[f"images/{stem}{suffix}"] == list(scene.tags)
        mine = [b for b in boxes if b["image"] == f"images/{stem}{suffix}"]
        ends = [(b["name"], *(int(b[k]) for k in ("x0", "y0", "x1", "y1"))) for b in mine]
        assert ends == scene.boxes
    assert about["classes"] == list(render(kind, 6, 0, 40).classes)
    assert (about["kind"], about["seed"], about["n"], about["size"], about["void"]) == (kind, 6, 2, 40, 255)


def test_objects_come_with_bare_grounds(tmp_path: Path) -> None:
    write(tmp_path, "objects", 2, 40, seed=6)
    grounds = [np.asarray(Image.open(tmp_path / "backgrounds" / f"{k:06d}.png")) for k in range(2)]
    assert (np.stack(grounds) == background_photos(2, 6, 40)).all()


@pytest.mark.parametrize(("kind", "channels"), [("objects", 3), ("aerial", None), ("cluster", 1), ("scenes", 7)])
def test_equal_arguments_give_equal_bytes(kind: str, channels: int | None, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / name, kind, 2, 32, seed=1, channels=channels)
    first = tree(tmp_path / "a")
    assert first == tree(tmp_path / "b") and len(first) > 10


def test_images_alone(tmp_path: Path) -> None:
    write(tmp_path / "a", "objects", 3, 32, seed=1, truth=False)
    assert sorted(tree(tmp_path / "a")) == ["classes.json", *(f"images/{k:06d}.png" for k in range(3))]
    write(tmp_path / "b", "objects", 3, 32, seed=1)
    assert tree(tmp_path / "a" / "images") == tree(tmp_path / "b" / "images")


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
def test_any_channel_count_reads_back(channels: int, tmp_path: Path) -> None:
    write(tmp_path, "objects", 1, 32, seed=1, channels=channels, truth=False)
    (path,) = (tmp_path / "images").iterdir()
    image = np.asarray(Image.open(path)) if path.suffix == ".png" else tifffile.imread(path)
    assert (image.reshape(32, 32, channels) == render("objects", 1, 0, 32, channels).image).all()


def test_no_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageFault, match="1 image or more"):
        write(tmp_path, "objects", 0, 32, seed=1)
