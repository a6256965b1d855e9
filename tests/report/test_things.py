"""The report of a run that counts: numbered things, their number, their sizes, and what the generator makes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

import decoupe
from decoupe.engine.progress import Silent
from decoupe.report import render
from decoupe.report.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, bars
from tests.methods.independence.cluster.test_task import TINY, picture
from tests.report.test_report import Reader


def test_bars_stand_on_the_axis_and_are_as_high_as_their_numbers() -> None:
    chart = bars("Sizes", "in pixels", [10, 12, 14, 16], [4, 0, 8])
    (x0, _, w0, h0), (_, _, _, h1), (x2, y2, w2, h2) = chart.boxes
    assert h1 == 0 and h0 * 2 == pytest.approx(h2) and h2 == HEIGHT - BOTTOM - TOP and y2 == TOP
    assert x0 == LEFT + 1 and x2 + w2 == pytest.approx(WIDTH - RIGHT - 1, abs=0.2) and w0 == w2
    assert chart.summary == "Sizes: 10 to 12: 4; 12 to 14: 0; 14 to 16: 8"
    assert [tick.text for tick in chart.x_ticks] == ["10", "12", "14", "16"]
    assert all(tick.text.isdigit() for tick in chart.y_ticks)


@pytest.mark.parametrize("source", ["cutouts", "provider"])
def test_the_page_shows_count_sizes_and_samples(tmp_path: Path, source: str) -> None:
    image, _ = picture()
    Image.fromarray(image).save(tmp_path / "disks.png")
    model = decoupe.fit(
        "independence", tmp_path / "disks.png", run=tmp_path / "run", reporter=Silent(), precision="fp32",
        **TINY | {"source": source},
    )  # fmt: skip
    page = render(model.run)
    said = " ".join(Reader(page).text)
    counted = model.count(image)
    assert f"{counted.count:,} things, give or take {counted.spread:.0f}" in said
    assert "composites it learns from" in said
    assert ("a walk from one z to another" in said) == (source == "provider")
    if counted.count:  # a network trained for a moment may find none
        heights = [float(h) for h in re.findall(r'<rect class="value own"[^>]*height="([\d.]+)"', page)]
        assert len(heights) == 10 and max(heights) > 0


def test_an_image_that_is_gone_leaves_a_sentence(tmp_path: Path) -> None:
    image, _ = picture()
    Image.fromarray(image).save(tmp_path / "disks.png")
    model = decoupe.fit("independence", tmp_path / "disks.png", run=tmp_path / "run", reporter=Silent(), **TINY)
    (tmp_path / "disks.png").unlink()
    assert "The image is not where it was" in " ".join(Reader(render(model.run)).text)
