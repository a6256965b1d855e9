"""Formats of other tools: what is written reads back as it was, whatever the shape and the names."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from decoupe.data.decode import read_mask
from decoupe.errors import Fault
from decoupe.export.outlines import fill
from decoupe.export.readers import read_masks
from decoupe.export.voc import classes, voc_colour
from decoupe.types import Regions
from tests.export.test_formats import SHAPES, Recorder, regions

HOSTILE = (
    "background", "<script>alert(1)</script>", "../../x", '"&\'\n:;,#', "=1+1", "", "\0\x0b\ud800", "same", "same", "é",
    "a" * 300, "Background ", "con",
)  # fmt: skip
FILES = {
    "coco": "coco.json", "coco-panoptic": "coco.panoptic.json",
    "cvat": "cvat.xml", "cvat-polygons": "cvat-polygons.xml", "labelstudio": "labelstudio.json",
    "labelstudio-polygons": "labelstudio-polygons.json", "voc": "dataset.voc", "png": "",
}  # fmt: skip


def named(found: Regions, names: tuple[str, ...]) -> Regions:
    return Regions(found.probs, names)


def noise(shape: tuple[int, int], names: tuple[str, ...], seed: int) -> Regions:
    """Regions of single pixels, blobs and holes."""
    rng = np.random.default_rng(seed)
    labels = np.kron(rng.integers(0, len(names), (1 + shape[0] // 3, 1 + shape[1] // 3)), np.ones((3, 3), int))
    labels = labels[: shape[0], : shape[1]]
    labels = np.where(rng.random(shape) < 0.1, rng.integers(0, len(names), shape), labels)
    probs = np.full((len(names), *shape), 0.1, np.float32)
    np.put_along_axis(probs, labels[None], 1, axis=0)
    return Regions(probs / probs.sum(0), names)


def written(out: Path, kind: str, everything: list[Regions]) -> dict[str, Regions]:
    recorder = Recorder(out, kind, everything[0].names)
    for number, found in enumerate(everything):
        recorder.add(f"in/{number}", np.full((*found.labels.shape, 3), 7 * number, np.uint8), found)
    recorder.writer.close()
    return {f"in/{number}": found for number, found in enumerate(everything)}


def same(kind: str, out: Path, everything: dict[str, Regions]) -> None:
    """Label maps of the reader have the same class at every pixel, whatever the numbers."""
    masks = read_masks(out / FILES[kind])
    images = {image.name.removesuffix(".jpg"): image.labels() for image in masks.images}
    kept = {
        key: found
        for key, found in everything.items()
        if not kind.startswith("labelstudio") or not background(found).all()  # tasks without objects have no size
    }
    assert set(images) >= set(kept)
    for key, found in kept.items():
        pairs = set(zip(found.labels.ravel().tolist(), images[key].ravel().tolist(), strict=True))
        assert images[key].shape == found.labels.shape
        ours = {a for a, _ in pairs if found.names[a].strip().casefold() != "background"}
        assert ((images[key] == 0) == background(found)).all() or kind == "png"
        for region in ours:
            assert len({b for a, b in pairs if a == region}) == 1
        assert len({b for a, b in pairs if a in ours}) == len(ours)


def background(found: Regions) -> np.ndarray:
    quiet = [i for i, name in enumerate(found.names) if name.strip().casefold() == "background"]
    return np.isin(found.labels, quiet)


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("names", [("background", "a", "b"), ("sky", "sea"), ("sky", "background", "sea"), HOSTILE])
def test_round_trip(tmp_path: Path, kind: str, names: tuple[str, ...]) -> None:
    everything = [named(regions(shape, len(names), seed), names) for seed, shape in enumerate(SHAPES)]
    everything += [noise(shape, names, seed) for seed, shape in enumerate(SHAPES)]
    same(kind, tmp_path, written(tmp_path, kind, everything))


@pytest.mark.parametrize("kind", FILES)
def test_round_trip_of_many_odd_shapes(tmp_path_factory: pytest.TempPathFactory, kind: str) -> None:
    @settings(deadline=None, max_examples=40)
    @given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 5), st.integers(0, 10**6))
    def check(height: int, width: int, k: int, seed: int) -> None:
        out = tmp_path_factory.mktemp(kind)
        names = ("background", "a", "b", "c", "d")[:k]
        same(kind, out, written(out, kind, [noise((height, width), names, seed)]))

    check()


@pytest.mark.parametrize("kind", FILES)
def test_names_come_back(tmp_path: Path, kind: str) -> None:
    names = ("background", "Ærø & <b>", 'a "quoted" name')
    everything = written(tmp_path, kind, [noise((20, 31), names, 3)])
    masks = read_masks(tmp_path / FILES[kind])
    assert [masks.names[label] for label in masks.images[0].labels().ravel()] == [
        names[label] for label in everything["in/0"].labels.ravel()
    ]


@pytest.mark.parametrize("k", [1, 3, 300])
def test_tiff_holds_labels_and_names(tmp_path: Path, k: int) -> None:
    names = (*HOSTILE, *map(str, range(k)))[:k]
    for key, found in written(tmp_path, "tiff", [named(regions(s, k, i), names) for i, s in enumerate(SHAPES)]).items():
        assert (read_mask(tmp_path / f"{key}.tif") == found.labels).all()
        with tifffile.TiffFile(tmp_path / f"{key}.tif") as file:
            assert file.pages[0].dtype == np.uint16
            assert tuple(json.loads(file.pages[0].description)["names"]) == names


def test_rois_are_read_by_another_reader(tmp_path: Path) -> None:
    roifile = pytest.importorskip("roifile", reason="roifile is not installed: pip install roifile")
    names = ("background", "Ærø", "../../x")
    for key, found in written(tmp_path, "rois", [noise(shape, names, i) for i, shape in enumerate(SHAPES)]).items():
        rebuilt = np.zeros(found.labels.shape, int)
        read = roifile.roiread(tmp_path / f"{key}.rois.zip")
        for roi in read if isinstance(read, list) else [read]:
            assert roi.roitype == roifile.ROI_TYPE.TRACED
            corners = roi.coordinates()
            assert [roi.left, roi.top, roi.right, roi.bottom] == [*corners.min(0), *corners.max(0)]
            mask, top, left = fill([corners.astype(float)], found.labels.shape)
            rebuilt[top : top + mask.shape[0], left : left + mask.shape[1]][mask] = names.index(roi.name)
        assert (rebuilt == found.labels).all()


def test_rois_have_safe_names_and_a_limit(tmp_path: Path) -> None:
    written(tmp_path, "rois", [noise((40, 40), HOSTILE, 1)])
    entries = zipfile.ZipFile(tmp_path / "in" / "0.rois.zip").namelist()
    assert len(set(entries)) == len(entries) > 5
    assert all(name.endswith(".roi") and "/" not in name and "\\" not in name for name in entries)
    with pytest.raises(Fault, match="32,767"):
        written(tmp_path, "rois", [Regions(np.ones((1, 1, 40_000), np.float32), ("sky",))])


@pytest.mark.parametrize("bands", [1, 2, 3, 5])
def test_ora_is_as_specified_and_gives_masks_and_photo_back(tmp_path: Path, bands: int) -> None:
    for number, shape in enumerate(SHAPES):
        names = HOSTILE[: 3 + number]
        found, photo = noise(shape, names, number), np.random.default_rng(number).integers(0, 256, (*shape, bands))
        Recorder(tmp_path, "ora", names).add(f"{number}", photo.astype(np.uint8), found)
        archive = zipfile.ZipFile(tmp_path / f"{number}.ora")
        first = archive.infolist()[0]
        assert first.filename == "mimetype" and first.compress_type == zipfile.ZIP_STORED and not first.extra
        assert archive.read("mimetype") == b"image/openraster"
        root = ElementTree.fromstring(archive.read("stack.xml"))
        assert root.tag == "image" and (int(root.get("h", "")), int(root.get("w", ""))) == shape
        rgb = photo[..., :3] if bands >= 3 else np.repeat(photo[..., :1], 3, axis=2)
        layers = list(root.find("stack") or [])[::-1]  # the first is the topmost
        assert len(layers) == len(names)
        for region, layer in enumerate(layers):
            cut = picture(archive, layer.get("src", ""))
            whole = np.zeros((*shape, 4), int)
            y, x = int(layer.get("y", "")), int(layer.get("x", ""))
            whole[y : y + cut.shape[0], x : x + cut.shape[1]] = cut
            mask = found.labels == region
            assert (whole[..., 3] == 255 * mask).all() and (whole[mask][:, :3] == rgb[mask]).all()
        merged = picture(archive, "mergedimage.png")
        assert merged.shape == (*shape, 4) and (merged[..., :3] == rgb).all()
        assert max(picture(archive, "Thumbnails/thumbnail.png").shape[:2]) <= 256


def picture(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    with Pillow.open(io.BytesIO(archive.read(name)), formats=["PNG"]) as image:
        return np.asarray(image).astype(int)


def test_cvat_has_the_elements_cvat_asks_for(tmp_path: Path) -> None:
    written(tmp_path, "cvat", [noise((20, 30), ("background", "a"), 0)])
    root = ElementTree.parse(tmp_path / "cvat.xml").getroot()
    assert root.findtext("version") == "1.1" and root.findtext("meta/task/size") == "1"
    assert [label.findtext("name") for label in root.iter("label")] == ["a"]
    for mask in root.iter("mask"):
        runs = [int(run) for run in mask.get("rle", "").split(", ")]
        assert sum(runs) == int(mask.get("width", "")) * int(mask.get("height", "")) and min(runs[1:]) > 0
        assert mask.get("occluded") == "0" and mask.get("z_order") == "0" and mask.get("source") == "auto"


def test_labelstudio_predictions_have_scores_and_their_photo(tmp_path: Path) -> None:
    for kind, name in (("labelstudio", "brushlabels"), ("labelstudio-polygons", "polygonlabels")):
        written(tmp_path, kind, [noise((20, 30), ("background", "a"), 0)])
        (task,) = json.loads((tmp_path / FILES[kind]).read_text())
        (prediction,) = task["predictions"]
        assert task["data"] == {"image": "/data/local-files/?d=in/0.jpg"} and 0 < prediction["score"] <= 1
        ids = [one["id"] for one in prediction["result"]]
        assert len(set(ids)) == len(ids) > 0
        for one in prediction["result"]:
            assert (one["original_width"], one["original_height"], one["type"]) == (30, 20, name)
            assert one["value"][name] == ["a"] and 0 < one["score"] <= 1


def test_voc_colours_and_tables(tmp_path: Path) -> None:
    assert [voc_colour(n) for n in (0, 1, 2, 15, 20)] == [
        (0, 0, 0), (128, 0, 0), (0, 128, 0), (192, 128, 128), (0, 64, 128),
    ]  # fmt: skip
    assert len({voc_colour(n) for n in range(255)}) == 255
    assert classes(("sky", "background", "#a:b\n"))[1] == ["background", "sky", "unused 2", "_a_b"]
    with pytest.raises(Fault, match="254"):
        classes([str(n) for n in range(255)])
    recorder = Recorder(tmp_path, "voc", ("background", "a"))
    recorder.add("x/two words", np.zeros((9, 7, 3), np.uint8), noise((9, 7), ("background", "a"), 0))
    recorder.writer.close()
    folder = tmp_path / "dataset.voc"
    assert (folder / "ImageSets/Segmentation/default.txt").read_text() == '"x/two words"\n'
    assert (folder / "labelmap.txt").read_text().splitlines()[1:] == ["background:0,0,0::", "a:128,0,0::"]
    assert read_masks(folder).images[0].name == "x/two words"


def names_of(kind: str) -> Callable[[Path], list[str]]:
    return lambda out: [image.name for image in read_masks(out / FILES[kind]).images]


@pytest.mark.parametrize("kind", ["coco", "cvat", "labelstudio"])
def test_hostile_file_names_come_back_or_are_replaced_by_their_key(tmp_path: Path, kind: str) -> None:
    from decoupe.export import Record

    names = ["<script>.jpg", "a\nb.jpg", "é & ?.jpg", "..%2fx.jpg", "=cmd.jpg", "\udcff.jpg", "\x01.jpg"]
    recorder = Recorder(tmp_path, kind, ("background", "a"))
    found = noise((9, 9), ("background", "a"), 0)
    for number, name in enumerate(names):
        content: Any = json.loads(json.dumps(recorder.writer.write(f"k{number}", None, found)))
        recorder.done.append(Record(f"k{number}", name, (9, 9), content))
    recorder.writer.close()
    expected = [*names[:5], "k5", "k6"] if kind == "cvat" else names
    assert names_of(kind)(tmp_path) == expected
