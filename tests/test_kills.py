"""`segment` killed at random moments ends with the files of one left alone: benchmarks/kills.py, small."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_three_times_nothing_is_lost_and_nothing_done_twice(tmp_path: Path, root: Path) -> None:
    torture = runpy.run_path(str(root / "benchmarks/kills.py"))["torture"]
    found = torture(tmp_path, 200, 3, 16, seed=1)
    assert found["equal"] and found["files"] == 200 + 2
    assert any(0 < done < 200 for done in found["at"])  # when a kill comes is up to the machine
    assert max(found["written_again"]) <= 4, "a file in flight for each thread, and one that waits for its turn"
