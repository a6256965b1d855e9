"""Broken and hostile files end in one plain line, in little memory, with nothing printed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from decoupe.data.decode import BadImage, image_size, read_image, read_mask
from decoupe.errors import Fault
from tests.data.files import gif_of, noise, npz_bomb, png_claiming, save, smooth, tiff_claiming


def _cut(name: str, keep: float) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / name
        if path.suffix == ".npy":
            np.save(path, noise(80, 80))
        else:
            save(path, noise(80, 80))
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
        return path

    return make


def _holding(name: str, content: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return make


def _linked(name: str, target: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).symlink_to(target)
        return folder / name

    return make


def _folder(folder: Path) -> Path:
    (folder / "x.jpg").mkdir()
    return folder / "x.jpg"


def _pipe(folder: Path) -> Path:
    os.mkfifo(folder / "x.png")
    return folder / "x.png"


def _pickled(folder: Path) -> Path:
    np.save(folder / "x.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return folder / "x.npy"


BROKEN: dict[str, tuple[Callable[[Path], Path], str]] = {
    "zero bytes": (_holding("x.jpg", b""), "empty file"),
    "text": (_holding("notes.jpg", "Grüße,\nnot a photo\n".encode()), r"not an image \(plain text\)"),
    "text like a bitmap": (_holding("x.bmp", b"BMW and other cars\n" * 20), r"not an image \(plain text\)"),
    "text like a pixmap": (_holding("x.jpg", b"P5 of the report is missing\n"), r"not an image \(plain text\)"),
    "web page": (_holding("x.jpg", b"<!DOCTYPE html><html>"), r"not an image \(web page\)"),
    "lfs": (_holding("x.jpg", b"version https://git-lfs.github.com/spec/v1\n"), "git lfs pull"),
    "zeros": (_holding("x.jpg", bytes(5000)), "only zero bytes"),
    "unknown": (_holding("x.jpg", bytes(range(256)) * 9), "unknown content"),
    "eps": (_holding("leaf.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"), "EPS"),
    "psd": (_holding("leaf.png", b"8BPS\0\1" + bytes(40)), "Photoshop"),
    "fits": (_holding("leaf.png", b"SIMPLE  =                    T"), "FITS"),
    "pdf": (_holding("leaf.png", b"%PDF-1.7\n"), "PDF"),
    "heic": (_holding("x.heic", b"\0\0\0\x18ftypheic\0\0\0\0"), "HEIC file: convert"),
    "zip": (_holding("x.png", b"PK\x05\x06" + bytes(18)), "zip archive"),
    "cut jpeg": (_cut("x.jpg", 0.5), "truncated after [1-9] kB"),
    "cut png": (_cut("x.png", 0.5), "truncated after 1[0-9] kB"),
    "cut tiff": (_cut("x.tif", 0.5), "(truncated after|damaged)"),
    "cut gif": (_cut("x.gif", 0.5), "truncated after"),
    "cut bmp": (_cut("x.bmp", 0.5), "truncated after 10 kB"),
    "cut webp": (_cut("x.webp", 0.5), "(truncated after|damaged)"),
    "cut npy": (_cut("x.npy", 0.5), "truncated after 10 kB"),
    "jpeg head only": (_holding("x.jpg", b"\xff\xd8\xff\xe0\0\x10JFIF"), "(truncated|damaged)"),
    "objects in npy": (_pickled, "pickled objects"),
    "folder": (_folder, "a folder, not a file"),
    "pipe": (_pipe, "not a plain file"),
    "gone": (lambda folder: folder / "none.jpg", "no such file"),
    "broken link": (_linked("x.jpg", "nowhere.jpg"), "broken link"),
    "loop": (_linked("x.jpg", "x.jpg"), "symlink loop"),
    "folder loop": (_linked("again", "."), "symlink loop"),
    "png 65535": (_holding("x.png", png_claiming(65535, 65535, 8, 2)), "65535x65535 is more than --max-pixels"),
    "tiff 65535": (_holding("x.tif", tiff_claiming(65535, 65535)), "65535x65535 is more than --max-pixels"),
    "tiff of many bands": (
        _holding("x.tif", tiff_claiming(9000, 9000, 60000)),
        "60000 bands is more than --max-pixels",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_files_are_named_in_one_line(tmp_path: Path, case: str, capfd: pytest.CaptureFixture[str]) -> None:
    make, reason = BROKEN[case]
    path = make(tmp_path)
    for read in (read_image, read_mask, image_size):
        if read is image_size and case.startswith("cut"):
            continue  # headers of cut files are whole
        with pytest.raises(BadImage, match=reason) as caught:
            read(path)
        assert "\n" not in str(caught.value) and str(path) in str(caught.value)
        assert len(caught.value.reason) < 160
    assert capfd.readouterr() == ("", "")


def test_permissions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "a.png")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(BadImage, match="permission denied"):
        read_image(path)


def test_extra_frames_cost_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.gif").write_bytes(gif_of(100_000))
    assert read_image(tmp_path / "a.gif").shape == (8, 8, 3)


def test_large_photos_do_not_warn_and_settings_come_back(tmp_path: Path) -> None:
    limit = Image.MAX_IMAGE_PIXELS
    (tmp_path / "a.png").write_bytes(png_claiming(9500, 9500, filled=True))
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        assert image_size(tmp_path / "a.png") == (9500, 9500)
        with pytest.raises(BadImage, match="--max-pixels 1000"):
            read_image(tmp_path / "a.png", max_pixels=1000)
    assert not seen and limit == Image.MAX_IMAGE_PIXELS


MEASURE = """
import json, resource, sys
from pathlib import Path
from decoupe.data.decode import read_image
from decoupe.errors import Fault
def peak():
    lines = Path("/proc/self/status").read_text().split("\\n")
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024
before, out = peak(), {}
for name in sys.argv[2:]:
    try:
        out[name] = list(read_image(Path(name), max_pixels=int(sys.argv[1])).shape)
    except Fault as fault:
        out[name] = str(fault)
assert not {f"PIL.{name}ImagePlugin" for name in ("Eps", "Psd", "Fits", "Pdf", "Ico")} & set(sys.modules)
print(json.dumps([peak() - before, out]))
"""


def measure(limit: int, *paths: Path) -> tuple[float, dict[str, object]]:
    """Extra peak memory (MiB) of a process that reads these files, and what came of each."""
    command = [sys.executable, "-W", "error", "-c", MEASURE, str(limit), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    assert done.stderr == ""
    extra, results = json.loads(done.stdout)
    return extra, results


@pytest.mark.slow
def test_bombs_stay_within_the_limit(tmp_path: Path) -> None:
    files = {
        "one_bit.png": png_claiming(13_000, 13_000, filled=True),
        "colour.png": png_claiming(13_000, 13_000, 8, 2, filled=True),
        "claim.tif": tiff_claiming(65535, 65535),
        "frames.gif": gif_of(100_000),
        "claim.npy": b"\x93NUMPY\1\0\x46\0"
        + b"{'descr': '|u1', 'fortran_order': False, 'shape': (60000, 60000), }".ljust(69)
        + b"\n",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    npz_bomb(tmp_path / "zeros.npz", 400_000_000)
    paths = [tmp_path / name for name in (*files, "zeros.npz")]
    extra, results = measure(10_000_000, *paths)
    assert extra < 200
    refused = {Path(name).name: text for name, text in results.items() if "--max-pixels" in str(text)}
    assert set(refused) == {"one_bit.png", "colour.png", "claim.tif", "claim.npy", "zeros.npz"}
    extra, results = measure(178_956_970, *paths[:2])
    assert extra < 200
    assert all("decompression bomb" in str(text) for text in results.values())


def test_a_large_photo_costs_eight_bytes_a_pixel(tmp_path: Path) -> None:
    Image.fromarray(np.tile(noise(64, 64), (80, 80, 1))).save(tmp_path / "a.png", compress_level=1)
    pixels = (80 * 64) ** 2
    extra, results = measure(pixels, tmp_path / "a.png")
    assert list(results.values()) == [[5120, 5120, 3]]
    assert extra < 8 * pixels / 2**20 + 60


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["jpg", "png", "tif", "gif", "bmp", "webp", "npy", "npz", "ppm"]),
    st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=6),
    st.integers(0, 4000),
)
def test_no_damage_gets_past(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, changes: list[tuple[int, int]], keep: int
) -> None:
    folder = tmp_path_factory.getbasetemp() / "damage"
    folder.mkdir(exist_ok=True)
    path = folder / f"a.{suffix}"
    if suffix in ("npy", "npz"):
        (np.save if suffix == "npy" else np.savez)(path, smooth(20, 20))
    else:
        save(path, smooth(20, 20))
    content = bytearray(path.read_bytes())
    for position, value in changes:
        content[position % len(content)] = value
    path.write_bytes(content[: max(1, keep)])
    try:
        pixels = read_image(path, max_pixels=100_000)
    except Fault as fault:
        assert "\n" not in str(fault)
    else:
        assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[0] * pixels.shape[1] <= 100_000


def test_a_name_that_is_too_long_is_said(tmp_path: Path) -> None:
    """Found by fuzzing: a key of an LMDB store is a path here."""
    with pytest.raises(BadImage, match="too long"):
        read_image(tmp_path / ("x" * 300))


def test_a_mask_is_no_larger_than_its_bytes_can_hold(tmp_path: Path) -> None:
    """Found by fuzzing: 6 kB claimed 134 million pixels, and their class numbers took 1.1 GB."""
    path = tmp_path / "a.tif"
    path.write_bytes(tiff_claiming(12_000, 12_000, 1))
    with pytest.raises(BadImage, match="decompression bomb"):
        read_mask(path)
    plain = save(tmp_path / "even.png", np.zeros((6000, 6000), np.uint8))
    assert plain.stat().st_size < 100_000 and read_mask(plain).shape == (6000, 6000), "even masks are small"
