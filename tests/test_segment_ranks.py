"""Several processes share the photos of one `segment`; together they give what one gives."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from decoupe.errors import Fault
from decoupe.export import OF_MASKS, Record
from decoupe.export.ledger import Ledger
from decoupe.segment import segment
from tests.bright import Bright
from tests.test_segment import digests, folder

__all__ = ["folder"]

RANK = """
import sys
from pathlib import Path
from decoupe.export import OF_MASKS
from decoupe.segment import segment
from tests.bright import Bright
done = segment(Bright(), sys.argv[1], Path(sys.argv[2]), OF_MASKS)
print(done["images"], done["written"])
"""


def _rank(rank: int, size: int, folder: Path, out: Path, root: Path) -> subprocess.Popen[str]:
    environment = os.environ | {"RANK": str(rank), "WORLD_SIZE": str(size)}
    command = [sys.executable, "-c", RANK, str(folder), str(out)]
    return subprocess.Popen(command, env=environment, cwd=root, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_ranks_share_the_images_and_give_what_one_process_gives(folder: Path, tmp_path: Path, root: Path) -> None:
    """Together, one killed and started again, and a process alone that finds everything done."""
    segment(Bright(), folder, tmp_path / "straight", OF_MASKS)
    out = tmp_path / "out"
    working = [_rank(rank, 3, folder, out, root) for rank in range(2)]  # the third has not begun
    assert [process.wait() for process in working] == [0, 0]
    assert not (out / "coco.json").exists() and not (out / "measures.csv").exists()
    third = _rank(2, 3, folder, out, root)
    told = [process.communicate()[0].split() for process in (*working, third)]
    assert third.returncode == 0 and sum(int(images) for images, _ in told) == 11
    assert digests(out) == digests(tmp_path / "straight")
    assert segment(Bright(), folder, out, OF_MASKS)["written"] == 0
    assert digests(out) == digests(tmp_path / "straight")


def test_records_of_ranks_of_another_model_are_forgotten(folder: Path, tmp_path: Path) -> None:
    """Masks that another model replaced are never taken for this one's."""
    stamps = [{"weights": name} for name in ("a", "b")]
    with Ledger(tmp_path, stamps[0], rank=0) as ledger:
        ledger.add(Record("x", "x.png", (4, 4), None), "from", {"png": 10})
        assert ledger.end("work", 1) and not ledger.end("work", 2)
    with Ledger(tmp_path, stamps[0], rank=1) as ledger:
        assert ledger.done("x", "from") == {"png": 10}
        assert list(ledger.records("png", ["x"])) == [Record("x", "x.png", (4, 4), 10)]
        assert ledger.end("work", 2)
        with pytest.raises(Fault, match="another segment"), Ledger(tmp_path, stamps[0], rank=1):
            pass
        with pytest.raises(Fault, match="another segment"), Ledger(tmp_path, stamps[0]):
            pass
    with Ledger(tmp_path, stamps[1]) as ledger:
        assert ledger.replaced and ledger.done("x", "from") == {}
    with Ledger(tmp_path, stamps[0], rank=0) as ledger:
        assert ledger.replaced and ledger.done("x", "from") == {}
