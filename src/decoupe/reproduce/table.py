"""What a table of a text is here: its rows, what they run, the text's figures, and the sentences it draws from them.

Nothing here imports torch: `decoupe reproduce --list` only reads these.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from decoupe.errors import UsageFault
from decoupe.methods import ROOMS
from decoupe.methods.config import read_config

if TYPE_CHECKING:
    from decoupe.reproduce.study import Context

SCALES = ("cpu", "paper")
"""cpu: small enough for a laptop, each table within hours; paper: the text's own settings."""

Figures = Mapping[str, float | str]
"""Column -> the text's figure, or "collapsed"."""
Rows = list[dict[str, Any]]
"""Result rows: {row, selection, matching, observed, metrics, text, seeds, ...}."""
Derived = Callable[[str, Any, int], Mapping[str, Any]]
"""(scale, config of the preset, images that the run will see) -> options."""


@dataclass(frozen=True)
class Variant:
    """One way to fit: a room, a preset for each scale, and options on top of it."""

    room: str
    presets: Mapping[str, str | None]
    """Scale -> name of a preset; None = the room's defaults."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the room's Config."""
    derived: Derived | None = None
    """Further options, where they depend on the scale or on the length of the run."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of `fit` (tags, backgrounds, ...)."""

    def base(self, scale: str) -> Any:
        """The Config that the preset of this scale names. UsageFault if the room or the preset does not exist."""
        if self.room not in ROOMS:
            raise UsageFault(f"a room ({', '.join(ROOMS)})", repr(self.room), "see `decoupe methods`")
        name = self.presets[scale]
        return ROOMS[self.room].config()() if name is None else ROOMS[self.room].presets()[name]

    def all_options(self, scale: str, images_seen: int | None) -> dict[str, Any]:
        """Every option on top of the preset, for a run of `images_seen` images (None: the preset's own length)."""
        options = dict(self.options)
        if self.derived is not None:
            base = self.base(scale)
            options |= self.derived(scale, base, images_seen or int(base.train_images))
        return options

    def config(self, scale: str, images_seen: int | None = None) -> Any:
        """The room's full Config. Fault on an option that the room does not have."""
        given = dataclasses.asdict(self.base(scale)) | self.all_options(scale, images_seen)
        return read_config(ROOMS[self.room].config(), given, f"the options of {self.room}")


def fit_and_score(context: Context) -> Rows:
    """The usual measurement: fit the row's variant once per seed, score `last`, `selected` and `oracle` apart."""
    from decoupe.reproduce.scores import measure

    return measure(context)


@dataclass(frozen=True)
class Row:
    """One row of a table."""

    name: str
    """As in the text."""
    short: str
    """Its name in figures, at most 14 characters."""
    text: Figures
    """The text's figures; columns as in `metrics`. Empty where the text has none."""
    variants: tuple[Variant, ...] = ()
    """What is fitted; runs of equal settings are shared between rows and tables."""
    seeds: int = 1
    """Runs of each variant, with seeds 0, 1, ..., unless `--seeds` says otherwise."""
    note: str = ""
    """What the text says of it in words."""
    measure: Callable[[Context], Rows] = fit_and_score
    """Gives the result rows."""


Check = Callable[[Mapping[str, Rows]], bool | None]
"""Result rows by row name -> whether a conclusion holds; None where the runs cannot decide it."""


@dataclass(frozen=True)
class Claim:
    """A conclusion of the text."""

    words: str
    check: Check


@dataclass(frozen=True)
class Table:
    """One table, figure or claim of a text."""

    name: str
    """As it is typed: `decoupe reproduce NAME`."""
    line: str
    """What it answers, in one line."""
    source: str
    """The text and the number of its table."""
    rows: tuple[Row, ...]
    claims: tuple[Claim, ...] = ()
    columns: tuple[str, ...] = ("iou", "accuracy")
    """The metrics that are printed, beside the text's."""
    protocol: str | None = None
    """Name of a protocol; None = that of the layout given."""


def figures(rows: Mapping[str, Rows], name: str, selection: str = "selected") -> Mapping[str, Any] | None:
    """The result row of `name` with one honest assignment for the whole set; None if not measured."""
    found = [row for row in rows.get(name, ()) if row["matching"] != "per-image-flip"]
    return next((row for row in found if row["selection"] == selection), found[0] if found else None)


def value(rows: Mapping[str, Rows], name: str, column: str) -> float | None:
    """A metric of the `selected` row, None where there is none (collapsed, not measured)."""
    row = figures(rows, name)
    return None if row is None else row["metrics"].get(column)


def _difference(rows: Mapping[str, Rows], one: str, other: str, column: str) -> tuple[float, float] | None:
    """(one - other, half the width of its 95 % interval as far as seeds or images tell); None if either is missing."""
    a, b = figures(rows, one), figures(rows, other)
    if a is None or b is None or a["metrics"].get(column) is None or b["metrics"].get(column) is None:
        return None
    doubt = math.hypot(*(row.get("uncertainty", {}).get(column) or 0.0 for row in (a, b)))
    return a["metrics"][column] - b["metrics"][column], doubt


def below(low: str, high: str, column: str = "iou") -> Check:
    """Row `low` lies below row `high` by more than chance (a collapsed row lies below one that is not)."""

    def check(rows: Mapping[str, Rows]) -> bool | None:
        found = _difference(rows, low, high, column)
        if found is None:
            lost = figures(rows, low)
            return True if lost is not None and value(rows, low, column) is None and value(rows, high, column) else None
        difference, doubt = found
        return None if abs(difference) <= doubt else difference < 0

    return check


def as_good(one: str, other: str, column: str = "iou", margin: float = 0.02) -> Check:
    """Row `one` is not below row `other` by more than `margin`; undecided where chance could reach across it."""

    def check(rows: Mapping[str, Rows]) -> bool | None:
        found = _difference(rows, one, other, column)
        if found is None:
            return None
        difference, doubt = found
        return None if abs(difference + margin) <= doubt and difference < 0 else difference >= -margin

    return check


def collapses(name: str, in_all: bool = True) -> Check:
    """Every run of the row collapsed (with `in_all` False: at least one)."""

    def check(rows: Mapping[str, Rows]) -> bool | None:
        counted = (figures(rows, name) or {}).get("collapsed")
        return None if not counted else counted["n"] == counted["of"] if in_all else counted["n"] > 0

    return check


def never_collapses(*names: str) -> Check:
    """No run of these rows collapsed."""

    def check(rows: Mapping[str, Rows]) -> bool | None:
        counted = [(figures(rows, name) or {}).get("collapsed") for name in names]
        return None if not all(counted) else not any(c["n"] for c in counted if c)

    return check


def less_often(one: str, other: str) -> Check:
    """Row `one` collapsed in a smaller share of its runs than row `other`."""

    def check(rows: Mapping[str, Rows]) -> bool | None:
        a, b = ((figures(rows, name) or {}).get("collapsed") for name in (one, other))
        return None if not a or not b else a["rate"] < b["rate"]

    return check
