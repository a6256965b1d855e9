"""Claims: what the runs decide, what they leave open, and what is said of it."""

from __future__ import annotations

import math
from typing import Any

import pytest

from decoupe.reproduce.claims import (
    as_good,
    below,
    collapses,
    less_often,
    never_collapses,
    sometimes_collapses,
    student,
)
from decoupe.reproduce.table import Spread

BASELINE: Spread = {"iou": (0.02, 4)}


def result(
    name: str, iou: float | None, doubt: float | None = None, lost: tuple[int, int] = (0, 3), runs: int | None = 3
) -> dict[str, Any]:
    return {
        "row": name, "selection": "selected", "matching": "hungarian", "metrics": {"iou": iou},
        "uncertainty": {"iou": doubt}, "n_runs": runs,
        "collapsed": {"n": lost[0], "of": lost[1], "rate": lost[0] / lost[1]},
    }  # fmt: skip


FOUND: tuple[tuple[Any, ...], ...] = (
    ("high", 0.7, 0.03),
    ("low", 0.5, 0.03),
    ("near", 0.68, 0.03),
    ("gone", None, None, (3, 3), 0),
    ("half", 0.6, 0.03, (3, 6)),
    ("one", 0.7, None, (0, 1), 1),
    ("other", 0.56, None, (0, 1), 1),
    ("beside", 0.66, None, (0, 1), 1),
    ("lost", None, None, (1, 1), 0),
    ("ten", 0.7, 0.03, (0, 10), 10),
    ("ten, one lost", 0.7, 0.03, (1, 10), 9),
    ("ten, four lost", 0.7, 0.03, (4, 10), 6),
    ("pixels", 0.3, 0.01, (0, 1), None),
)
ROWS = {name: [result(name, *rest)] for name, *rest in FOUND}


@pytest.mark.parametrize(
    ("low", "high", "holds"),
    [
        ("low", "high", True), ("high", "low", False),
        ("near", "high", None),  # .02 apart, each known to .03
        ("gone", "high", True), ("high", "gone", False),
        ("gone", "gone", None), ("lost", "high", None), ("high", "lost", None),  # one run that collapsed is one run
        ("absent", "high", None), ("other", "one", None), ("pixels", "low", True), ("pixels", "one", None),
    ],
)  # fmt: skip
def test_lower_figures(low: str, high: str, holds: bool | None) -> None:
    assert below(low, high)(ROWS).holds is holds


@pytest.mark.parametrize(
    ("one", "other", "margin", "holds"),
    [
        ("low", "high", 0.02, False), ("high", "low", 0.02, True), ("near", "high", 0.1, True),
        ("near", "high", 0.02, None), ("high", "near", 0.02, None),  # .02 above, but known to .042
        ("gone", "high", 0.02, False), ("high", "gone", 0.02, True), ("one", "other", 0.02, None),
    ],
)  # fmt: skip
def test_figures_as_good(one: str, other: str, margin: float, holds: bool | None) -> None:
    assert as_good(one, other, margin=margin)(ROWS).holds is holds


def test_single_seeds_are_compared_by_the_spread_of_the_first_row_or_not_at_all() -> None:
    found = below("other", "one")(ROWS)
    assert found.holds is None and found.why == "difference +0.140; one seed: too few"
    reach = 3.182446305284263 * 0.02 * math.sqrt(2)  # t with 3 degrees of freedom, two single runs
    found = below("other", "one")(ROWS, BASELINE)
    assert found.holds is True and f"±{reach:.3f}" in found.why and "4 seeds of the first row" in found.why
    assert below("beside", "one")(ROWS, BASELINE).holds is None  # .04 apart
    assert below("other", "one")(ROWS, {"iou": (0.02, 2)}).holds is None  # two runs have no spread to speak of
    assert below("other", "one")(ROWS, {"accuracy": (0.02, 4)}).holds is None


def test_students_factor() -> None:
    """Published two-sided values at 5 %."""
    assert [round(student(n), 3) for n in (2, 3, 4, 10)] == [12.706, 4.303, 3.182, 2.262]


def test_every_run_or_none_takes_three_to_hold_and_one_to_fail() -> None:
    assert collapses("gone")(ROWS).holds is True and collapses("half")(ROWS).holds is False
    assert collapses("one")(ROWS).holds is False  # a counterexample
    seen = collapses("lost")(ROWS)
    assert seen.holds is None and seen.why == "lost: 1 of 1 run collapsed" and seen.collapse
    assert never_collapses("high", "low")(ROWS).holds is True
    assert never_collapses("high", "half")(ROWS).holds is False and never_collapses("lost")(ROWS).holds is False
    seen = never_collapses("high", "one")(ROWS)
    assert seen.holds is None and seen.why == "high: 0 of 3 runs collapsed; one: 0 of 1 run collapsed"
    assert never_collapses("high", "absent")(ROWS).holds is None and collapses("absent")(ROWS).holds is None


def test_some_seeds_collapse_at_once_or_not_at_the_texts_rate() -> None:
    assert sometimes_collapses("half", 0.35)(ROWS).holds is True
    assert sometimes_collapses("lost", 0.35)(ROWS).holds is True
    assert sometimes_collapses("high", 0.35)(ROWS).holds is None  # .65^3 = 27 %
    refuted = sometimes_collapses("ten", 0.35)(ROWS)
    assert refuted.holds is False and "chance of 1%" in refuted.why
    assert sometimes_collapses("absent", 0.35)(ROWS).holds is None


def test_two_rates_by_fishers_exact_test() -> None:
    """0 of 10 against 4 of 10: 210 / 4845 = .0433; against 1 of 10: 1/2."""
    assert less_often("ten", "ten, one lost")(ROWS).holds is None
    assert "p = 0.500" in less_often("ten", "ten, one lost")(ROWS).why
    found = less_often("ten", "ten, four lost")(ROWS)
    assert found.holds is True and "p = 0.043" in found.why
    assert less_often("ten, four lost", "ten")(ROWS).holds is False
    assert less_often("high", "gone")(ROWS).holds is True  # 1/20
    assert less_often("ten", "absent")(ROWS).holds is None
