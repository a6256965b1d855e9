"""Official layouts, on tiny trees of their shape and on real data where there is some."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from decoupe.data.catalogue import LAYOUTS, Sample, open_dataset
from decoupe.data.decode import read_image
from decoupe.data.synthetic import write
from decoupe.errors import Fault, UsageFault
from tests.data import trees
from tests.data.files import noise, save

LEFT = np.zeros((20, 30), np.uint8)
LEFT[:, :10] = 255
"""The object is the left third."""


def flowers17(root: Path) -> None:
    for index in range(1, 9):
        save(root / f"jpg/image_{index:04d}.jpg", noise(20, 30))
    (root / "jpg/files.txt").write_text("image_0001.jpg\n")
    trimap = np.where(LEFT, 1, 3).astype(np.uint8)
    trimap[0, :3] = 0, 2, 4
    for index in range(1, 7):
        save(root / f"trimaps/image_{index:04d}.png", trimap)
    savemat(root / "datasplits.mat", {"trn1": [[1, 2, 3]], "val1": [[4, 7]], "tst1": [[5]]})


def flowers102(root: Path) -> None:
    for index in range(1, 7):
        save(root / f"jpg/image_{index:05d}.jpg", noise(20, 30))
        blue = np.zeros((20, 30, 3), np.uint8) + np.array([0, 0, 254], np.uint8)
        blue[:, :10] = 90, 80, 10
        save(root / f"segmim/segmim_{index:05d}.png", blue)
    savemat(root / "setid.mat", {"tstid": [[1, 2, 3]], "valid": [[4]], "trnid": [[5, 6]]})


def weizmann_horse(root: Path) -> None:
    for index in range(3):
        save(root / f"rgb/horse{index:03d}.jpg", noise(20, 30))
        save(root / f"figure_ground/horse{index:03d}.{('jpg', 'png', 'bmp')[index]}", LEFT)


def cub200(root: Path) -> None:
    names = [f"{1 + i // 4:03d}.Bird/Bird_{i:04d}.jpg" for i in range(12)]
    for name in names:
        save(root / "CUB_200_2011/images" / name, noise(20, 30))
        save((root / "segmentations" / name).with_suffix(".png"), (LEFT // 255 * 204).astype(np.uint8))
    lines = [f"{i} {name}" for i, name in enumerate(names, 1)]
    (root / "CUB_200_2011/images.txt").write_text("\n".join(lines) + "\n")
    boxes = [f"{i} 0.0 0.0 10.0 20.0" for i in range(1, 13)]
    (root / "CUB_200_2011/bounding_boxes.txt").write_text("\n".join(boxes) + "\n")


def lfw(root: Path) -> None:
    for index in range(10):
        name = f"Ann_Bee_{index:04d}"
        save(root / f"lfw_funneled/Ann_Bee/{name}.jpg", noise(20, 30))
        if index < 6:
            parts = np.zeros((20, 30, 3), np.uint8) + np.array([0, 0, 255], np.uint8)
            parts[:, :10], parts[:, :5] = (0, 255, 0), (255, 0, 0)
            save(root / f"parts_lfw_funneled_gt_images/{name}.ppm", parts)


def celeba(root: Path) -> None:
    rows = []
    for index in range(1, 5):
        save(root / f"img_celeba/{index:06d}.jpg", noise(20, 30))
        rows.append(f"{index:06d}.jpg    2   3   10   12")
    (root / "list_bbox_celeba.txt").write_text("4\nimage_id x_1 y_1 width height\n" + "\n".join(rows) + "\n")
    parts = [f"{i:06d}.jpg {i // 2}" for i in range(1, 5)]
    (root / "list_eval_partition.txt").write_text("\n".join(parts) + "\n")


def masks(root: Path) -> None:
    for index in range(5):
        save(root / f"images/{index}.jpg", noise(20, 30))
        if index < 4:
            save(root / f"masks/{index}.png", LEFT)


def synth(root: Path) -> None:
    write(root, "objects", 3, 32, seed=1)


MAKERS: dict[str, Callable[[Path], None]] = {
    "flowers17": flowers17, "flowers102": flowers102, "weizmann_horse": weizmann_horse, "cub200": cub200, "lfw": lfw,
    "celeba": celeba, "masks": masks, "synth": synth, "potsdam": trees.potsdam, "dronedeploy": trees.dronedeploy,
    "cocostuff": trees.cocostuff, "cityscapes": trees.cityscapes, "dsb2018": trees.dsb2018,
}  # fmt: skip
SPLITS = {
    "flowers17": {"train": 3, "val": 2, "test": 1, "all": 1, "unlabelled": 1},
    "flowers102": {"train": 3, "val": 1, "test": 2},
    "weizmann_horse": {"all": 3},
    "cub200": {"train": 10, "val": 1, "test": 1},
    "lfw": {"train": 4, "val": 3, "test": 3},
    "celeba": {"train": 1, "val": 2, "test": 1},
    "masks": {"all": 4, "unlabelled": 1},
    "synth": {"all": 3},
    "potsdam": {"train": 12, "unlabelled": 6},
    "dronedeploy": {"train": 2, "val": 1, "test": 1, "all": 1},
    "cocostuff": {"train": 2, "val": 1},
    "cityscapes": {"train": 1, "val": 1, "test": 1},
    "dsb2018": {"all": 2, "unlabelled": 1},
}
DEFAULT = {
    "flowers17": ("test", 1), "flowers102": ("test", 2), "weizmann_horse": ("all", 3), "cub200": ("test", 1),
    "lfw": ("test", 3), "masks": ("all", 4), "synth": ("all", 3), "potsdam": ("all", 12), "dronedeploy": ("test", 1),
    "cocostuff": ("val", 1), "cityscapes": ("val", 1), "dsb2018": ("all", 2),
}  # fmt: skip


ELSEWHERE = {"voc2012", "msrc", "coco", "annotated", "lsun", "ade20k", "ade20k-bedroom", "ade20k-kitchen"}
"""Layouts with test files of their own."""


def test_the_tables_of_this_test_cover_all_layouts() -> None:
    assert set(MAKERS) == set(SPLITS) == set(LAYOUTS) - ELSEWHERE
    own = "".join(
        path.read_text() for path in Path(__file__).parent.parent.rglob("test_*.py") if path.name != Path(__file__).name
    )
    assert all(f"{name}:{{" in own for name in ELSEWHERE)


@pytest.mark.parametrize("name", MAKERS)
def test_layout(tmp_path: Path, name: str) -> None:
    MAKERS[name](tmp_path)
    data = open_dataset(f"{name}:{tmp_path}")
    assert data.name == name and data.root == tmp_path and data.protocol and len(data.classes) >= 2
    assert Counter(sample.split for sample in data.samples) == SPLITS[name]
    assert len({sample.key for sample in data.samples}) == len(data.samples)
    for sample in data.samples:
        shape = read_image(sample.image).shape[:2]
        if sample.truth is not None:
            mask = sample.mask()
            assert mask.dtype == np.int64 and mask.shape == shape
            assert set(np.unique(mask)) <= {*range(len(data.classes)), 255}
    if name in DEFAULT:
        split, samples = data.split()
        assert (split, len(samples)) == DEFAULT[name] and all(sample.truth for sample in samples)
    if name not in ("synth", "celeba", "potsdam", "dronedeploy", "cocostuff", "cityscapes"):
        inner = samples[0].mask()[1:]
        assert (inner == (LEFT[1:] > 0)).mean() > 0.99


def test_trimaps_void_what_is_not_sure(tmp_path: Path) -> None:
    flowers17(tmp_path)
    mask = open_dataset(f"flowers17:{tmp_path}").split("train")[1][0].mask()
    assert mask[0].tolist() == [255] * 3 + [1] * 7 + [0] * 20
    assert Counter(mask.ravel().tolist()) == {255: 3, 1: 197, 0: 400}


def test_boxes_belong_to_their_images(tmp_path: Path) -> None:
    cub200(tmp_path / "birds"), celeba(tmp_path / "faces")
    assert {s.box for s in open_dataset(f"cub200:{tmp_path / 'birds'}").samples} == {(0.0, 0.0, 10.0, 20.0)}
    assert {s.box for s in open_dataset(f"celeba:{tmp_path / 'faces'}").samples} == {(2.0, 3.0, 12.0, 15.0)}
    moved = tmp_path / "birds/CUB_200_2011"
    (tmp_path / "birds/segmentations").rename(moved / "segmentations")
    assert len(open_dataset(f"cub200:{moved}").split("train")[1]) == 10


def test_splits_do_not_depend_on_the_place(tmp_path: Path) -> None:
    cub200(tmp_path / "a"), cub200(tmp_path / "b")
    a, b = (open_dataset(f"cub200:{tmp_path / place}").samples for place in "ab")
    assert [(s.key, s.split) for s in a] == [(s.key, s.split) for s in b]


def test_choosing_a_split(tmp_path: Path) -> None:
    flowers17(tmp_path)
    data = open_dataset(f"flowers17:{tmp_path}")
    assert [len(data.split(name)[1]) for name in ("train", "val", "test", "all")] == [3, 1, 1, 6]
    with pytest.raises(Fault, match=r"a split of flowers17 \(train, val, test, all, unlabelled\), got 'tst1'"):
        data.split("tst1")
    with pytest.raises(Fault, match="no mask in split unlabelled"):
        data.split("unlabelled")
    celeba(tmp_path / "c")
    with pytest.raises(Fault, match="no mask at all"):
        open_dataset(f"celeba:{tmp_path / 'c'}").split()
    savemat(tmp_path / "datasplits.mat", {"trn1": [[1]], "val1": [[2, 3]], "tst1": np.zeros((1, 0))})
    assert open_dataset(f"flowers17:{tmp_path}").split()[0] == "val"


@pytest.mark.parametrize("case", ["classes", "void", "jpeg", "named", "json", "splits", "folders"])
def test_masks_of_people(tmp_path: Path, case: str) -> None:
    values = np.zeros((20, 30), np.uint8)
    values[:, 10:20], values[:, 20:] = 1, 2
    prefix = {"splits": "train/", "folders": "site/"}.get(case, "")
    save(tmp_path / f"images/{prefix}a.jpg", noise(20, 30)), save(tmp_path / f"images/{prefix}b.tif", noise(20, 30))
    if case == "void":
        values[:, 20:] = 255
    if case == "jpeg":
        values = LEFT
    for stem in "ab":
        save(tmp_path / f"masks/{prefix}{stem}.{'jpg' if case == 'jpeg' else 'png'}", values)
    if case == "named":
        (tmp_path / "classes.txt").write_text("ground\nleaf\nfruit\n")
    if case == "json":
        (tmp_path / "classes.json").write_text(json.dumps(["ground", "leaf", "fruit"]))
    data = open_dataset(f"masks:{tmp_path}")
    names = ("class 0", "class 1", "class 2")
    if case in ("void", "jpeg"):
        names = ("background", "object")
    elif case in ("named", "json"):
        names = ("ground", "leaf", "fruit")
    assert data.classes == names and len(data.samples) == 2
    assert {sample.split for sample in data.samples} == {"train" if case == "splits" else "all"}
    assert {sample.key for sample in data.samples} == {f"{prefix}a", f"{prefix}b"}
    expected = (values > 127).astype(int) if case == "jpeg" else values
    assert np.array_equal(data.split()[1][0].mask(), expected)


def test_masks_must_fit(tmp_path: Path) -> None:
    masks(tmp_path)
    save(tmp_path / "masks/0.png", LEFT[:10])
    sample = open_dataset(f"masks:{tmp_path}").samples[0]
    with pytest.raises(Fault, match=r"masks the size of their images, got mask 30x10 .* \(30x20\)"):
        sample.mask()
    with pytest.raises(Fault, match="without a mask"):
        Sample("a", tmp_path / "images/4.jpg", "all").mask()
    (tmp_path / "classes.txt").write_text("one\n")
    with pytest.raises(Fault, match="masks go up to 1, but only 1"):
        open_dataset(f"masks:{tmp_path}")
    save(tmp_path / "other/images/a.png"), save(tmp_path / "other/masks/b.png", LEFT)
    with pytest.raises(Fault, match="no stem in both"):
        open_dataset(f"masks:{tmp_path / 'other'}")


@pytest.mark.parametrize(
    ("name", "gone", "words"),
    [
        ("flowers17", "trimaps", "no folder trimaps/"), ("flowers17", "datasplits.mat", "no file datasplits.mat"),
        ("flowers102", "setid.mat", "no file setid.mat"), ("weizmann_horse", "rgb", "no folder rgb/"),
        ("cub200", "CUB_200_2011/images.txt", "no file images.txt"), ("lfw", "lfw_funneled", "no folder lfw_funneled/"),
        ("celeba", "list_bbox_celeba.txt", "no file list_bbox_celeba.txt"), ("masks", "masks", "no folder masks/"),
        ("synth", "classes.json", "no file classes.json"), ("potsdam", "4_Ortho_RGBIR", "no folder 4_Ortho_RGBIR/"),
        ("dronedeploy", "train.txt", "no file train.txt"), ("cocostuff", "annotations", "no folder annotations/"),
        ("cityscapes", "gtFine", "no folder gtFine/"), ("dsb2018", "stage1_train", "no folder ID/images/"),
    ],
)  # fmt: skip
def test_what_is_missing_is_said_with_the_tree(tmp_path: Path, name: str, gone: str, words: str) -> None:
    MAKERS[name](tmp_path)
    (tmp_path / gone).rename(tmp_path / "away")
    with pytest.raises(Fault, match=words) as caught:
        open_dataset(f"{name}:{tmp_path}")
    assert LAYOUTS[name].tree in str(caught.value) and "\n" not in str(caught.value)


def test_damaged_tables(tmp_path: Path) -> None:
    flowers17(tmp_path)
    (tmp_path / "datasplits.mat").write_bytes(b"MATLAB 5.0 MAT-file" + bytes(300))
    with pytest.raises(Fault, match=r"datasplits.mat (unreadable|without)"):
        open_dataset(f"flowers17:{tmp_path}")
    savemat(tmp_path / "datasplits.mat", {"trn1": [[1]]})
    with pytest.raises(Fault, match="datasplits.mat without 'val1'"):
        open_dataset(f"flowers17:{tmp_path}")


@pytest.mark.parametrize("spec", ["flowers17", "flowers:/x", "", ":", "C:/photos"])
def test_unknown_names_list_the_known(spec: str) -> None:
    with pytest.raises(UsageFault, match=", ".join(LAYOUTS)):
        open_dataset(spec)


@pytest.mark.parametrize("place", ["", "/nowhere/at/all"])
def test_no_such_folder(place: str) -> None:
    with pytest.raises(Fault, match="which is no folder"):
        open_dataset(f"flowers17:{place}")


@pytest.mark.parametrize(
    ("name", "place", "count", "split", "labelled", "share"),
    [
        ("flowers17", "flowers17", 1114, "test", 109, (0.2, 0.4)),
        ("flowers102", "flowers17_as_flowers102", 80, "test", 15, (0.2, 0.5)),
        ("weizmann_horse", "weizmann_horse_db", 235, "all", 235, (0.2, 0.3)),
    ],
)
def test_real_data(
    shared_data: Path, name: str, place: str, count: int, split: str, labelled: int, share: tuple[float, float]
) -> None:
    root = shared_data / "data" / place
    if not root.is_dir():
        pytest.skip(f"no {place} in {shared_data}")
    data = open_dataset(f"{name}:{root}")
    chosen, samples = data.split()
    assert (len(data.samples), chosen, len(samples)) == (count, split, labelled)
    masks = [sample.mask() for sample in samples[:60]]
    objects = np.mean([(mask == 1).sum() / (mask != 255).sum() for mask in masks])
    assert share[0] < objects < share[1]
    with Image.open(samples[0].image) as image:
        assert masks[0].shape == (image.height, image.width)
