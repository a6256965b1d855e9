"""`decoupe data pack`, and every command on what it writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from decoupe.cli import main
from tests.tiny import TINY


def test_data_pack_writes_shards_that_every_command_reads(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["data", "pack", str(photos), "--out", "shards"]) == 0
    assert "12 images in 1 shard in shards/" in capsys.readouterr().out
    for source in ("shards", "shards/000000.tar", f"file://{tmp_path}/shards", f"file://{tmp_path}/shards/*.tar"):
        assert main(["data", "check", source]) == 0
        assert "12 images · 12 usable" in capsys.readouterr().out
    tiny = [word for key, value in TINY["baselines"].items() for word in (f"--{key.replace('_', '-')}", str(value))]
    assert main(["fit", "baselines", "--images", "shards", "--run", "packed", *tiny]) == 0
    assert main(["segment", "packed", "shards", "--out", "masks"]) == 0
    stems = {path.stem for path in photos.rglob("*.png")}
    assert {path.stem for path in (tmp_path / "masks").rglob("*.png")} == stems and len(stems) == 12
