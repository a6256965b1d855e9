"""The survey: every bad file named with its reason, the rest described."""

from __future__ import annotations

import os
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from decoupe.data.checks import survey
from decoupe.data.sources import Item, find
from tests.data.files import noise, save


def _odd_folder(root: Path, good: int = 40) -> dict[str, str]:
    """Many good photos; the bad ones by key with a piece of their reason."""
    for index in range(good):
        save(root / f"good/{index:04d}.png", noise(16, 20, seed=index % 7))
    (root / "zero.jpg").touch()
    (root / "text.jpg").write_text("hello\n")
    save(root / "cut.jpg", noise(64, 64))
    (root / "cut.jpg").write_bytes((root / "cut.jpg").read_bytes()[:2000])
    save(root / "dot.png", noise(1, 1))
    save(root / "long.png", noise(10, 2000))
    tifffile.imwrite(root / "seven.tif", noise(20, 20, 7), photometric="minisblack", planarconfig="contig")
    (root / "loop").symlink_to(root)
    (root / "self.png").symlink_to("self.png")
    (root / "folder.png").mkdir()
    save(root / "huge.png", noise(200, 200))
    return {
        "zero": "empty file", "text": "plain text", "cut": "truncated after 2 kB", "dot": "1x1: too small",
        "long": "2000x10: too elongated", "seven": "7 bands where 3 bands are used", "loop": "symlink loop",
        "self": "symlink loop", "huge": "more than --max-pixels 30000",
    }  # fmt: skip


def test_every_bad_file_is_named_and_the_rest_is_used(tmp_path: Path) -> None:
    bad = _odd_folder(tmp_path)
    save(tmp_path / "grey16.png", noise(16, 16, 1)[..., 0].astype(np.uint16) * 257)
    Image.fromarray(noise(16, 16)).convert("CMYK").save(tmp_path / "cmyk.tif")
    Image.new("RGB", (16, 16)).save(tmp_path / "moving.gif", save_all=True, append_images=[Image.new("L", (16, 16), 9)])
    tifffile.imwrite(tmp_path / "four.tif", noise(20, 20, 4), photometric="minisblack", planarconfig="contig")
    seen: list[tuple[int, int]] = []
    found = survey(find(tmp_path), max_pixels=30_000, progress=lambda done, total: seen.append((done, total)))
    skipped = {problem.path.stem: problem.reason for problem in found.problems if not problem.kept}
    assert set(skipped) == set(bad)
    for name, reason in bad.items():
        assert reason in skipped[name], name
    kept = {problem.path.stem: problem.reason for problem in found.problems if problem.kept}
    assert set(kept) == {"moving", "four"} and "only the first" in kept["moving"] and "4 bands" in kept["four"]
    assert len(found.items) == found.usable == 44 and found.files == len(seen) == 53
    assert seen[-1] == (53, 53) and [done for done, _ in seen] == list(range(1, 54))
    assert found.channels == 3 and found.shapes == (20, 16)
    assert found.kinds["RGB 8-bit"] == 42 and found.kinds["grey 16-bit"] == 1
    assert found.sentence() == (
        "53 images · 44 usable · median 20x16 · RGB 8-bit (1 4-band 8-bit, 1 grey 16-bit: fine)"
    )


def test_channels_follow_the_majority_or_the_choice(tmp_path: Path) -> None:
    for index in range(3):
        save(tmp_path / f"g{index}.png", noise(bands=1)[..., 0])
    for index in range(2):
        save(tmp_path / f"c{index}.png")
    items = find(tmp_path)
    assert survey(items).channels == 1 and survey(items, channels=3).channels == 3
    assert survey(items[:2] + items[2:4]).channels == 3  # a tie: more bands


def test_nothing_usable_is_told_not_raised(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    found = survey(find(tmp_path))
    assert found.sentence() == "1 image · 0 usable" and found.items == [] and found.shapes == (0, 0)


def test_boxes_are_checked_one_by_one(tmp_path: Path) -> None:
    item = Item(save(tmp_path / "a.png", noise(50, 60)), "a")
    boxes = [(0, 0, 20, 20), (-5, -5, 30.5, 60), (70, 0, 90, 20), (5, 5, 9, 40), (0, 0, float("nan"), 9), (9, 9, 3, 3)]
    found = survey([replace(item, key=f"a_{i}", box=box) for i, box in enumerate(boxes)])
    assert [one.key for one in found.items] == ["a_0", "a_1"] and found.files == 1
    reasons = [problem.reason for problem in found.problems]
    assert len(reasons) == 4
    for reason, words in zip(reasons, ("outside the image (60x50)", "too small", "not finite", "outside"), strict=True):
        assert words in reason
    assert "2 boxes" in found.sentence()


def test_two_threads_find_what_one_finds(tmp_path: Path) -> None:
    _odd_folder(tmp_path, good=30)
    items = find(tmp_path)
    assert survey(items, workers=2) == survey(items, workers=1)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", noise(200, 200))
    peaks = []
    for count in (50, 800):
        for index in range(count):
            name = tmp_path / f"{count}/{index:04d}.png"
            name.parent.mkdir(exist_ok=True)
            os.link(path, name)
        items = find(tmp_path / str(count))
        tracemalloc.start()
        survey(items)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 750 * 2_000  # an image is 120,000 bytes


@pytest.mark.parametrize("workers", [1, 2])
def test_stopping_midway_leaves_no_thread_behind(tmp_path: Path, workers: int) -> None:
    for index in range(30):
        save(tmp_path / f"{index}.png")

    def stop(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        survey(find(tmp_path), progress=stop, workers=workers)
