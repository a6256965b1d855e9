"""The photos that a report of unlabelled photos shows are spread evenly, whatever their number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from decoupe.report import photos


def test_first_middle_and_last_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(9):
        Image.fromarray(np.full((4, 4, 3), number, np.uint8)).save(tmp_path / f"{number}.png")
    monkeypatch.setattr(photos, "POOL", 3)
    assert [(path.name, key) for path, _, key in photos._spread(str(tmp_path))] == [
        ("0.png", "0"), ("4.png", "4"), ("8.png", "8"),
    ]  # fmt: skip
    monkeypatch.setattr(photos, "POOL", 20)
    assert len(photos._spread(str(tmp_path))) == 9, "fewer than that: each once"
