"""Small finished runs to review."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.tiny import photos

pytest.importorskip("starlette", reason="the extra is not installed: pip install decoupe[review]")
pytest.importorskip("uvicorn", reason="the extra is not installed: pip install decoupe[review]")


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty photos of a bright disc, 96 x 72 px."""
    folder = tmp_path_factory.mktemp("review") / "photos"
    (folder / "more").mkdir(parents=True)
    for number, image in enumerate(photos(30, size=96, seed=4)):
        place = folder / "more" if number % 3 == 2 else folder
        Image.fromarray(image.transpose(1, 2, 0)[12:84]).save(place / f"p{number:02d}.png")
    return folder


@pytest.fixture(scope="session")
def _fitted(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    from decoupe.fit import fit

    runs = tmp_path_factory.mktemp("reviewed")
    for name, kind, options in (("four", "kmeans-1x1", {"k": 4}), ("two", "otsu", {})):
        fit("baselines", pictures, run=runs / name, kind=kind, size=32, **options)
    return {name: runs / name for name in ("four", "two")}


@pytest.fixture
def run(_fitted: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    """A fresh copy of a run: `four` regions, or `two` (object and background)."""
    return lambda name: Path(shutil.copytree(_fitted[name], tmp_path / "runs" / name))


def disc(height: int, width: int, y: float, x: float, radius: float) -> np.ndarray:
    """(H, W) bool."""
    rows, columns = np.mgrid[:height, :width]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2
