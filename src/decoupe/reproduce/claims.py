"""How the runs decide a text's conclusions: collapse by counting, figures by their spread over seeds.

Every check says what it saw. `not decided` (None) where the runs are too few, or where chance could have made what was
seen; a counterexample decides whatever the number of runs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from decoupe.reproduce.table import Check, Rows, Spread, Verdict

ENOUGH = 3
"""Runs below which what was seen is not taken for what always happens."""
CHANCE = 0.05
"""A verdict is one that chance alone would bring about at most this often."""
NO_SPREAD: Spread = {}
Counted = Mapping[str, Any]


def figures(rows: Mapping[str, Rows], name: str, selection: str = "selected") -> Mapping[str, Any] | None:
    """The result row of `name` with one honest assignment for the whole set; None if not measured."""
    found = [row for row in rows.get(name, ()) if row["matching"] != "per-image-flip"]
    return next((row for row in found if row["selection"] == selection), found[0] if found else None)


def student(n: int) -> float:
    """Student's t with n - 1 degrees of freedom at 97.5 %: half a 95 % interval of a mean is t s / sqrt(n)."""
    from scipy.stats import t

    return float(t.ppf(1 - CHANCE / 2, n - 1))


# ------------------------------------------------------------------ figures


class _Side(NamedTuple):
    """One side of a comparison."""

    value: float | None
    runs: int | None
    """Runs behind the value; None: what needs no training, and has no seed."""
    doubt: float | None
    """Half the 95 % interval of the value."""
    lost: tuple[int, int]
    """(runs that collapsed, runs)"""

    @property
    def gone(self) -> bool:
        """Whether all its runs collapsed, and enough of them to say so."""
        return self.lost[0] == self.lost[1] >= ENOUGH

    @property
    def few(self) -> bool:
        return self.runs is not None and self.runs < ENOUGH


def _side(rows: Mapping[str, Rows], name: str, column: str) -> _Side | None:
    row = figures(rows, name)
    if row is None:
        return None
    lost = row.get("collapsed") or {"n": 0, "of": 0}
    doubt = (row.get("uncertainty") or {}).get(column)
    return _Side(row["metrics"].get(column), row.get("n_runs"), doubt, (lost["n"], lost["of"]))


def _compared(
    rows: Mapping[str, Rows], spread: Spread, names: tuple[str, str], column: str
) -> Verdict | tuple[float, float, str]:
    """(first - second, half its 95 % interval, in words), or the verdict where there is no such difference.

    The verdict on a collapsed side: False if the first is lost and the second is not, True the other way round.
    """
    one, other = (_side(rows, name, column) for name in names)
    if one is None or other is None:
        return Verdict(None, "not measured")
    for side, rest, name, holds in ((one, other, names[0], False), (other, one, names[1], True)):
        if side.value is None:
            seen = _seen(name, side.lost)
            if rest.value is None:
                return Verdict(None, f"{seen}; nothing to compare it with", True)
            return Verdict(holds if side.gone else None, seen if side.gone else f"{seen}: too few", True)
    difference = (one.value or 0.0) - (other.value or 0.0)  # neither is None here
    if not one.few and not other.few and (one.doubt is not None or other.doubt is not None):
        doubt, by = math.hypot(one.doubt or 0.0, other.doubt or 0.0), "by the seeds of both"
    elif spread.get(column, (0.0, 0))[1] >= ENOUGH:
        deviation, n = spread[column]
        doubt = student(n) * deviation * math.sqrt(sum(1 / side.runs for side in (one, other) if side.runs))
        by = f"as far as {n} seeds of the first row differ"
    else:
        few = min(side.runs for side in (one, other) if side.runs is not None and side.few)
        return Verdict(None, f"difference {difference:+.3f}; {'one seed' if few == 1 else f'{few} seeds'}: too few")
    return difference, doubt, f"difference {difference:+.3f}, 95 % ±{doubt:.3f} {by}"


def _seen(name: str, lost: tuple[int, int]) -> str:
    n, of = lost
    return f"{name}: {n} of {of} {'run' if of == 1 else 'runs'} collapsed" if of else f"{name}: no figure"


def below(low: str, high: str, column: str = "iou") -> Check:
    """Row `low` lies below row `high` by more than chance; one whose runs all collapsed is below one that stands."""

    def check(rows: Mapping[str, Rows], spread: Spread = NO_SPREAD, /) -> Verdict:
        found = _compared(rows, spread, (high, low), column)
        if isinstance(found, Verdict):
            return found
        difference, doubt, why = found
        return Verdict(None if abs(difference) <= doubt else difference > 0, why)

    return check


def as_good(one: str, other: str, column: str = "iou", margin: float = 0.02) -> Check:
    """Row `one` is not below row `other` by more than `margin`; undecided where chance could reach across that line."""

    def check(rows: Mapping[str, Rows], spread: Spread = NO_SPREAD, /) -> Verdict:
        found = _compared(rows, spread, (one, other), column)
        if isinstance(found, Verdict):
            return found
        difference, doubt, why = found
        return Verdict(None if abs(difference + margin) <= doubt else difference > -margin, why)

    return check


# ------------------------------------------------------------------ collapse


def _counted(rows: Mapping[str, Rows], name: str) -> tuple[int, int] | None:
    found = (figures(rows, name) or {}).get("collapsed")
    return (found["n"], found["of"]) if found and found["of"] else None


def collapses(name: str) -> Check:
    """Every run of the row collapses. One that did not refutes it; fewer than three that did leave it open."""

    def check(rows: Mapping[str, Rows], spread: Spread = NO_SPREAD, /) -> Verdict:
        if (lost := _counted(rows, name)) is None:
            return Verdict(None, "not measured")
        n, of = lost
        return Verdict(False if n < of else True if of >= ENOUGH else None, _seen(name, lost), True)

    return check


def sometimes_collapses(name: str, rate: float) -> Check:
    """Some runs of the row collapse. One is enough; none refutes it if the text's `rate` would seldom show none."""

    def check(rows: Mapping[str, Rows], spread: Spread = NO_SPREAD, /) -> Verdict:
        if (lost := _counted(rows, name)) is None:
            return Verdict(None, "not measured")
        n, of = lost
        chance = (1 - rate) ** of
        why = _seen(name, lost) + ("" if n else f"; none at the text's rate {rate:.0%} has a chance of {chance:.0%}")
        return Verdict(True if n else False if chance <= CHANCE else None, why, True)

    return check


def never_collapses(*names: str) -> Check:
    """No run of these rows collapses. One that did refutes it; fewer than three runs of a row leave it open."""

    def check(rows: Mapping[str, Rows], spread: Spread = NO_SPREAD, /) -> Verdict:
        counted = {name: lost for name in names if (lost := _counted(rows, name)) is not None}
        why = "; ".join(_seen(name, lost) for name, lost in counted.items()) or "not measured"
        if any(n for n, _ in counted.values()):
            return Verdict(False, why, True)
        enough = len(counted) == len(names) and all(of >= ENOUGH for _, of in counted.values())
        return Verdict(True if enough else None, why, bool(counted))

    return check


def less_often(one: str, other: str) -> Check:
    """Row `one` collapses in a smaller share of its runs than row `other`: Fisher's exact test, one-sided, at 5 %."""

    def check(rows: Mapping[str, Rows], spread: Spread = NO_SPREAD, /) -> Verdict:
        import numpy as np
        from scipy.stats import fisher_exact

        a, b = _counted(rows, one), _counted(rows, other)
        if a is None or b is None:
            return Verdict(None, "not measured")
        counts = np.array([[a[0], a[1] - a[0]], [b[0], b[1] - b[0]]])
        fewer, more = (float(fisher_exact(counts, alternative=side).pvalue) for side in ("less", "greater"))
        why = f"{_seen(one, a)}; {_seen(other, b)}; Fisher's exact test p = {min(fewer, more):.3f}"
        limit = CHANCE * (1 + 1e-9)  # 0 of 3 against 3 of 3 is exactly 1/20
        return Verdict(True if fewer <= limit else False if more <= limit else None, why, True)

    return check
