"""The cache: same content, same bytes, never decoded twice; a damaged one is made again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

import decoupe.data.cache as cache_module
import decoupe.data.checks as checks
from decoupe.data.cache import build_cache, survey_and_cache
from decoupe.data.decode import conform, read_image, resize
from decoupe.data.paths import default_cache_folder
from decoupe.data.sources import Item, find
from decoupe.errors import Fault
from tests.data.files import noise, save, smooth


@pytest.fixture
def items(tmp_path: Path) -> list[Item]:
    """Nine photos: seven in colour, one grey, one of four bands."""
    for index in range(7):
        save(tmp_path / f"in/{index}.png", noise(40 + index, 50, seed=index))
    save(tmp_path / "in/grey.png", noise(40, 50, 1)[..., 0])
    tifffile.imwrite(tmp_path / "in/four.tif", noise(40, 50, 4), photometric="minisblack", planarconfig="contig")
    return find(tmp_path / "in")


@pytest.fixture
def decodes(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The paths that get decoded."""
    seen: list[Path] = []
    real = checks.decode

    def counting(path: Path, **options: int) -> object:
        seen.append(path)
        return real(path, **options)

    monkeypatch.setattr(checks, "decode", counting)
    return seen


@pytest.mark.parametrize("channels", [None, 1, 3])
def test_rows_are_the_resized_images(tmp_path: Path, items: list[Item], channels: int | None) -> None:
    found, cache = survey_and_cache(items, 32, channels, tmp_path / "cache")
    assert found.items == cache.items == items and len(cache) == 9
    assert cache.array.shape == (9, channels or 3, 32, 32) and cache.array.dtype == np.uint8
    for row, item in zip(cache.array, items, strict=True):
        expected = conform(resize(read_image(item.path), 32, 32), channels or 3)
        assert np.array_equal(row, expected.transpose(2, 0, 1))


def test_indexing_copies_rows(tmp_path: Path, items: list[Item]) -> None:
    _, cache = survey_and_cache(items, 32, folder=tmp_path / "cache")
    whole = np.array(cache.array)
    for index in ([3, 0, 3], np.array([[1, 2], [8, -1]]), slice(2, 7, 2), 4, np.arange(9) > 5, [], np.int64(2)):
        out = cache[np.array(index, int) if index == [] else index] if isinstance(index, list) else cache[index]
        assert np.array_equal(out, whole[index if not isinstance(index, list) else np.array(index, int)])
        assert out.flags.writeable and out.dtype == np.uint8
    with pytest.raises(IndexError):
        cache[[9]]


def test_the_second_time_nothing_is_decoded(tmp_path: Path, items: list[Item], decodes: list[Path]) -> None:
    (tmp_path / "in/broken.jpg").write_text("text")
    items = find(tmp_path / "in")
    first, cache = survey_and_cache(items, 32, folder=tmp_path / "cache")
    assert sorted(decodes) == sorted(item.path for item in items)  # each once
    decodes.clear()
    again, same = survey_and_cache(items, 32, folder=tmp_path / "cache")
    assert decodes == [] and again == first and same.fingerprint == cache.fingerprint and same.items == first.items
    shutil.copytree(tmp_path / "in", tmp_path / "copy")
    for item in find(tmp_path / "copy"):
        os.utime(item.path, (1, 1))
    assert survey_and_cache(find(tmp_path / "copy"), 32, folder=tmp_path / "cache")[1].fingerprint == cache.fingerprint
    assert decodes == []
    assert sorted(path.name for path in cache.folder.iterdir()) == ["cache.json", "files.npy", "images.u8"]
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [cache.folder.name]


def test_any_change_makes_another_cache(tmp_path: Path, items: list[Item]) -> None:
    def mark(some: list[Item], size: int = 32, **options: int) -> str:
        return survey_and_cache(some, size, folder=tmp_path / "cache", **options)[1].fingerprint

    marks = {mark(items), mark(items, 40), mark(items, channels=1), mark(items[::-1]), mark(items[1:])}
    marks.add(mark([replace(items[0], box=(0, 0, 20, 20)), *items[1:]]))
    path = items[0].path
    stamp, size = path.stat().st_mtime_ns, path.stat().st_size
    content = bytearray(path.read_bytes())
    content[-1] ^= 1  # in the checksum of IEND: same size, same pixels
    path.write_bytes(content)
    os.utime(path, ns=(stamp, stamp))
    assert path.stat().st_size == size
    marks.add(mark(items))
    assert len(marks) == 7


@pytest.mark.parametrize("harm", ["flip", "cut", "index", "gone", "other"])
def test_a_damaged_cache_is_made_again(tmp_path: Path, items: list[Item], decodes: list[Path], harm: str) -> None:
    _, cache = survey_and_cache(items, 32, folder=tmp_path / "cache")
    good, rows, index = np.array(cache.array), cache.folder / "images.u8", cache.folder / "cache.json"
    decodes.clear()
    if harm == "flip":
        content = bytearray(rows.read_bytes())
        content[5] ^= 4
        rows.write_bytes(content)
    elif harm == "cut":
        os.truncate(rows, 100)
    elif harm == "gone":
        rows.unlink()
    elif harm == "index":
        index.write_text("{")
    else:
        index.write_text(json.dumps({**json.loads(index.read_text()), "fingerprint": "x"}))
    _, again = survey_and_cache(items, 32, folder=tmp_path / "cache")
    assert decodes and np.array_equal(again.array, good)


def test_boxes_are_cut_out(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", noise(60, 80))
    boxes = [(10.0, 5.0, 42.0, 37.0), (60.5, 40.2, 100.0, 100.0)]
    cache = build_cache([Item(path, f"a{i}", box=box) for i, box in enumerate(boxes)], 32, 3, tmp_path / "cache")
    pixels = read_image(path)
    assert np.array_equal(cache[0], pixels[5:37, 10:42].transpose(2, 0, 1))
    assert np.array_equal(cache[1], resize(pixels[40:, 60:], 32, 32).transpose(2, 0, 1))


def test_large_jpegs_may_be_decoded_smaller(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", smooth(600, 800), quality=95)
    row = build_cache([Item(path, "a")], 32, 3, tmp_path / "cache")[0].astype(int)
    assert np.abs(row - resize(read_image(path), 32, 32).transpose(2, 0, 1)).mean() < 1.5


def test_build_cache_refuses_what_the_survey_would_skip(tmp_path: Path, items: list[Item]) -> None:
    (tmp_path / "bad.jpg").touch()
    with pytest.raises(Fault, match="bad.jpg: empty file"):
        build_cache([*items, Item(tmp_path / "bad.jpg", "bad")], 32, 3, tmp_path / "cache")
    with pytest.raises(Fault, match=r"images that can be used, got none of 1 \(empty file\)"):
        survey_and_cache([Item(tmp_path / "bad.jpg", "bad")], 32, folder=tmp_path / "cache")
    assert not list((tmp_path / "cache").glob(".part*"))


def test_a_full_disk_is_one_line(tmp_path: Path, items: list[Item], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("decoupe.data.cache._settle", full)
    with pytest.raises(Fault, match="room for the image cache, got no space left on device"):
        survey_and_cache(items, 32, folder=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(Fault, match="DECOUPE_CACHE"):
        survey_and_cache(items, 32, folder=tmp_path / "file" / "below")


def test_interrupted_builds_leave_nothing(tmp_path: Path, items: list[Item]) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        survey_and_cache(items, 32, folder=tmp_path / "cache", progress=stop)
    assert list((tmp_path / "cache").iterdir()) == []
    stale = tmp_path / "cache/.part-old"
    stale.mkdir()
    os.utime(stale, (1, 1))
    survey_and_cache(items, 32, folder=tmp_path / "cache")
    assert not stale.exists()


BUILD = """
import sys
from pathlib import Path
from decoupe.data.cache import survey_and_cache
from decoupe.data.sources import find
_, cache = survey_and_cache(find(sys.argv[1]), 32, folder=Path(sys.argv[2]))
print(cache.fingerprint, len(cache))
"""


def test_two_processes_may_build_at_once(tmp_path: Path, items: list[Item]) -> None:
    command = [sys.executable, "-c", BUILD, str(tmp_path / "in"), str(tmp_path / "cache")]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=60)[0] for process in both]
    assert outputs[0] == outputs[1] and outputs[0].endswith(" 9\n")
    assert len(list((tmp_path / "cache").iterdir())) == 1


MEMORY = """
import sys
from pathlib import Path
import numpy as np
from decoupe.data.cache import survey_and_cache
from decoupe.data.sources import Item
def now(name):
    lines = Path("/proc/self/status").read_text().split("\\n")
    return int(next(l for l in lines if l.startswith(name)).split()[1]) / 1024
path = Path(sys.argv[1])
items = [Item(path, str(i), box=(i % 7, i % 5, i % 7 + 32.0, i % 5 + 32.0)) for i in range(int(sys.argv[2]))]
survey_and_cache(items[:50], 64, folder=Path(sys.argv[3]))
before = now("VmHWM")
_, cache = survey_and_cache(items, 64, folder=Path(sys.argv[3]))
for start in range(0, len(cache), 64):
    cache[np.arange(start, min(start + 64, len(cache)))]
print(now("VmHWM") - before, cache.array.nbytes / 2**20)
"""


@pytest.mark.slow
def test_memory_stays_flat(tmp_path: Path) -> None:
    """8,000 rows are 94 MiB of cache; they are written and read again with a small part of that."""
    paths = [save(tmp_path / f"in/{i}.png", noise(48, 48, seed=i)) for i in range(2)]
    code = MEMORY.replace("Item(path,", "Item(path.parent / f'{i % 2}.png',")
    command = [sys.executable, "-c", code, str(paths[0]), "8000", str(tmp_path / "cache")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    grown, size = (float(word) for word in done.stdout.split())
    assert size > 90 and grown < 35


def test_the_default_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DECOUPE_CACHE", "/x/y")
    assert default_cache_folder() == Path("/x/y")
    monkeypatch.delenv("DECOUPE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/z")
    assert default_cache_folder() == Path("/z/decoupe")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_cache_folder() == Path.home() / ".cache/decoupe"


def test_untouched_files_are_not_even_read_again(
    tmp_path: Path, items: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only size and times are looked at, and one second of doubt about fresh files is kept."""
    read: list[Path] = []
    real = cache_module.open_plain
    monkeypatch.setattr(cache_module, "open_plain", lambda path: (read.append(path), real(path))[1])
    folder = tmp_path / "cache"
    mark = survey_and_cache(items, 32, folder=folder)[1].fingerprint
    assert survey_and_cache(items, 32, folder=folder)[1].fingerprint == mark and len(read) == 2 * len(items)
    monkeypatch.setattr(cache_module, "UNSETTLED", -1)  # as if the files were old
    survey_and_cache(items, 32, folder=folder)
    read.clear()
    assert survey_and_cache(items, 32, folder=folder)[1].fingerprint == mark and not read
    survey_and_cache(items[1:], 32, folder=folder)
    assert len(read) == len(items) - 1
    time = items[3].path.stat().st_mtime_ns
    save(items[3].path, noise(43, 50, seed=99))
    os.utime(items[3].path, ns=(time, time))  # size and time of writing may be the same as before
    read.clear()
    assert survey_and_cache(items, 32, folder=folder)[1].fingerprint != mark and len(read) == len(items)
    items[3].path.unlink()
    assert survey_and_cache(items, 32, folder=folder)[0].usable == len(items) - 1
