"""What is particular to the layouts of scenes: crops of tiles, merged classes, placeholders."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from decoupe.data.catalogue import open_dataset
from decoupe.data.decode import read_image
from decoupe.data.layouts.scenes import FINE, FIRST, STUFF
from decoupe.data.prepare import items_of
from decoupe.errors import Fault, UsageFault
from decoupe.evaluate.measure import load_pair
from decoupe.evaluate.protocols import protocol_of
from tests.data import trees


def test_a_tile_gives_its_crops_and_evaluation_cuts_them(tmp_path: Path) -> None:
    trees.potsdam(tmp_path)
    data = open_dataset(f"potsdam:{tmp_path}")
    boxes = [s.box for s in data.samples if s.image.name == "top_potsdam_2_12_RGBIR.tif"]
    assert boxes == [(x, y, x + 400, y + 400) for y in (0.0, 400.0) for x in (0.0, 400.0, 800.0)]
    first, second = data.split("train")[1][:2]
    six, three = (protocol_of(name, data.classes) for name in ("potsdam", "potsdam-3"))
    image, truth = load_pair(first, six)
    assert image.shape == (400, 400, 4) and truth.shape == (400, 400)
    assert truth[0, 0] == 255 and (truth.ravel()[1:] == 1).all()
    other, right = load_pair(second, three)
    assert np.array_equal(other, read_image(second.image)[:400, 400:800]) and (right == 0).all()


def test_splits_of_tiles_keep_tiles_whole(tmp_path: Path) -> None:
    trees.potsdam(tmp_path)
    splits = {(s.image.name, s.split) for s in open_dataset(f"potsdam:{tmp_path}").samples}
    assert len(splits) == 3 and ("top_potsdam_2_12_RGBIR.tif", "unlabelled") in splits


def test_numbers_that_are_no_class_of_drone_photos_are_void(tmp_path: Path) -> None:
    trees.dronedeploy(tmp_path)
    data = open_dataset(f"dronedeploy:{tmp_path}")
    mask = data.split("val")[1][0].mask()
    assert mask[0, :4].tolist() == [0, 255, 255, 0] and Counter(mask[1:].ravel().tolist()) == {0: 190, 4: 380}
    merged = protocol_of("dronedeploy-3", data.classes).translate(mask)
    assert set(np.unique(merged).tolist()) == {0, 2, 255}


def test_the_images_to_fit_on_are_not_those_to_score_on(tmp_path: Path) -> None:
    trees.dronedeploy(tmp_path)
    source = f"dronedeploy:{tmp_path}"
    found = {split: [item.path.stem[-1] for item in items_of(source, split)] for split in (None, "train", "val", "all")}
    assert found == {None: list("01234"), "all": list("01234"), "train": list("014"), "val": ["2"]}
    with pytest.raises(UsageFault, match="--split to be one of train, val, test, all .*'dev'"):
        items_of(source, "dev")
    with pytest.raises(UsageFault, match="NAME:PATH of a known layout with --split"):
        items_of(str(tmp_path / "image-chips"), "train")


def test_stuff_is_gathered_and_things_are_void(tmp_path: Path) -> None:
    assert len(FINE) == 91 and len(STUFF) == 15
    ids = {name: FIRST + FINE.index(name) for name in ("banner", "fog", "playingfield", "table", "wood")}
    assert ids == {"banner": 91, "fog": 119, "playingfield": 144, "table": 164, "wood": 181}
    trees.cocostuff(tmp_path)
    data = open_dataset(f"cocostuff:{tmp_path}")
    rows = [data.classes[i] if i != 255 else "" for i in data.split("val")[1][0].mask()[:, 0]]
    assert rows == ["sky"] * 10 + ["plant"] * 5 + [""] * 5
    kept = protocol_of("cocostuff-3", data.classes)
    assert kept.classes == ("sky", "ground", "plant")


def test_placeholders_of_a_test_split_are_not_read(tmp_path: Path) -> None:
    trees.cityscapes(tmp_path)
    data = open_dataset(f"cityscapes:{tmp_path}")
    assert data.split()[0] == "val" and len(data.classes) == 19
    mask = data.split()[1][0].mask()[:, 0]
    assert mask.tolist() == [0] * 10 + [data.classes.index("bus")] * 5 + [255] * 5
    with pytest.raises(Fault, match="no mask in split test"):
        data.split("test")


def test_the_drone_photos_of_the_sample(shared_data: Path) -> None:
    root = shared_data / "data/dronedeploy_dataset-sample"
    if not root.is_dir():
        pytest.skip("no drone photos here")
    data = open_dataset(f"dronedeploy:{root}")
    assert Counter(s.split for s in data.samples) == {"train": 124, "val": 26}
    pixels = np.concatenate([sample.mask().ravel()[::97] for sample in data.samples])
    shares = np.bincount(pixels, minlength=6) / len(pixels)
    assert shares == pytest.approx([0.085, 0.017, 0.296, 0.004, 0.596, 0.002], abs=0.02)
