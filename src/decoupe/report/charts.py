"""Curves as data: paths, ticks and labels in the coordinates of a small SVG; the template draws and escapes them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

WIDTH, HEIGHT = 360, 190
LEFT, RIGHT, TOP, BOTTOM = 40, 12, 14, 26
POINTS = 240
"""Points that a curve is thinned to."""


Scale = Callable[[float], float]


@dataclass(frozen=True)
class Series:
    """One curve: values over images seen; a new stage starts a new piece."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    stage: Sequence[str] = ()


@dataclass(frozen=True)
class Tick:
    """A labelled position on an axis, in SVG units."""

    at: float
    text: str


@dataclass(frozen=True)
class Line:
    """A drawn curve."""

    name: str
    number: int
    """Selects colour and dashes."""
    raw: str
    """Path of the values themselves ("" where they are few)."""
    path: str
    """Path of their running mean."""
    label_y: float
    """Height at which its name stands at the right end, moved apart from others."""
    ends: str
    """First and last value in words."""


@dataclass(frozen=True)
class Chart:
    """A figure with everything the template needs."""

    title: str
    about: str
    lines: list[Line]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    stages: list[Tick]
    """Where stages begin."""
    mark: tuple[float, float, str] | None = None
    """x, y and words of a marked moment."""
    right: float = WIDTH - RIGHT
    size: tuple[int, int] = field(default=(WIDTH, HEIGHT))

    @property
    def summary(self) -> str:
        """The chart in a sentence, for those who hear it."""
        said = "; ".join(f"{line.name} {line.ends}" for line in self.lines)
        return f"{self.title}: {said}" + (f"; {self.mark[2]}" if self.mark else "")


UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k"))
"""From which size on a number is written in thousands, millions, ..."""


def short(value: float) -> str:
    """A number of three digits in at most six characters: 12.3k, 5,000, 0.031, 1.5."""
    return _in_unit(value, abs(value))


def _in_unit(value: float, size: float) -> str:
    """`value` in the unit that numbers of `size` are written in."""
    if value == 0:
        return "0"
    for least, name in UNITS:
        if size >= 0.9995 * least:  # what rounds to it counts as it
            return f"{_plain(value / (1e3 if name == 'k' else least))}{name}"
    return _plain(value)


def _plain(value: float) -> str:
    """Three digits without an exponent from 0.0001 to a million; four where thousands are written out."""
    size = abs(value)
    if size >= 1e15:
        return f"{value:.2g}".replace("e+", "e")
    if size >= 999.5:
        return f"{value:,.0f}"
    if size < 0.9995e-4:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    return f"{value:.3g}"


def tick_texts(values: Sequence[float]) -> list[str]:
    """Labels of one axis, all in one unit: 0, 5k, 10k; or 0, 1,000, 2,000."""
    size = max((abs(value) for value in values), default=0.0)
    return [_in_unit(value, size) for value in values]


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round numbers within [low, high], about `count` of them."""
    span = high - low
    if not (math.isfinite(span) and span > 0):
        return [low]
    step = 10 ** math.floor(math.log10(span / count))
    step *= next((m for m in (1, 2, 2.5, 5, 10) if span / (step * m) <= count), 10)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _limits(series: Sequence[Series], bounds: tuple[float, float] | None) -> tuple[float, float]:
    if bounds is not None:
        return bounds
    values = np.concatenate([np.asarray(s.y, float) for s in series])
    values = values[np.isfinite(values)]
    if not len(values):
        return 0.0, 1.0
    low, high = float(np.quantile(values, 0.01)), float(np.quantile(values, 0.99))
    low, high = min(low, 0.0) if low < 0.25 * abs(high) else low, high
    if high - low <= 1e-6 * max(abs(low), abs(high)):
        pad = max(0.5, 1e-3 * abs(low))
        return low - pad, high + pad
    return low, high


def _thin(series: Series) -> Series:
    if len(series.x) <= POINTS:
        return series
    keep = np.unique(np.linspace(0, len(series.x) - 1, POINTS).astype(int))
    pick = [list(series.x)[i] for i in keep], [list(series.y)[i] for i in keep]
    return Series(series.name, *pick, [series.stage[i] for i in keep] if series.stage else ())


def _mean(y: Sequence[float], stage: Sequence[str]) -> list[float]:
    """Running mean over about a thirtieth of the curve, never across stages."""
    half = len(y) // 60
    out = []
    for i in range(len(y)):
        near = [j for j in range(max(0, i - half), min(len(y), i + half + 1)) if not stage or stage[j] == stage[i]]
        out.append(sum(y[j] for j in near) / len(near))
    return out


def draw(
    title: str,
    about: str,
    series: Sequence[Series],
    bounds: tuple[float, float] | None = None,
    mark: tuple[float, str] | None = None,
    percent: bool = False,
) -> Chart | None:
    """A chart of `series` over images seen; None if there is nothing to draw.

    bounds: limits of the vertical axis; without them, those of the values but for the outermost hundredths.
    mark: (images, words) of a moment to point out on the first curve.
    """
    finite = [Series(s.name, *_split(s)) for s in series if any(math.isfinite(v) for v in s.y)]
    if not finite:
        return None
    low, high = _limits(finite, bounds)
    last = max(max(s.x) for s in finite)
    names = len(finite) > 1
    right = WIDTH - (RIGHT + 6.2 * min(14, max(len(s.name) for s in finite)) if names else RIGHT)

    def across(x: float) -> float:
        return round(LEFT + (right - LEFT) * x / max(last, 1), 1)

    def up(y: float) -> float:
        inside = min(max((y - low) / (high - low), 0.0), 1.0)
        return round(HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * inside, 1)

    lines = [_line(number, one, across, up, percent) for number, one in enumerate(map(_thin, finite))]
    return Chart(
        title,
        about,
        _apart(lines),
        _axis(ticks(0, last, 4), across),
        _axis(ticks(low, high), up, percent),
        _stages(finite[0], across),
        _marked(mark, finite[0], across, up),
        right,
    )


def _axis(values: Sequence[float], place: Scale, percent: bool = False) -> list[Tick]:
    texts = [f"{100 * v:.0f} %" for v in values] if percent else tick_texts(values)
    return [Tick(place(v), text) for v, text in zip(values, texts, strict=True)]


def _split(series: Series) -> tuple[list[float], list[float], list[str]]:
    stage = list(series.stage) or [""] * len(series.x)
    rows = [row for row in zip(series.x, series.y, stage, strict=True) if math.isfinite(row[1])]
    return [r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows]


def _path(x: Sequence[float], y: Sequence[float], stage: Sequence[str]) -> str:
    parts = []
    for i, (a, b) in enumerate(zip(x, y, strict=True)):
        parts.append(f"{'L' if i and stage[i] == stage[i - 1] else 'M'}{a:g} {b:g}")
    return "".join(parts)


def _line(number: int, series: Series, across: Scale, up: Scale, percent: bool) -> Line:
    x = [across(v) for v in series.x]
    smooth = _mean(series.y, series.stage)
    many = len(x) > 60
    raw = _path(x, [up(v) for v in series.y], series.stage) if many else ""
    path = _path(x, [up(v) for v in (smooth if many else series.y)], series.stage)
    form = (lambda v: f"{100 * v:.0f} %") if percent else short
    ends = f"from {form(smooth[0])} to {form(smooth[-1])}"
    return Line(series.name, number % 8, raw, path, up(smooth[-1]), ends)


def _apart(lines: list[Line]) -> list[Line]:
    """Labels at least 11 units apart, in the order of the curves' ends."""
    at, placed = TOP - 3.0, {}
    for line in sorted(lines, key=lambda one: one.label_y):
        at = max(line.label_y, at + 11)
        placed[line.name] = at
    over = max(0.0, at - (HEIGHT - BOTTOM))
    return [
        Line(o.name, o.number, o.raw, o.path, round(max(placed[o.name] - over, TOP), 1) + 3.5, o.ends) for o in lines
    ]


def _stages(series: Series, across: Scale) -> list[Tick]:
    begins = [
        Tick(across(x), stage)
        for i, (x, stage) in enumerate(zip(series.x, series.stage, strict=True))
        if stage and i and stage != series.stage[i - 1]
    ]
    return begins


def _marked(
    mark: tuple[float, str] | None, series: Series, across: Scale, up: Scale
) -> tuple[float, float, str] | None:
    if mark is None or not series.x:
        return None
    nearest = min(range(len(series.x)), key=lambda i: abs(series.x[i] - mark[0]))
    return across(series.x[nearest]), up(series.y[nearest]), mark[1]


@dataclass(frozen=True)
class Bars:
    """A histogram with everything the template needs."""

    title: str
    about: str
    boxes: list[tuple[float, float, float, float]]
    """x, y, width, height of each bar."""
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    summary: str
    """The chart in a sentence, for those who hear it."""
    size: tuple[int, int] = (WIDTH, HEIGHT)


def bars(title: str, about: str, edges: Sequence[float], numbers: Sequence[float]) -> Bars:
    """A histogram: N numbers between N + 1 rising edges."""
    most, low, high = max(max(numbers), 1), edges[0], edges[-1]
    y_ticks = [value for value in ticks(0, most) if float(value).is_integer()]

    def across(x: float) -> float:
        return LEFT + (x - low) / (high - low) * (WIDTH - RIGHT - LEFT)

    def up(y: float) -> float:
        return HEIGHT - BOTTOM - y / most * (HEIGHT - BOTTOM - TOP)

    boxes = [
        (round(across(a) + 1, 1), round(up(n), 1), round(across(b) - across(a) - 2, 1), round(up(0) - up(n), 1))
        for a, b, n in zip(edges, edges[1:], numbers, strict=False)
    ]
    said = "; ".join(f"{a:g} to {b:g}: {n:g}" for a, b, n in zip(edges, edges[1:], numbers, strict=False))
    x_values = [value for value in ticks(low, high) if low <= value <= high]
    x_ticks = [Tick(round(across(v), 1), text) for v, text in zip(x_values, tick_texts(x_values), strict=True)]
    y_marks = [Tick(round(up(v), 1), text) for v, text in zip(y_ticks, tick_texts(y_ticks), strict=True)]
    return Bars(title, about, boxes, x_ticks, y_marks, f"{title}: {said}")
