"""`segment`: everything is written, nothing else is touched, and a kill costs nothing but time."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from decoupe.errors import Fault, UsageFault
from decoupe.export import FORMATS, OF_MASKS
from decoupe.segment import segment
from tests.bright import Bright

"""Layers need a method that finds some."""


def save(path: Path, seed: int = 0, size: tuple[int, int] = (48, 40), **options: Any) -> None:
    """A photo of a bright blob at a random place."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]]
    near = (y - rng.uniform(10, size[0] - 10)) ** 2 + (x - rng.uniform(10, size[1] - 10)) ** 2 < 90
    pixels = rng.integers(0, 60, (*size, 3)) + 150 * near[..., None]
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.fromarray(pixels.astype(np.uint8)).save(path, **options)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eleven photos of several shapes, in two folders."""
    for number in range(11):
        save(tmp_path / "photos" / ("a" if number % 2 else "") / f"p{number:02d}.png", number, (40 + number, 48))
    return tmp_path / "photos"


def digests(folder: Path, hidden: bool = False) -> dict[str, str]:
    """SHA-256 of every file."""
    files = [p for p in folder.rglob("*") if p.is_file()]
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in files
        if hidden or not any(part.startswith(".") for part in p.relative_to(folder).parts)
    }


def test_all_formats_of_a_folder(folder: Path, tmp_path: Path) -> None:
    before, seen, model = digests(folder), [], Bright()
    done = segment(model, folder, tmp_path / "out", OF_MASKS, progress=lambda n, total: seen.append((n, total)))
    assert digests(folder) == before
    assert done["images"] == done["written"] == 11 and done["problems"] == [] and done["note"] == ""
    common = {name: writer.FILE for name, writer in FORMATS.items() if writer.FILE}
    assert done["files"] == {**dict.fromkeys(OF_MASKS, 11), **common} and common["coco"] == "coco.json"
    lists = 3  # two of voc, one of coco-panoptic
    assert len(digests(tmp_path / "out")) == 11 * (len(OF_MASKS) - len(common)) + len(common) + lists
    assert seen[0] == (0, 11) and seen[-1] == (11, 11) and [n for n, _ in seen] == sorted(n for n, _ in seen)
    for path in folder.rglob("*.png"):
        image = np.asarray(Pillow.open(path))
        stem = tmp_path / "out" / path.relative_to(folder).with_suffix("")
        expected = model.segment_arrays([image])[0]
        with np.load(stem.with_suffix(".npz")) as stored:
            assert np.allclose(stored["probs"], expected, atol=1e-6)
        labels = np.asarray(Pillow.open(stem.with_suffix(".png")))
        assert labels.shape == image.shape[:2] and (labels == expected.argmax(0)).mean() > 0.999
        assert 0 < labels.mean() < 0.5
    content = json.loads((tmp_path / "out" / "coco.json").read_text())
    assert [i["file_name"] for i in content["images"]] == sorted(i["file_name"] for i in content["images"])
    assert len(content["images"]) == 11


def test_png_alone_equals_png_among_others(folder: Path, tmp_path: Path) -> None:
    segment(Bright(), folder, tmp_path / "one", "png")
    segment(Bright(), folder, tmp_path / "all", OF_MASKS)
    for path in (tmp_path / "one").rglob("*.png"):
        other = tmp_path / "all" / path.relative_to(tmp_path / "one")
        assert (np.asarray(Pillow.open(path)) != np.asarray(Pillow.open(other))).mean() < 1e-3


def test_large_jpegs_are_read_smaller_with_the_same_masks(tmp_path: Path) -> None:
    save(tmp_path / "in" / "big.jpg", 3, (700, 900), quality=90)
    model = Bright()
    segment(model, tmp_path / "in", tmp_path / "out", ("png", "csv"))
    labels = np.asarray(Pillow.open(tmp_path / "out" / "big.png"))
    expected = model.segment_arrays([np.asarray(Pillow.open(tmp_path / "in" / "big.jpg"))])[0].argmax(0)
    assert labels.shape == (700, 900) and (labels == expected).mean() > 0.998


def test_what_is_complete_is_not_done_again(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    segment(Bright(), folder, out, ("png", "csv"))
    first = digests(out)
    (out / "p00.png").unlink()
    (out / "a" / "p01.png").write_bytes(b"cut")
    again = Bright()
    done = segment(again, folder, out, ("png", "csv"))
    assert (done["written"], done["skipped"]) == (2, 9) and digests(out) == first
    assert "9 were complete already" in done["note"]
    save(folder / "p02.png", 99)
    assert segment(again, folder, out, ("png", "csv"))["written"] == 1
    assert digests(out)["p02.png"] != first["p02.png"]
    assert segment(again, folder, out, ("png", "csv", "coco"))["written"] == 11
    assert len(json.loads((out / "coco.json").read_text())["images"]) == 11


def test_another_model_or_other_names_start_anew(folder: Path, tmp_path: Path) -> None:
    segment(Bright(), folder, tmp_path / "out")
    assert segment(Bright(), folder, tmp_path / "out")["written"] == 0
    for other in (Bright(weights="other"), Bright(names=("background", "leaf"))):
        done = segment(other, folder, tmp_path / "out")
        assert done["written"] == 11 and done["replaced"] and "replaced" in done["note"]


def test_the_table_holds_what_this_command_named(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    segment(Bright(), folder, out, ("csv", "coco"))
    (folder / "p00.png").unlink()
    segment(Bright(), folder, out, ("csv", "coco"))
    assert "p00" not in (out / "measures.csv").read_text() and "p00" not in (out / "coco.json").read_text()


KILLED = """
import os, signal, sys
from pathlib import Path
from decoupe.export.base import Place
from decoupe.segment import segment
from tests.bright import Bright
count, when, place = 0, int(sys.argv[3]), Place.put
def put(self, path, data):
    global count
    count += 1
    if count == when and when % 2:
        os.kill(os.getpid(), signal.SIGKILL)
    size = place(self, path, data)
    if count == when:
        os.kill(os.getpid(), signal.SIGKILL)
    return size
Place.put = put
from decoupe.export import OF_MASKS
segment(Bright(), sys.argv[1], Path(sys.argv[2]), OF_MASKS)
"""


def test_resumed_after_kill_nine_equals_uninterrupted(folder: Path, tmp_path: Path, root: Path) -> None:
    segment(Bright(), folder, tmp_path / "straight", OF_MASKS)
    out = tmp_path / "killed"
    for when in (8, 13):
        command = [sys.executable, "-c", KILLED, str(folder), str(out), str(when)]
        assert subprocess.run(command, cwd=root, timeout=120).returncode == -9
    with (out / ".decoupe-progress" / "progress.jsonl").open("ab") as file:
        file.write(b'{"key": "p00", "from": "cut o')
    done = segment(Bright(), folder, out, OF_MASKS)
    assert 0 < done["skipped"] < 11
    assert digests(out) == digests(tmp_path / "straight")
    assert not list(out.rglob("*.tmp"))


def test_bad_files_are_named_and_the_rest_goes_on(folder: Path, tmp_path: Path) -> None:
    whole = (folder / "p00.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.jpg").touch()
    (folder / "notes.jpg").write_text("hello, these are notes\n" * 20)
    seen: list[int] = []
    done = segment(Bright(), folder, tmp_path / "out", ("png", "csv"), progress=lambda n, _: seen.append(n))
    assert [Path(p["path"]).name for p in done["problems"]] == ["cut.png", "empty.jpg", "notes.jpg"]
    assert all(p["reason"] and "\n" not in p["reason"] and str(folder) not in p["reason"] for p in done["problems"])
    assert done["written"] == 11 and "3 could not be read" in done["note"] and seen[-1] == 14
    assert len(list((tmp_path / "out").rglob("*.png"))) == 11
    again = segment(Bright(), folder, tmp_path / "out", ("png", "csv"))
    assert (again["written"], again["skipped"], len(again["problems"])) == (0, 11, 3)


def test_nothing_usable_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "x.jpg").write_text("no")
    with pytest.raises(Fault, match=r"x\.jpg"):
        segment(Bright(), tmp_path / "in", tmp_path / "out")


def test_out_never_holds_the_photos(folder: Path, tmp_path: Path) -> None:
    before = digests(tmp_path, hidden=True)
    (tmp_path / "link").symlink_to(folder)
    for out in (folder, folder / "a", tmp_path, tmp_path / "link", folder / "a" / ".."):
        with pytest.raises(Fault, match="--out"):
            segment(Bright(), folder, out)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "p00.png").write_bytes(b"mine")
    (tmp_path / "file").write_bytes(b"file")
    for out in (tmp_path / "mine", tmp_path / "file"):
        with pytest.raises(Fault, match="--out"):
            segment(Bright(), folder, out)
    after = digests(tmp_path, hidden=True)
    assert {name: after[name] for name in before} == before


def test_out_inside_the_photos_is_not_eaten_next_time(folder: Path) -> None:
    before = digests(folder)
    for _ in range(2):
        assert segment(Bright(), folder, folder / "masks", ("png", "overlay"))["images"] == 11
    assert {name: d for name, d in digests(folder).items() if not name.startswith("masks")} == before


def test_names_that_clash_get_outputs_of_their_own(tmp_path: Path) -> None:
    names = ["a.jpg", "a.png", "A.PNG", "x/a.png", "y/a.png", "x_a.png", "é.png", "e\u0301.png", "a.overlay.png"]
    for seed, name in enumerate(names):
        save(tmp_path / "in" / name, seed)
    done = segment(Bright(), tmp_path / "in", tmp_path / "out", OF_MASKS)
    apart = ("dataset.voc/", "coco.panoptic/")
    for folder in (tmp_path / "out", *(tmp_path / "out" / name for name in ("dataset.voc", "coco.panoptic"))):
        files = {str(p.relative_to(folder)).casefold() for p in folder.rglob("*.png")}
        assert done["written"] == len(names) == len({name for name in files if not name.startswith(apart)})
    content = json.loads((tmp_path / "out" / "coco.json").read_text())
    assert len({image["file_name"] for image in content["images"]}) == len(names)


def test_hostile_names_stay_inside(tmp_path: Path) -> None:
    names = ["=cmd.png", "<script>alert(1)</script>.png", "..%2f..%2fx.png", "a\nb.png", "...png", "con.png", "~.png"]
    names += ["-rf.png", " .png", "a" * 240 + ".png", "'\";--.png", "\u202egnp.png"]
    parent = tmp_path / "case"
    for seed, name in enumerate(names):
        safe = name.replace("/", "")
        save(parent / "in" / "t.png", seed)
        (parent / "in" / "t.png").rename(parent / "in" / safe)
    before = digests(parent, hidden=True)
    done = segment(Bright(), parent / "in", parent / "out", OF_MASKS)
    assert done["problems"] == [] and done["written"] == sum(not name.startswith(".") for name in names)
    after = digests(parent, hidden=True)
    assert {name: after[name] for name in before} == before
    assert all(name.startswith("out/") for name in set(after) - set(before))
    for line in (parent / "out" / "measures.csv").read_text().splitlines():
        assert not line.startswith(("=", "+", "-", "@"))


def test_links_out_of_the_output_folder_are_not_followed(folder: Path, tmp_path: Path) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    segment(Bright(), folder / "p00.png", out)
    elsewhere.mkdir()
    (out / "a").symlink_to(elsewhere)
    with pytest.raises(Fault, match="inside"):
        segment(Bright(), folder, out)
    (out / "dataset.voc").symlink_to(elsewhere)
    with pytest.raises(Fault, match="inside"):
        segment(Bright(), folder / "p00.png", out, "voc")
    assert not list(elsewhere.iterdir())


def test_a_full_disk_is_one_line(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(Fault, match="No space left"):
        segment(Bright(), folder, tmp_path / "out")


def test_a_defect_in_a_worker_reaches_the_caller(folder: Path, tmp_path: Path) -> None:
    class Broken(Bright):
        def predict(self, squares: np.ndarray) -> np.ndarray:
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        segment(Broken(), folder, tmp_path / "out")


def test_one_segment_at_a_time(folder: Path, tmp_path: Path) -> None:
    class Nested(Bright):
        def predict(self, squares: np.ndarray) -> np.ndarray:
            with pytest.raises(Fault, match="another segment"):
                segment(Bright(), folder, tmp_path / "out")
            return super().predict(squares)

    assert segment(Nested(), folder, tmp_path / "out")["written"] == 11


def test_single_files_and_frames(folder: Path, tmp_path: Path) -> None:
    done = segment(Bright(), folder / "p00.png", tmp_path / "out", "png,coco")
    assert done["images"] == 1 and (tmp_path / "out" / "p00.png").is_file()
    assert json.loads((tmp_path / "out" / "coco.json").read_text())["images"][0]["file_name"] == "p00.png"


def test_options_not_there_are_refused(folder: Path, tmp_path: Path) -> None:
    for options in ({"tile": 8}, {"overlap": 8}, {"crf": "sharp"}, {"formats": "layer"}):
        with pytest.raises(UsageFault):
            segment(Bright(), folder, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_real_run(tiny_run: Path, synth: Path, tmp_path: Path) -> None:
    done = segment(tiny_run, synth / "images", tmp_path / "out", OF_MASKS)
    assert done["written"] == 8 and done["problems"] == []
