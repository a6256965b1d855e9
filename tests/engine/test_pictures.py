"""Label maps in the run folder: indexed PNGs that any viewer shows, whole or not there, and nothing outside is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from decoupe.engine.pictures import GREY, read_labels, write_labels
from decoupe.errors import Fault
from decoupe.export.palette import colours

NAMES = ("background", "cat", "dog")
LABELS = torch.tensor([[[0, 1, 2], [255, 2, 0]], [[1, 1, 1], [0, 0, 255]]], dtype=torch.uint8)


def test_a_folder_of_pictures_replaces_the_one_before(tmp_path: Path) -> None:
    folder = tmp_path / "run/cues"
    write_labels(folder, ["old", "x/a"], LABELS, NAMES)
    (tmp_path / "run/.cues.part").mkdir()  # left by a process that was killed
    (tmp_path / "run/.cues.part/half.png").touch()
    write_labels(folder, ["x/a", "b.c"], LABELS, NAMES)
    assert sorted(p.relative_to(tmp_path / "run").as_posix() for p in tmp_path.rglob("*.png")) == [
        "cues/b.c.png", "cues/x/a.png",
    ]  # fmt: skip
    with Image.open(folder / "x/a.png") as picture:
        assert picture.mode == "P" and np.array_equal(np.array(picture), LABELS[0].numpy())
        shown = np.array(picture.convert("RGB"))
    assert [tuple(shown[0, k].tolist()) for k in range(3)] == list(colours(NAMES)) and tuple(shown[1, 0]) == GREY
    found = read_labels(tmp_path / "run", ["cues", "targets-1"], "b.c", 2)
    assert list(found) == ["cues"] and found["cues"].tolist() == LABELS[1].tolist()
    assert read_labels(tmp_path / "run", ["cues"], "x/a", 2)["cues"].tolist() == [[0, 1, 255], [255, 255, 0]]


def test_what_a_strange_run_lists_leads_nowhere(tmp_path: Path) -> None:
    write_labels(tmp_path / "secret", ["a"], LABELS[:1], NAMES)
    (tmp_path / "run").mkdir()
    write_labels(tmp_path / "run/cues", ["a"], LABELS[:1], NAMES)
    for folders in (["../secret"], ["."], ["cues/../../secret"], [5, None, ["cues"]], "cues", {"cues": 1}, None, 7):
        assert read_labels(tmp_path / "run", folders, "a", 3) == {}
    assert read_labels(tmp_path / "run", ["cues"], "../../secret/a", 3) == {}
    (tmp_path / "run/cues/broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert read_labels(tmp_path / "run", ["cues"], "broken", 3) == {}


def test_a_disk_that_refuses_is_one_line_and_leaves_the_old_folder(tmp_path: Path) -> None:
    folder = tmp_path / "run/cues"
    write_labels(folder, ["a"], LABELS[:1], NAMES)
    (tmp_path / "run/.cues.part").write_text("in the way")
    with pytest.raises(Fault, match="to write .*cues"):
        write_labels(folder, ["a"], LABELS[:1], NAMES)
    (tmp_path / "run/.cues.part").unlink()
    assert [p.name for p in folder.parent.rglob("*")] == ["cues", "a.png"]
    with pytest.raises(Fault, match="inside"):
        write_labels(folder, ["../a"], LABELS[:1], NAMES)


def test_keys_that_can_name_no_file_are_passed_over(tmp_path: Path) -> None:
    keys = ["a", "n" * 300, "a.png/b", "c"]
    write_labels(tmp_path / "cues", keys, torch.ones(4, 3, 3, dtype=torch.uint8), ("background", "cat"))
    assert sorted(p.name for p in (tmp_path / "cues").iterdir()) == ["a.png", "c.png"]
    assert read_labels(tmp_path, ["cues"], "n" * 300, 2) == {}
