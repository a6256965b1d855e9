"""A disk that fails at any moment costs no run: a sample of the sweep in rig.py, spread over all of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.rig import KINDS, Point, Rig, points, reference, verdict

SAMPLE = 8


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> tuple[bytes, int]:
    """What a run ends with when nothing happens, and how often it wrote, synced and renamed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DECOUPE_CACHE", "unused")
        return reference(photos, tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize("part", range(SAMPLE))
@pytest.mark.slow
def test_no_run_is_lost_or_wrong(
    whole: tuple[bytes, int], photos: Path, tmp_path: Path, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DECOUPE_CACHE", str(tmp_path))  # restored afterwards: the sweep sets its own
    expected, operations = whole
    sweep = points(operations)
    point = sweep[(2 * part + 1) * len(sweep) // (2 * SAMPLE)]
    assert verdict(photos, tmp_path, point, expected) in ("went on", "began anew")


def test_a_second_fault_while_recovering(
    whole: tuple[bytes, int], photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DECOUPE_CACHE", str(tmp_path))
    expected, operations = whole
    point = Point(operations // 2, "broken", False, 5)
    assert verdict(photos, tmp_path, point, expected) == "went on"


def test_the_sweep_has_every_operation_and_kind_and_the_rig_counts_them(
    whole: tuple[bytes, int], tmp_path: Path
) -> None:
    sweep = points(whole[1])
    assert {(p.first, p.kind) for p in sweep} == {(n, kind) for n in range(1, whole[1] + 1) for kind in KINDS}
    assert whole[1] > 50 and sum(p.second > 0 for p in sweep) > len(sweep) // 20
    rig = Rig(at=2, kind="full")
    with rig.installed(), pytest.raises(OSError, match="No space"), (tmp_path / "a").open("wb") as file:
        file.write(b"1234")
        file.write(b"5678")
    assert (tmp_path / "a").read_bytes() == b"123456" and rig.seen == 2
