"""Crops of each region where it is surest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import decoupe
from decoupe.report import report
from decoupe.report.montage import EACH, TITLE, montage, windows


def test_the_surest_window_is_found() -> None:
    probs = np.full((2, 32, 32), 0.2, np.float32)
    probs[1, 8:16, 20:28] = 0.9
    values, places, side = windows(probs)
    assert side == 8 and places[1].tolist() == [8, 20] and values[1] == pytest.approx(0.9)
    assert values[0] == pytest.approx(0.2)


def test_each_region_shows_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three flat colours: crops of a region are of its colour; the page shows a row for each."""
    monkeypatch.setenv("DECOUPE_CACHE", str(tmp_path / "cache"))
    tones = np.array([[220, 30, 30], [30, 200, 30], [30, 30, 220]], np.uint8)
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for index in range(7):
        which = np.repeat(np.repeat(rng.integers(0, 3, (3, 3)), 32, 0), 32, 1)
        Image.fromarray(tones[which]).save(tmp_path / f"photos/{index}.png")
    model = decoupe.fit("baselines", tmp_path / "photos", run=tmp_path / "run", kind="kmeans-1x1", k=3, size=64)
    cards = montage(model, str(tmp_path / "photos"))
    assert [card.name for card in cards] == list(model.names)
    assert all(1 <= len(card.panes) <= EACH for card in cards)
    assert all(float(card.panes[0].title) >= float(card.panes[-1].title) for card in cards)
    assert float(cards[0].panes[0].title) > 0.95
    page = report(tmp_path / "run").read_text()
    assert TITLE in page and all(f"{name}: crop of" in page for name in model.names)
    two = decoupe.fit("baselines", tmp_path / "photos", run=tmp_path / "two", kind="kmeans-1x1", k=2, size=64)
    assert montage(two, str(tmp_path / "photos")) == []
