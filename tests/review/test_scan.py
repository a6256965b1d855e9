"""The look at every photo: its measures against slow ones, its crops, and what another session takes up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from decoupe.review.scan import UNREAD, best_box, measures
from tests.review.serving import looked, serving


def test_measures_against_loops() -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.dirichlet([0.5] * 3, (4, 8, 8)).transpose(0, 3, 1, 2).astype(np.float32) for _ in range(2))
    sure, off = measures(a, b)
    for n in range(4):
        most, low, high = 0.0, 0.0, 0.0
        for y, x in np.ndindex(8, 8):
            most += max(a[n, :, y, x])
            low += sum(min(a[n, k, y, x], b[n, k, y, x]) for k in range(3))
            high += sum(max(a[n, k, y, x], b[n, k, y, x]) for k in range(3))
        assert sure[n] == pytest.approx(most / 64, abs=1e-5) and off[n] == pytest.approx(1 - low / high, abs=1e-5)
    assert measures(a, a)[1] == pytest.approx(0, abs=1e-6)


def test_the_crop_is_the_largest_part() -> None:
    labels = np.zeros((20, 40), int)
    labels[2:5, 3:6] = 1
    labels[10:18, 20:36] = 1
    probs = np.stack([1 - 0.8 * (labels == 1), 0.8 * (labels == 1)]).astype(np.float32)
    sure, box = best_box(probs, labels, 1)  # type: ignore[misc]
    assert sure == pytest.approx(0.8) and box == [0.5, 0.5, 0.9, 0.9]
    assert best_box(probs, np.zeros((20, 40), int), 1) is None


def test_a_scan_is_taken_up_by_the_next_session(run: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path = run("four")
    with serving(path) as served:
        looked(served)
        scores, crops = served.get("/api/scores?all=1").json(), served.get("/api/regions").json()["regions"]
    assert scores["done"] == 30 and min(scores["confidence"]) >= 0
    assert abs(sum(region["share"] for region in crops) - 1) < 1e-3 and all(region["crops"] for region in crops)
    monkeypatch.setattr("decoupe.review.scan.Scan.look", lambda *_: pytest.fail("looked twice"))
    with serving(path) as served:
        assert served.get("/api/scores?all=1").json() == scores
        assert served.get("/api/regions").json()["regions"] == crops


def test_a_damaged_or_foreign_memory_of_the_scan_is_forgotten(run: Callable[[str], Path]) -> None:
    path = run("two")
    cache = path / "review" / "cache"
    cache.mkdir(parents=True)
    for text in (b"", b"{", b'{"mark": "x"}', b"[]"):
        (cache / "scan.json").write_bytes(text)
        with serving(path, scan=False) as served:
            assert served.desk.scan.done == 0


def test_a_photo_that_cannot_be_read_is_shown_as_such(
    run: Callable[[str], Path], pictures: Path, tmp_path: Path
) -> None:
    import shutil

    folder = Path(shutil.copytree(pictures, tmp_path / "photos"))
    (folder / "p01.png").write_bytes(b"\x89PNG\r\n\x1a\nand then nothing")
    with serving(run("two"), folder) as served:
        looked(served)
        number = [photo.key for photo in served.desk.album.photos].index("p01")
        assert served.desk.scan.confidence[number] == UNREAD
        assert served.get("/api/photos").json()["confidence"][number] == -2
        for address in (
            f"/photo/{number}/thumb.jpg",
            f"/mask/{number}/view.png",
            f"/labels/{number}",
            f"/api/layers/{number}",
        ):
            reply = served.get(address)
            assert reply.status == 409 and "\n" not in reply.json()["error"]
        assert served.post(f"/api/judge/{number}", {"verdict": "rejected"}).status == 200
        assert served.post(f"/api/judge/{number}", {"verdict": "accepted"}).status == 409
