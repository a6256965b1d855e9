"""From the page's routes to stored masks, and from stored masks to formats and to those that learn from them."""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from decoupe.data.decode import read_mask
from decoupe.data.geo import read_geo
from decoupe.errors import Fault, UsageFault
from decoupe.export import FORMATS
from decoupe.model import load
from decoupe.review.kept import export, kept
from decoupe.review.regions import Regions, merge, rename
from tests.data.test_geo import UTM, georeferenced
from tests.review.serving import Served, serving


def get_labels(served: Served, number: int) -> np.ndarray:
    reply = served.get(f"/labels/{number}")
    width, height = (int(v) for v in reply.headers["x-size"].split("x"))
    return np.frombuffer(zlib.decompress(reply.body), np.uint8).reshape(height, width).copy()


def put_labels(served: Served, number: int, labels: np.ndarray, seen: int = 0) -> int:
    body = zlib.compress(labels.astype(np.uint8).tobytes())
    return served.post(f"/labels/{number}?seen={seen}", body, method="PUT").status


def test_accepting_stores_the_models_own_mask(run: Callable[[str], Path]) -> None:
    path = run("four")
    with serving(path, scan=False) as served:
        photo = served.desk.album[4]
        assert served.post("/api/judge/4", {"verdict": "accepted"}).json()["photo"]["verdict"] == "a"
    (one,) = kept(path)
    assert (one.photo.path, one.corrected) == (photo.path, False)
    assert np.array_equal(one.labels(), load(path).segment(photo.path).labels)
    with Image.open(one.mask) as file:
        assert json.loads(file.info["decoupe:names"]) == ["region 0", "region 1", "region 2", "region 3"]


def test_a_correction_is_stored_as_drawn_and_survives_merges(run: Callable[[str], Path]) -> None:
    path = run("four")
    with serving(path, scan=False) as served:
        labels = get_labels(served, 7)
        labels[10:30, 20:50] = 3
        assert put_labels(served, 7, labels) == 200
        assert np.array_equal(get_labels(served, 7), labels)
        assert put_labels(served, 7, np.zeros_like(labels)) == 409  # not seen what was stored since
        key = served.desk.album[7].key
    assert np.array_equal(read_mask(path / "review" / "masks" / f"{key}.png"), labels)
    Regions(path).change(merge([1, 3]))
    (one,) = kept(path)
    assert one.corrected and np.array_equal(one.labels(), np.where(labels == 3, 1, labels))


def test_large_photos_are_corrected_in_their_own_frame(run: Callable[[str], Path], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    folder = tmp_path / "large"
    folder.mkdir()
    Image.fromarray(rng.integers(0, 255, (1800, 2400, 3)).astype(np.uint8)).save(folder / "big.png")
    path = run("two")
    with serving(path, folder, scan=False) as served:
        before = served.desk.studio.found(served.desk.album[0], served.desk.naming, (1800, 2400))
        labels = get_labels(served, 0)
        assert labels.shape == (1200, 1600)
        labels[100:200, 300:500] = 1 - labels[100:200, 300:500]
        assert put_labels(served, 0, labels) == 200
    (one,) = kept(path)
    stored = one.labels()
    assert stored.shape == (1800, 2400)
    touched = np.zeros((1800, 2400), bool)
    touched[150:300, 450:750] = True
    assert np.array_equal(stored[~touched], before[~touched]) and (stored[touched] != before[touched]).mean() > 0.95


def test_bytes_that_are_no_mask_are_refused(run: Callable[[str], Path]) -> None:
    path = run("two")
    with serving(path, scan=False) as served:
        good = get_labels(served, 0)
        for body in (
            b"",
            b"x",
            zlib.compress(b"\0" * 10),
            zlib.compress(bytes(good.size + 1)),
            zlib.compress(bytes(50_000_000)),
        ):
            assert served.post("/labels/0?seen=0", body, method="PUT").status == 400
        assert put_labels(served, 0, np.full_like(good, 2)) == 400
        assert served.post("/api/scribble/0", zlib.compress(bytes(good.size))).status == 400
    assert not list((path / "review" / "masks").rglob("*.png"))


def test_a_scribble_changes_nothing_until_it_is_stored(run: Callable[[str], Path]) -> None:
    with serving(run("two"), scan=False) as served:
        labels = get_labels(served, 0)
        strokes = np.full_like(labels, 255)
        strokes[30:33, 30:60] = 1
        reply = served.post("/api/scribble/0", zlib.compress(labels.tobytes() + strokes.tobytes()))
        found = np.frombuffer(zlib.decompress(reply.body), np.uint8).reshape(labels.shape)
        assert (found[strokes == 1] == 1).all() and served.desk.book.revision == 0


def test_what_is_kept_is_what_was_accepted_or_corrected_and_not_rejected(run: Callable[[str], Path]) -> None:
    path = run("two")
    with serving(path, scan=False) as served:
        for number, verdict in ((0, "accepted"), (1, "rejected"), (2, "flagged"), (3, "accepted")):
            served.post(f"/api/judge/{number}", {"verdict": verdict})
        for number in (1, 4):
            put_labels(served, number, get_labels(served, number), seen=100)
        served.post("/api/judge/3", {"verdict": "rejected"})
        keys = [served.desk.album[number].key for number in (0, 4)]
    assert [one.photo.key for one in kept(path)] == sorted(keys)


def test_nothing_reviewed_and_photos_that_are_gone_are_said(run: Callable[[str], Path], tmp_path: Path) -> None:
    path = run("two")
    with pytest.raises(Fault, match="accept some: decoupe review"):
        kept(path)
    with serving(path, scan=False) as served:
        served.post("/api/judge/0", {"verdict": "accepted"})
    other = tmp_path / "other"
    other.mkdir()
    Image.new("RGB", (40, 40)).save(other / "z.png")
    with pytest.raises(Fault, match="none of them"):
        kept(path, other)


def test_masks_are_found_where_the_photos_are_now(run: Callable[[str], Path], pictures: Path, tmp_path: Path) -> None:
    path = run("two")
    with serving(path, scan=False) as served:
        served.post("/api/judge/0", {"verdict": "accepted"})
    moved = Path(shutil.copytree(pictures, tmp_path / "moved"))
    (one,) = kept(path, moved)
    assert one.photo.path.is_relative_to(moved)


def test_exports_hold_the_corrected_masks(run: Callable[[str], Path], tmp_path: Path) -> None:
    path = run("two")
    Regions(path).change(rename(1, "beetle"))
    with serving(path, scan=False) as served:
        labels = np.zeros_like(get_labels(served, 0))
        labels[20:40, 30:60] = 1
        put_labels(served, 0, labels)
        served.post("/api/judge/1", {"verdict": "accepted"})
        about = served.get("/api/export").json()
        assert (about["count"], about["corrected"]) == (2, 1)
        assert about["formats"] == [name for name in FORMATS if name != "layers"]
        made = served.post("/api/export", {"formats": ["png", "coco", "csv"]}).json()
        again = served.post("/api/export", {"formats": ["png"]}).json()
        assert made["count"] == 2 and made["folder"] == "review/export-1" and again["folder"] == "review/export-2"
        for wrong in ([], ["nonsense"], "png", [1], ["../png"]):
            assert served.post("/api/export", {"formats": wrong}).status == 400
        key, file = served.desk.album[0].key, served.desk.album[0].file
    folder = path / "review" / "export-1"
    assert np.array_equal(read_mask(folder / f"{key}.png"), labels)
    coco = json.loads((folder / "coco.json").read_text())
    assert [c["name"] for c in coco["categories"]] == ["beetle"]
    image = next(i["id"] for i in coco["images"] if i["file_name"] == file)
    areas = [a["area"] for a in coco["annotations"] if a["image_id"] == image]
    assert areas == [600]
    assert export(path, tmp_path / "out", "voc,tiff,rois,ora,cvat,labelstudio,overlay,npz") == 2
    with pytest.raises(UsageFault, match="decoupe segment"):
        export(path, tmp_path / "layers", "layers")


def test_exported_masks_keep_their_place_on_the_earth(run: Callable[[str], Path], tmp_path: Path) -> None:
    path, photo = run("two"), tmp_path / "photos" / "a.tif"
    photo.parent.mkdir()
    georeferenced(photo, UTM)
    with serving(path, photo.parent, scan=False) as served:
        assert served.post("/api/judge/0", {"verdict": "accepted"}).status == 200
    assert export(path, tmp_path / "out", "tiff,csv") == 1
    (mask,) = (tmp_path / "out").glob("*.tif")
    assert read_geo(mask) == read_geo(photo) and read_geo(photo) is not None


def test_an_instance_is_removed_into_the_background(run: Callable[[str], Path]) -> None:
    with serving(run("two"), scan=False) as served:
        labels = np.zeros_like(get_labels(served, 0))
        labels[10:25, 10:25], labels[40:60, 50:80] = 1, 1
        put_labels(served, 0, labels)
        about = served.get("/api/layers/0").json()
        things = next(layer for layer in about["layers"] if layer["index"] == 1)["things"]
        assert [area for area, _ in things] == [225, 600]
        body = {"seen": about["revision"], "region": 1, "thing": 1}
        assert served.post("/api/remove/0", body | {"thing": 3}).status == 400
        assert served.post("/api/remove/0", body | {"seen": 0}).status == 409
        assert served.post("/api/remove/0", body).status == 200
        labels[10:25, 10:25] = 0
        assert np.array_equal(get_labels(served, 0), labels)


def test_a_photo_is_tried_without_leaving_a_trace(run: Callable[[str], Path], pictures: Path) -> None:
    path = run("two")
    with serving(path, scan=False) as served:
        before = {p for p in path.rglob("*")}
        file = next(pictures.glob("*.png"))
        found = served.post("/api/try", file.read_bytes()).json()
        truth = load(path).segment(file).labels
        assert abs(found["regions"][1]["share"] - (truth == 1).mean()) < 1e-3
        for what in ("photo.jpg", "mask.png", "cut.png"):
            assert served.get(f"/try/{found['id']}/{what}").status == 200
        for wrong in (b"", b"no photo", b"%PDF-1.4"):
            reply = served.post("/api/try", wrong)
            assert reply.status == 409 and "/tmp" not in reply.json()["error"]
        assert {p for p in path.rglob("*")} == before


def test_a_neighbour_is_compared_by_matching_its_regions(run: Callable[[str], Path]) -> None:
    path = run("four")
    run("two")
    twin = Path(shutil.copytree(path, path.parent / "twin"))
    Regions(twin).change(rename(0, "other"))
    (path.parent / "secret").mkdir()
    with serving(path, scan=False) as served:
        assert [row["name"] for row in served.get("/api/others").json()["runs"]] == ["twin", "two"]
        found = served.get("/api/compare?with=twin&photos=0,5").json()
        assert found["agree"] == {"0": 1.0, "5": 1.0}
        assert [r["colour"] for r in found["theirs"]] == [r["colour"] for r in found["ours"]]
        assert served.get("/api/compare?with=two&photos=0").json()["agree"]["0"] < 1
        assert served.get("/compare/0/view.png?with=two").status == 200
        for wrong in ("secret", "../two", "", "four", "/"):
            assert served.get(f"/api/compare?with={wrong}").status == 400
