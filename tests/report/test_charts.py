"""Curves stay inside their frame, whatever the numbers."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decoupe.report.charts import HEIGHT, POINTS, WIDTH, Series, draw, short, tick_texts, ticks

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
    ("value", "text"),
    [
        (0, "0"), (999, "999"), (999.6, "1,000"), (1000, "1,000"), (5000, "5,000"), (9994, "9,994"), (9999.6, "10k"),
        (12345, "12.3k"), (123456, "123k"), (999_600, "1M"), (2e6, "2M"), (1.5e9, "1.5G"), (0.03125, "0.0312"),
        (-1.5, "-1.5"), (-5000, "-5,000"), (0.0001, "0.0001"), (0.00003125, "3.1e-5"), (1e-5, "1e-5"),
    ],
)  # fmt: skip
def test_short(value: float, text: str) -> None:
    assert short(value) == text


@given(st.floats(1e-3, 9.9e14), st.booleans())
def test_short_numbers_are_short_near_and_without_powers_of_ten(size: float, negative: bool) -> None:
    value = -size if negative else size
    text = short(value)
    unit = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}.get(text[-1], 1.0)
    assert len(text) <= 7 and "e" not in text
    assert float(text.rstrip("kMGT").replace(",", "")) * unit == pytest.approx(value, rel=0.0051)


@pytest.mark.parametrize(
    ("last", "texts"),
    [
        (900, ["0", "250", "500", "750"]),
        (4000, ["0", "1,000", "2,000", "3,000", "4,000"]),
        (15_000, ["0", "5k", "10k", "15k"]),
        (10_000, ["0", "2.5k", "5k", "7.5k", "10k"]),
        (120_000, ["0", "50k", "100k"]),
        (2e6, ["0", "0.5M", "1M", "1.5M", "2M"]),
        (0.02, ["0", "0.005", "0.01", "0.015", "0.02"]),
    ],
)
def test_an_axis_has_round_numbers_of_one_unit(last: float, texts: list[str]) -> None:
    assert tick_texts(ticks(0, last)) == texts
    chart = draw("loss", "", [Series("x", [0, last], [0, last])])
    assert chart is not None
    if last >= 1:  # images are counted whole
        assert [tick.text for tick in chart.x_ticks] == texts
