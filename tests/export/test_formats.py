"""Every format on odd shapes: what is written is what was found."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from decoupe.data.geo import Geo
from decoupe.errors import Fault, UsageFault
from decoupe.export import FORMATS, Place, Record, choose
from decoupe.export.csv import cell, measure
from decoupe.export.measures import COUNTED, count_instances
from decoupe.export.overlay import paint
from decoupe.export.palette import BACKGROUND, colours
from decoupe.export.png import encode_labels
from decoupe.types import Regions

SHAPES = [(1, 1), (1, 37), (41, 1), (7, 9), (33, 64), (50, 31)]


def regions(shape: tuple[int, int], k: int, seed: int = 0) -> Regions:
    """Random blobs of k regions."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((k, 1 + shape[0] // 6, 1 + shape[1] // 6))
    fine = np.kron(coarse, np.ones((6, 6)))[:, : shape[0], : shape[1]].astype(np.float32) + 0.05
    return Regions(fine / fine.sum(0), ("background", *(f"thing {i}" for i in range(1, k))))


class Recorder:
    """What `segment` does around a writer."""

    def __init__(self, out: Path, name: str, names: tuple[str, ...]) -> None:
        self.done: list[Record] = []
        place = Place(out, names, colours(names), lambda _: iter(sorted(self.done, key=lambda r: r.key)))
        self.writer = FORMATS[name](place)

    def add(self, key: str, image: np.ndarray, found: Regions) -> None:
        content = json.loads(json.dumps(self.writer.write(key, image, found)))
        self.done.append(Record(key, key + ".jpg", (image.shape[0], image.shape[1]), content))


@pytest.mark.parametrize("k", [1, 2, 3, 16, 17, 200])
@pytest.mark.parametrize("shape", SHAPES)
def test_png_holds_the_labels_palette_and_names(shape: tuple[int, int], k: int) -> None:
    found = regions(shape, k)
    names = ('a "quoted" name', "Ærø", *found.names)[:k]
    with Pillow.open(io.BytesIO(encode_labels(found.labels, names, colours(names)))) as picture:
        picture.load()
        assert picture.mode == "P" and (np.asarray(picture) == found.labels).all()
        assert json.loads(picture.text["decoupe:names"]) == list(names)
        palette = picture.getpalette() or []
        assert [tuple(palette[3 * i : 3 * i + 3]) for i in range(k)] == list(colours(names))


def test_png_refuses_more_regions_than_a_palette_has() -> None:
    with pytest.raises(Fault, match="256 regions"):
        encode_labels(np.zeros((2, 2), np.int64), [""] * 257, colours([""] * 257))


def test_overlay_leaves_the_background_alone_and_tints_the_rest() -> None:
    image = np.full((60, 60, 3), 200, np.uint8)
    labels = np.zeros((60, 60), np.int64)
    labels[20:40, 20:40] = 1
    painted = paint(image, labels, ("background", "thing"), colours(("background", "thing")))
    assert (painted[:15] == 200).all() and (painted[45:] == 200).all()
    assert (painted[26:34, 26:34] != 200).any(axis=2).all()
    assert (painted[20, 20:40] == 255).all() and (painted[20:40, 39] == 255).all()


@pytest.mark.parametrize("bands", [1, 2, 3, 4, 7])
def test_overlay_of_any_number_of_bands(tmp_path: Path, bands: int) -> None:
    found = regions((33, 64), 3)
    recorder = Recorder(tmp_path, "overlay", found.names)
    recorder.add("x/photo", np.zeros((33, 64, bands), np.uint8), found)
    with Pillow.open(tmp_path / "x" / "photo.overlay.jpg") as picture:
        assert picture.size == (64, 33) and picture.mode == "RGB"


def test_npz_is_exact_and_free_of_pickle(tmp_path: Path) -> None:
    for number, shape in enumerate(SHAPES):
        found = regions(shape, 4, number)
        Recorder(tmp_path, "npz", found.names).add(f"{number}", np.zeros((*shape, 3), np.uint8), found)
        with np.load(tmp_path / f"{number}.npz", allow_pickle=False) as stored:
            assert (stored["probs"] == found.probs).all() and stored["probs"].dtype == np.float32
            assert (stored["labels"] == found.labels).all()
            assert tuple(stored["names"].tolist()) == found.names


def slow_measure(labels: np.ndarray, region: int, image: np.ndarray) -> dict[str, Any]:
    """Measures pixel by pixel, components by flood fill."""
    pixels = {(int(y), int(x)) for y, x in np.argwhere(labels == region)}
    left, components = set(pixels), 0
    while left:
        components += 1
        todo = [left.pop()]
        while todo:
            y, x = todo.pop()
            near = {(y + a, x + b) for a in (-1, 0, 1) for b in (-1, 0, 1)} & left
            left -= near
            todo += near
    ys, xs = [p[0] for p in pixels], [p[1] for p in pixels]
    values = np.array([image[p] for p in sorted(pixels)], float)
    return {
        "pixels": len(pixels), "components": components, "x": sum(xs) / len(xs), "y": sum(ys) / len(ys),
        "box": [min(xs), min(ys), max(xs) + 1, max(ys) + 1], "mean": values.mean(0), "std": values.std(0),
    }  # fmt: skip


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 24), st.integers(1, 24), st.integers(1, 4), st.integers(0, 10**6))
def test_measures_equal_a_slow_reference(height: int, width: int, bands: int, seed: int) -> None:
    """In one piece, and in bands of a few rows whose components are joined at the seams."""
    rng = np.random.default_rng(seed)
    labels, image = rng.integers(0, 3, (height, width)), rng.integers(0, 256, (height, width, bands)).astype(np.uint8)
    found = measure(labels, 3, image)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("decoupe.export.csv.BAND", width * (1 + seed % 4))
        assert measure(labels, 3, image) == found
    for region, row in enumerate(found):
        if not (labels == region).any():
            assert row == [0, 0]
            continue
        slow = slow_measure(labels, region, image)
        assert row[:2] == [slow["pixels"], slow["components"]] and row[4:8] == slow["box"]
        assert row[2:4] == pytest.approx([slow["x"], slow["y"]], abs=0.006)
        assert row[8] == pytest.approx(slow["mean"], abs=0.001) and row[9] == pytest.approx(slow["std"], abs=0.001)


def test_csv_table(tmp_path: Path) -> None:
    names = ("background", "=1+1")
    recorder = Recorder(tmp_path, "csv", names)
    pixels = {"b": Geo(0.5, 0.25, "m")}
    recorder.writer.place = replace(recorder.writer.place, geo=pixels.get)
    (tmp_path / ".decoupe-progress").mkdir()
    probs = np.zeros((2, 4, 5), np.float32)
    probs[0] = 1
    recorder.add("b", np.full((4, 5, 1), 7, np.uint8), Regions(probs, names))
    probs = probs.copy()
    probs[:, 1:3, 1:3] = probs[::-1, 1:3, 1:3]
    recorder.add("@a", np.full((4, 5, 3), 9, np.uint8), Regions(probs, names))
    recorder.writer.close()
    with (tmp_path / "measures.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == ["'@a.jpg", "'@a.jpg", "b.jpg", "b.jpg"]
    assert rows[1]["name"] == "'=1+1" and rows[1]["pixels"] == "4" and rows[1]["share"] == "0.2"
    assert [rows[1][c] for c in ("centroid_x", "centroid_y", "x0", "y0", "x1", "y1")] == ["1.5", "1.5", *"1133"]
    assert [rows[1][f"mean_{b}"] for b in (1, 2, 3)] == ["9.0"] * 3 and rows[2]["mean_1"] == "7.0"
    assert rows[2]["mean_2"] == "" and rows[3]["pixels"] == "0" and rows[3]["centroid_x"] == ""
    assert [row["instances"] for row in rows] == ["", "1", "", ""]
    assert [(row["area"], row["unit"]) for row in rows] == [("", ""), ("", ""), ("2.5", "m"), ("0.0", "m")]


def test_things_are_counted_also_where_they_touch_and_in_large_images() -> None:
    y, x = np.mgrid[:120, :200]
    labels = (((y - 40) ** 2 + (x - 40) ** 2 < 900) | ((y - 40) ** 2 + (x - 94) ** 2 < 900)).astype(np.int64)
    labels[80:110, 150:190] = 1
    assert measure(labels, 2)[1][1] == 2 and count_instances(labels, 1) == 3
    large = np.kron(labels, np.ones((12, 12), np.int64))
    assert large.size > COUNTED and count_instances(large, 1) == 3
    assert count_instances(np.zeros((5000, 5000), np.uint8), 0) is None


@pytest.mark.parametrize("k", [2, 5])
def test_png_of_many_bands_is_the_same_picture(monkeypatch: pytest.MonkeyPatch, k: int) -> None:
    found = regions((50, 31), k)
    monkeypatch.setattr("decoupe.export.png.BAND", 100)
    with Pillow.open(io.BytesIO(encode_labels(found.labels, found.names, colours(found.names)))) as picture:
        assert (np.asarray(picture) == found.labels).all()


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@x", "\tx", "\rx", "  =x", '=HYPERLINK("x")'])
def test_cells_that_a_spreadsheet_would_run_are_quoted(text: str) -> None:
    assert cell(text) == "'" + text


@pytest.mark.parametrize("text", ["", "a=b", "photo-1", "1+1", "é"])
def test_other_cells_are_left_alone(text: str) -> None:
    assert cell(text) == text


def _coco(tmp_path: Path) -> Iterator[tuple[Regions, str]]:
    names = ("background", "thing 1", "thing 2")
    recorder = Recorder(tmp_path, "coco", names)
    (tmp_path / ".decoupe-progress").mkdir()
    for number, shape in enumerate(SHAPES):
        found = regions(shape, 3, number)
        recorder.add(f"{number}", np.zeros((*shape, 3), np.uint8), found)
        yield found, f"{number}.jpg"
    recorder.writer.close()


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_coco_loads_in_pycocotools_and_gives_the_masks_back(tmp_path: Path, capsys: Any) -> None:
    coco = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed: pip install decoupe[coco]")
    everything = dict((name, found) for found, name in _coco(tmp_path))
    read = coco.COCO(str(tmp_path / "coco.json"))
    assert [c["name"] for c in read.loadCats(read.getCatIds())] == ["thing 1", "thing 2"]
    images = read.loadImgs(read.getImgIds())
    assert {i["file_name"]: (i["height"], i["width"]) for i in images} == {
        name: found.labels.shape for name, found in everything.items()
    }
    for image in images:
        found = everything[image["file_name"]]
        rebuilt = np.zeros(found.labels.shape, int)
        for one in read.loadAnns(read.getAnnIds(imgIds=image["id"])):
            mask = read.annToMask(one).astype(bool)
            y, x = np.nonzero(mask)
            assert one["bbox"] == [x.min(), y.min(), np.ptp(x) + 1, np.ptp(y) + 1]
            assert one["area"] == mask.sum() and one["iscrowd"] == 0
            assert one["score"] == pytest.approx(found.probs[one["category_id"]][mask].mean(), abs=1e-4)
            assert not rebuilt[mask].any()
            rebuilt[mask] = one["category_id"]
        assert (rebuilt == found.labels).all()


def test_coco_numbers_categories_from_one_without_a_background(tmp_path: Path) -> None:
    names = ("sky", "sea")
    recorder = Recorder(tmp_path, "coco", names)
    (tmp_path / ".decoupe-progress").mkdir()
    recorder.add("a", np.zeros((20, 20, 3), np.uint8), Regions(regions((20, 20), 2).probs, names))
    recorder.writer.close()
    content = json.loads((tmp_path / "coco.json").read_text())
    assert [c["id"] for c in content["categories"]] == [1, 2]
    assert {a["category_id"] for a in content["annotations"]} == {1, 2}


def test_colours_keep_the_background_quiet_and_differ() -> None:
    names = ["sky", "background", *(str(i) for i in range(30))]
    found = colours(names)
    assert found[1] == BACKGROUND and BACKGROUND not in (found[0], *found[2:])
    assert len(set(found)) == len(names)


def test_formats_are_chosen_by_name() -> None:
    assert choose("CSV, png,png") == ("png", "csv") and choose(["coco"]) == ("coco",)
    for wrong in ("png,pgn", "", ["layer"]):
        with pytest.raises(UsageFault, match="png, overlay, npz, csv, coco, .*, layers, ora"):
            choose(wrong)
