"""voc2012, msrc and coco on tiny trees of their official shape; VOC's image-level labels from all their homes."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from decoupe.data.catalogue import open_dataset
from decoupe.data.layouts import msrc as msrc_layout
from decoupe.errors import Fault
from decoupe.evaluate.protocols import protocol_of
from decoupe.export import rle
from tests.data.files import noise, save

LEFT = np.zeros((20, 30), np.uint8)
LEFT[:, :10], LEFT[0, 0] = 8, 255
"""A cat on the left, one void pixel."""
NAMES = ("2007_000001", "2007_000002", "2008_000003")


def voc2012(root: Path, tags: str = "xml") -> Path:
    """Train, val and an image in no list; cat in all of them, person in the second."""
    top = root / "VOCdevkit/VOC2012"
    for name in NAMES:
        save(top / f"JPEGImages/{name}.jpg", noise(20, 30))
    for name in NAMES[:2]:
        mask = Image.fromarray(LEFT, "P")
        mask.putpalette(bytes(range(256)) * 3)
        (top / "SegmentationClass").mkdir(exist_ok=True)
        mask.save(top / f"SegmentationClass/{name}.png")
    lists = top / "ImageSets/Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text(f"{NAMES[0]}\n")
    (lists / "val.txt").write_text(f"{NAMES[1]}\n")
    {"xml": _xml, "lists": _lists, "npy": _npy, "none": lambda top: None}[tags](top)
    return root


def _xml(top: Path) -> None:
    (top / "Annotations").mkdir()
    cat = "<object>\n<name>cat</name><part><name>head</name></part><difficult>1</difficult></object>"
    person = "<object><part><name>hand</name></part><name>person</name></object>"
    for name in NAMES:
        text = f"<annotation><source>{name}</source>{cat}{person if name == NAMES[1] else ''}</annotation>"
        (top / f"Annotations/{name}.xml").write_text(text)


def _lists(top: Path) -> None:
    (top / "ImageSets/Main").mkdir(parents=True)
    (top / "ImageSets/Main/cat_trainval.txt").write_text(
        "".join(f"{name}  {i - 1}\n" for i, name in enumerate(NAMES, 1))
    )
    (top / "ImageSets/Main/person_trainval.txt").write_text(f"{NAMES[0]} -1\n{NAMES[1]}  1\n{NAMES[2]} -1\n")


def _npy(top: Path) -> None:
    table = {name: np.zeros(20, np.float32) for name in NAMES}
    for name in NAMES:
        table[name][7] = 1
    table[NAMES[1]][14] = 1
    np.save(top.parents[1] / "cls_labels.npy", np.array(table, dtype=object), allow_pickle=True)


@pytest.mark.parametrize("place", [".", "VOCdevkit", "VOCdevkit/VOC2012"])
def test_voc2012_from_any_of_its_folders(tmp_path: Path, place: str) -> None:
    dataset = open_dataset(f"voc2012:{voc2012(tmp_path) / place}")
    assert [(s.key, s.split, s.truth is not None) for s in dataset.samples] == [
        (NAMES[0], "train", True), (NAMES[1], "val", True), (NAMES[2], "unlabelled", False),
    ]  # fmt: skip
    assert len(dataset.classes) == 21 and dataset.split(None)[0] == "val"
    mask = dataset.samples[0].mask()
    assert mask[5, 5] == dataset.classes.index("cat") and mask[5, 20] == 0 and mask[0, 0] == 255
    assert [s.key for s in dataset.to_fit("train")] == [NAMES[0], NAMES[2]]


@pytest.mark.parametrize("tags", ["xml", "npy"])
def test_voc2012_knows_what_is_in_its_images(tmp_path: Path, tags: str) -> None:
    dataset = open_dataset(f"voc2012:{voc2012(tmp_path, tags)}")
    assert [s.tags for s in dataset.samples] == [{"cat"}, {"cat", "person"}, {"cat"}]


def test_voc2012_lists_tell_there_difficult_and_not_there(tmp_path: Path) -> None:
    dataset = open_dataset(f"voc2012:{voc2012(tmp_path, 'lists')}")
    assert [s.tags for s in dataset.samples] == [{"cat"}, {"cat", "person"}, frozenset()]
    (tmp_path / "VOCdevkit/VOC2012/ImageSets/Main/cat_trainval.txt").write_text(f"{NAMES[0]} -1\n")
    assert open_dataset(f"voc2012:{tmp_path}").samples[0].tags == frozenset()


def test_voc2012_without_labels_has_no_tags(tmp_path: Path) -> None:
    assert all(s.tags is None for s in open_dataset(f"voc2012:{voc2012(tmp_path, 'none')}").samples)


class Bomb:
    """Leaves a file behind if it is ever unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_nothing_in_cls_labels_is_run(tmp_path: Path) -> None:
    root, mark = voc2012(tmp_path / "voc", "none"), tmp_path / "ran"
    head = b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (), }".ljust(127) + b"\n"
    (root / "cls_labels.npy").write_bytes(head + pickle.dumps({NAMES[0]: Bomb(mark)}))
    with pytest.raises(Fault, match="without labels"):
        open_dataset(f"voc2012:{root}")
    assert not mark.exists()
    for content in (b"", b"no newline", b"x\n\x80\x04garbage"):
        (root / "cls_labels.npy").write_bytes(content)
        with pytest.raises(Fault, match="cls_labels"):
            open_dataset(f"voc2012:{root}")


def test_voc2012_animals_counts_other_classes_as_background(tmp_path: Path) -> None:
    dataset = open_dataset(f"voc2012:{voc2012(tmp_path)}")
    protocol = protocol_of("voc2012-animals", dataset.classes)
    assert protocol.classes == ("background", "cat", "cow", "dog", "horse", "person", "sheep")
    ids = np.array([[dataset.classes.index(name) for name in ("background", "sofa", "cat", "person", "sheep")] + [255]])
    assert protocol.translate(ids).tolist() == [[0, 0, 1, 5, 6, 255]] and protocol.matching == "named"
    assert protocol_of("voc2012", dataset.classes).classes == dataset.classes


def test_a_broken_voc_folder_is_named(tmp_path: Path) -> None:
    root = voc2012(tmp_path)
    (root / "VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt").write_text("2012_009999\n")
    with pytest.raises(Fault, match="no image 2012_009999"):
        open_dataset(f"voc2012:{root}")


# ------------------------------------------------------------------ msrc


def msrc(root: Path, suffix: str = ".bmp") -> Path:
    truth = np.zeros((20, 30, 3), np.uint8)
    truth[:, :10], truth[:, 10:20] = (0, 0, 128), (0, 128, 0)  # cow, grass, void
    truth[0, 0], truth[0, 1] = (64, 0, 0), (128, 0, 128)  # mountain, horse
    for index in (1, 2, 3):
        save(root / f"Images/5_{index}_s{suffix}", noise(20, 30))
        if index < 3:
            save(root / f"GroundTruth/5_{index}_s_GT{suffix}", truth)
    return root


def test_msrc(tmp_path: Path) -> None:
    dataset = open_dataset(f"msrc:{msrc(tmp_path)}")
    assert len(dataset.classes) == 21 and [s.split for s in dataset.samples] == ["all", "all", "unlabelled"]
    mask = dataset.samples[0].mask()
    assert dataset.classes[mask[5, 5]] == "cow" and dataset.classes[mask[5, 15]] == "grass" and mask[5, 25] == 255
    assert mask[0, 0] == 255 and mask[0, 1] == 255


def test_msrc_with_lists_and_png(tmp_path: Path) -> None:
    root = msrc(tmp_path, ".png")
    (root / "Train.txt").write_text("5_1_s.bmp\n")
    (root / "Test.txt").write_text("5_2_s.bmp\n")
    dataset = open_dataset(f"msrc:{root}")
    assert [s.split for s in dataset.samples] == ["train", "test", "unlabelled"] and dataset.split(None)[0] == "test"


def test_msrc_refuses_colours_of_no_class(tmp_path: Path) -> None:
    save(tmp_path / "odd.png", np.full((4, 4, 3), 7, np.uint8))
    with pytest.raises(Fault, match="colours of MSRC-21"):
        msrc_layout.labels(tmp_path / "odd.png")


def test_real_msrc_and_voc(shared_data: Path) -> None:
    for spec, count in (
        (f"msrc:{shared_data}/data/MSRC_ObjCategImageDatabase_v2", 390),
        (f"voc2012:{shared_data}/data/VOC2012_animals", 445),
    ):
        dataset = open_dataset(spec)
        assert len(dataset.samples) == count
        for sample in dataset.samples[::40]:
            found = set(np.unique(sample.mask()).tolist()) - {255}
            assert found <= set(range(len(dataset.classes)))
            if sample.tags is not None:
                assert {dataset.classes[i] for i in found} - {"background"} <= sample.tags


# ------------------------------------------------------------------ coco


def coco(root: Path) -> Path:
    """A dog as a polygon, a cat on it as run lengths, a crowd as a compressed string; a second image with nothing."""
    for index in (1, 2):
        save(root / f"val2017/{index:012d}.jpg", noise(20, 30))
    cat, crowd = np.zeros((20, 30), bool), np.zeros((20, 30), bool)
    cat[5:8, 5:8], crowd[15:, :] = True, True
    runs, packed = list(rle.encode(cat)), rle.to_string(rle.encode(crowd))
    things = [
        {"segmentation": [[2, 2, 12, 2, 12, 12, 2, 12]], "category_id": 18, "area": 100, "iscrowd": 0},
        {"segmentation": {"counts": runs, "size": [20, 30]}, "category_id": 17, "area": 9, "iscrowd": 0},
        {"segmentation": {"counts": packed, "size": [20, 30]}, "category_id": 18, "area": 150, "iscrowd": 1},
    ]
    content = {
        "images": [{"id": i, "file_name": f"{i:012d}.jpg", "height": 20, "width": 30} for i in (1, 2)],
        "annotations": [thing | {"image_id": 1, "id": i} for i, thing in enumerate(things)],
        "categories": [{"id": 18, "name": "dog"}, {"id": 17, "name": "cat"}],
    }
    (root / "annotations").mkdir(parents=True)
    (root / "annotations/instances_val2017.json").write_text(json.dumps(content))
    return root


def test_coco(tmp_path: Path) -> None:
    dataset = open_dataset(f"coco:{coco(tmp_path)}")
    assert dataset.classes == ("background", "cat", "dog") and [s.split for s in dataset.samples] == ["val", "val"]
    one, empty = dataset.samples
    mask = one.mask()
    assert mask[3, 3] == 2 and mask[6, 6] == 1 and mask[1, 1] == 0 and mask[3, 20] == 0 and mask[18, 3] == 255
    assert int((mask == 2).sum()) == 100 - 9, "the polygon is 10 x 10 pixels, the cat lies on it"
    ids = one.instances()
    assert ids[3, 3] == 1 and ids[6, 6] == 2 and ids[18, 3] == -1 and ids[1, 1] == 0
    assert one.tags == {"cat", "dog"} and empty.tags == frozenset() and (empty.mask() == 0).all()


def test_coco_faults_name_what_is_wrong(tmp_path: Path) -> None:
    root = coco(tmp_path)
    place = root / "annotations/instances_val2017.json"
    content = json.loads(place.read_text())
    content["annotations"][0]["segmentation"] = {"counts": [1, 2], "size": [20, 30]}
    place.write_text(json.dumps(content))
    with pytest.raises(Fault):
        open_dataset(f"coco:{root}").samples[0].mask()
    place.write_text('{"images": 3}')
    with pytest.raises(Fault, match="not as COCO has it"):
        open_dataset(f"coco:{root}")
    place.unlink()
    with pytest.raises(Fault, match="no file annotations/instances_val2017.json"):
        open_dataset(f"coco:{root}")
