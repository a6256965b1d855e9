"""Later frames of a GIF may enlarge its canvas: what that comes to is known before they are decoded."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from decoupe.data.decode import BadImage, read_image
from decoupe.data.gif import extent


def animated(frames: int = 3, wide: int = 20, high: int = 12) -> bytes:
    rng = np.random.default_rng(0)
    pictures = [Image.fromarray(rng.integers(0, 256, (high, wide), np.uint8)) for _ in range(frames)]
    target = io.BytesIO()
    pictures[0].save(target, "GIF", save_all=True, append_images=pictures[1:], comment=b"x" * 700, disposal=2)
    return target.getvalue()


def moved(data: bytes, frame: int, x: int, y: int, wide: int, high: int) -> bytes:
    """The GIF with another place and size written over those of one frame."""
    places = [i for i in range(len(data) - 9) if data[i : i + 1] == b"," and data[i + 5 : i + 9] == SIZE]
    at = places[frame]
    return data[: at + 1] + struct.pack("<HHHH", x, y, wide, high) + data[at + 9 :]


SIZE = struct.pack("<HH", 20, 12)


def test_frames_inside_the_canvas_leave_it(tmp_path: Path) -> None:
    data = animated()
    (tmp_path / "a.gif").write_bytes(data)
    stream = io.BytesIO(data)
    stream.seek(5)
    assert extent(stream) == (12, 20) and stream.tell() == 5
    assert [read_image(tmp_path / "a.gif", frame=n).shape[:2] for n in range(3)] == [(12, 20)] * 3
    with pytest.raises(BadImage, match="no frame 3"):
        read_image(tmp_path / "a.gif", frame=3)


@pytest.mark.parametrize("frame", [1, 2])
def test_a_frame_that_enlarges_the_canvas_counts(frame: int, tmp_path: Path) -> None:
    data = moved(animated(), frame, 100, 50, 20, 12)
    assert extent(io.BytesIO(data)) == (62, 120)
    (tmp_path / "a.gif").write_bytes(data)
    assert read_image(tmp_path / "a.gif").shape[:2] == (12, 20), "the first frame is as large as before"
    assert read_image(tmp_path / "a.gif", frame=2).shape[:2] == (62, 120)
    with pytest.raises(BadImage, match="120x62 is more than --max-pixels 7000"):
        read_image(tmp_path / "a.gif", frame=2, max_pixels=7000)


@pytest.mark.parametrize("place", [(60_000, 60_000, 20, 12), (0, 0, 65_535, 65_535)])
def test_a_frame_far_away_is_refused_before_memory_is_taken(place: tuple[int, int, int, int], tmp_path: Path) -> None:
    """Either the canvas grows by gigabytes, or what the frame is disposed to does."""
    (tmp_path / "a.gif").write_bytes(moved(animated(), 1, *place))
    assert read_image(tmp_path / "a.gif").shape[:2] == (12, 20)
    for frame in (1, 2):
        with pytest.raises(BadImage, match="max-pixels"):
            read_image(tmp_path / "a.gif", frame=frame)


def test_a_file_that_stops_early_counts_as_far_as_it_goes() -> None:
    data = moved(animated(), 1, 100, 50, 20, 12)
    sizes = [extent(io.BytesIO(data[:length])) for length in range(len(data) + 1)]
    assert {*sizes} == {(0, 0), (12, 20), (62, 120)} and sizes == sorted(sizes)
