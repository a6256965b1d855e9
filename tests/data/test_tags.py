"""Tags and cues as people have them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from decoupe.data.sources import Item, find
from decoupe.data.tags import CueFolder, read_tags, split_tags
from decoupe.errors import Fault
from tests.data.files import noise, save
from tests.data.test_annotated_layouts import voc2012


def items(root: Path, *names: str) -> list[Item]:
    for name in names or ("a.png", "b.png", "x/c.png"):
        save(root / name, noise(8, 8))
    return list(find(root))


def csv(root: Path, text: str) -> Path:
    path = root / "tags.csv"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("cell", "wanted"),
    [
        ("cat dog", ["cat", "dog"]),
        ("red fox; dog", ["red fox", "dog"]),
        ("a|b", ["a", "b"]),
        ("a, b,", ["a", "b"]),
        ("", []),
    ],
)
def test_a_cell_of_tags(cell: str, wanted: list[str]) -> None:
    assert split_tags(cell) == wanted


def test_tags_of_a_csv_several_one_and_none(tmp_path: Path) -> None:
    found = read_tags(csv(tmp_path, "image,tags\na.png,dog cat\nx/c.png,\nb,cat\n"), items(tmp_path))
    assert found.names == ("cat", "dog") and found.missing == 0
    assert found.table(found.items).tolist() == [[1, 1], [1, 0], [0, 0]]
    assert found.sentence() == "tags: cat 2, dog 1; 1 with none of them"


def test_photos_without_a_row_are_left_out_and_counted(tmp_path: Path) -> None:
    found = read_tags(csv(tmp_path, "image;label\na.png;cat\nelsewhere/q.png;dog\n"), items(tmp_path))
    assert [item.key for item in found.items] == ["a"] and found.missing == 2
    assert "2 photos without a row left out" in found.sentence()


def test_rows_of_one_image_are_put_together_and_classes_choose(tmp_path: Path) -> None:
    path = csv(tmp_path, "file,tag\na.png,cat\na.png,dog\nb.png,sofa\n")
    found = read_tags(path, items(tmp_path), ("dog", "cat"))
    assert found.names == ("dog", "cat") and found.table(found.items).tolist() == [[1, 1], [0, 0]]


def test_one_column_per_class(tmp_path: Path) -> None:
    found = read_tags(csv(tmp_path, "image,cat,dog\na.png,1,0\nb.png,0,1\nx/c.png,,\n"), items(tmp_path))
    assert found.table(found.items).tolist() == [[1, 0], [0, 1], [0, 0]]


def test_tags_of_a_layout(tmp_path: Path) -> None:
    root = voc2012(tmp_path)
    found = read_tags(f"voc2012:{root}", find(root / "VOCdevkit/VOC2012/JPEGImages"))
    assert found.names == ("cat", "person") and found.table(found.items).tolist() == [[1, 0], [1, 1], [1, 0]]


@pytest.mark.parametrize(
    ("text", "names", "words"),
    [
        ("image,tags\nq.png,cat\n", (), "none for any of 3"),
        ("image,tags\na.png,\n", (), "1 to 1,000 different tags"),
        ("image,tags\na.png,cat\n", ("horse",), "--classes among cat"),
        ("name,words\na.png,cat\n", (), "columns image,tags"),
        ("image,colour\na.png,red\n", (), "columns image,tags"),
    ],
)
def test_faults_say_what_to_do(tmp_path: Path, text: str, names: tuple[str, ...], words: str) -> None:
    with pytest.raises(Fault) as caught:
        read_tags(csv(tmp_path, text), items(tmp_path), names)
    assert words in str(caught.value) and "; " in str(caught.value) and "\n" not in str(caught.value)


def test_a_name_that_fits_two_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Fault, match="fit one image each"):
        read_tags(csv(tmp_path, "image,tags\na.png,cat\n"), items(tmp_path, "x/a.png", "y/a.png"))
    with pytest.raises(Fault, match="does not exist"):
        read_tags(tmp_path / "no.csv", find(tmp_path))


def test_cues_from_masks_and_from_maps(tmp_path: Path) -> None:
    photos = items(tmp_path / "photos")
    mask = np.array([[0, 255], [2, 1]], np.uint8)
    (tmp_path / "cues/x").mkdir(parents=True)
    Image.fromarray(mask).save(tmp_path / "cues/a.png")
    maps = np.zeros((2, 2, 2), np.float32)
    maps[0, 0, 0], maps[1, 1, 1] = 0.9, 0.8
    np.save(tmp_path / "cues/x/c.npy", maps)
    cues = CueFolder(tmp_path / "cues", photos, 2, 2)
    found = cues[np.array([0, 1, 2])]
    assert found[0].tolist() == mask.tolist() and (found[1] == 255).all()
    assert found[2].tolist() == [[1, 255], [255, 2]] and len(cues) == 3


def test_cues_that_cannot_be_are_refused(tmp_path: Path) -> None:
    photos = items(tmp_path / "photos")
    with pytest.raises(Fault, match="--cues to be a folder"):
        CueFolder(tmp_path / "none", photos, 2, 8)
    (tmp_path / "cues").mkdir()
    with pytest.raises(Fault, match="no file for any"):
        CueFolder(tmp_path / "cues", photos, 2, 8)
    Image.fromarray(np.full((4, 4), 7, np.uint8)).save(tmp_path / "cues/a.png")
    with pytest.raises(Fault, match="cues 0"):
        CueFolder(tmp_path / "cues", photos, 2, 8)[np.array([0])]
    np.save(tmp_path / "cues/b.npy", np.zeros((5, 4, 4), np.float32))
    with pytest.raises(Fault, match="maps"):
        CueFolder(tmp_path / "cues", photos, 2, 8)[np.array([1])]
