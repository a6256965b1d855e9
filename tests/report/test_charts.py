"""Curves stay inside their frame, whatever the numbers."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decoupe.report.charts import HEIGHT, POINTS, WIDTH, Series, draw, short, ticks

numbers = st.floats(allow_nan=True, allow_infinity=True, width=32)


@given(st.lists(numbers, min_size=1, max_size=400), st.booleans())
def test_every_point_is_inside(values: list[float], staged: bool) -> None:
    stage = ["a" if i < 100 else "b" for i in range(len(values))] if staged else []
    chart = draw("loss", "", [Series("x", list(range(len(values))), values, stage)])
    if chart is None:
        assert not any(math.isfinite(v) for v in values)
        return
    for line in chart.lines:
        points = re.findall(r"[ML](\S+) ([^ML]+)", line.path)
        assert 0 < len(points) <= POINTS
        assert all(0 <= float(x) <= WIDTH and 0 <= float(y) <= HEIGHT for x, y in points)
    assert all(0 <= tick.at <= HEIGHT for tick in chart.y_ticks)


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_are_inside_and_few(low: float, span: float) -> None:
    found = ticks(low, low + span)
    assert len(found) <= 6
    assert all(low - 1e-6 * abs(low) - span * 1e-6 <= t <= low + span * (1 + 1e-6) + 1e-6 * abs(low) for t in found)


def test_stages_break_the_curve_and_the_picked_moment_is_marked() -> None:
    x = [10.0 * i for i in range(20)]
    stage = ["teacher"] * 10 + ["student"] * 10
    chart = draw("score", "", [Series("s", x, [0.5] * 20, stage)], mark=(130.0, "picked: image 130"))
    assert chart is not None and chart.lines[0].path.count("M") == 2
    assert [tick.text for tick in chart.stages] == ["student"]
    assert chart.mark is not None and chart.mark[2] == "picked: image 130" and "picked" in chart.summary


def test_names_of_curves_do_not_overlap() -> None:
    chart = draw("areas", "", [Series(f"r{k}", [0, 1], [0.5, 0.5]) for k in range(6)], (0, 1))
    assert chart is not None
    heights = sorted(line.label_y for line in chart.lines)
    assert min(b - a for a, b in zip(heights, heights[1:], strict=False)) >= 10


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (12345, "12.3k"), (0.03125, "0.0312"), (2e6, "2M"), (-1.5, "-1.5")]
)
def test_short(value: float, text: str) -> None:
    assert short(value) == text
