"""Names and merges: stored once, used everywhere, taken from masks on request."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from decoupe.engine.runfolder import Run
from decoupe.errors import Fault, UsageFault
from decoupe.model import load
from decoupe.naming import name, shown


@pytest.fixture
def run(tiny_run: Path, tmp_path: Path) -> Path:
    """A copy of the tiny run."""
    return Path(shutil.copytree(tiny_run, tmp_path / "run"))


@pytest.fixture
def five(tmp_path: Path) -> Path:
    """A run folder with five named regions (no weights: names need none)."""
    opened = Run.create(tmp_path / "five", "baselines")
    opened.set_names([f"region {k}" for k in range(5)])
    return opened.path


def test_set_and_merge(five: Path) -> None:
    name(five, {0: "sky", 4: " road "}, [((2, 3), "tree")])
    opened = Run.open(five)
    assert opened.names == ("sky", "region 1", "tree", "region 3", "road") and opened.merges == [[2, 3]]
    name(five, merge=[((3, 4), "green")])
    opened = Run.open(five)
    assert opened.merges == [[2, 3, 4]] and opened.names[2] == "green"
    assert shown(5, opened.merges) == [[0], [1], [2, 3, 4]]


def test_a_merge_may_start_with_a_higher_index(five: Path) -> None:
    name(five, merge=[((4, 1), "tree")])
    assert Run.open(five).names[1] == "tree"


@pytest.mark.parametrize(
    ("set_", "merge"),
    [
        ({5: "x"}, []), ({-1: "x"}, []), ({0: ""}, []), ({0: "x" * 81}, []), ({0: "a\nb"}, []), ({0: "x", 1: "x"}, []),
        ({}, [((0,), "x")]), ({}, [((1, 1), "x")]), ({}, [((0, 9), "x")]), ({}, [((0, 1), " ")]),
    ],
)  # fmt: skip
def test_unusable_names_change_nothing(
    five: Path, set_: dict[int, str], merge: list[tuple[tuple[int, ...], str]]
) -> None:
    before = (five / "names.json").read_bytes()
    with pytest.raises(UsageFault):
        name(five, set_, merge)
    assert (five / "names.json").read_bytes() == before


def test_names_reach_the_model(run: Path) -> None:
    name(run, {1: "beetle"})
    assert load(run).names == ("background", "beetle")
    name(run, merge=[((0, 1), "everything")])
    model = load(run)
    assert model.names == ("everything",)
    probs = model.segment_arrays([np.zeros((40, 50, 3), np.uint8)])[0]
    assert probs.shape == (1, 40, 50) and np.allclose(probs, 1, atol=1e-4)


def masks_of(run: Path, images: Path, folder: Path, swap: bool) -> None:
    """Masks that say what the run itself says, perhaps with the classes exchanged; classes named in classes.json."""
    model = load(run)
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    for path in sorted(images.glob("*.png"))[:4]:
        labels = model.segment(path).labels
        shutil.copy(path, folder / "images" / path.name)
        Pillow.fromarray((labels ^ int(swap)).astype(np.uint8)).save(folder / "masks" / path.name)
    (folder / "classes.json").write_text(json.dumps(["leaf", "beetle"]))


@pytest.mark.parametrize("swap", [False, True])
def test_from_masks(run: Path, synth: Path, tmp_path: Path, swap: bool) -> None:
    masks_of(run, synth / "images", tmp_path / "labelled", swap)
    told = name(run, from_masks=tmp_path / "labelled")
    assert Run.open(run).names == (("beetle", "leaf") if swap else ("leaf", "beetle"))
    assert [row["region"] for row in told["overlap"]] == [0, 1]
    assert all(row["share"] > 0.99 and row["iou"] > 0.99 for row in told["overlap"])
    assert told["sentences"][0].startswith("region 0 is ") and "100% of its pixels" in told["sentences"][0]


def test_two_regions_in_one_class_are_numbered(run: Path, synth: Path, tmp_path: Path) -> None:
    masks_of(run, synth / "images", tmp_path / "labelled", False)
    for path in (tmp_path / "labelled" / "masks").iterdir():
        Pillow.fromarray(np.ones_like(np.asarray(Pillow.open(path)))).save(path)
    told = name(run, from_masks=tmp_path / "labelled")
    assert told["names"] == ["beetle", "beetle 2"]


def test_unusable_masks(run: Path, tmp_path: Path) -> None:
    with pytest.raises(Fault):
        name(run, from_masks=tmp_path / "nothing")


def test_a_run_in_use_is_left_alone(five: Path) -> None:
    with Run.open(five).lock(), pytest.raises(Fault, match="in use"):
        name(five, {0: "sky"})
