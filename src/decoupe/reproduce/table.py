"""What a table of a text is here: its rows, what they run, the text's figures, and the sentences it draws from them.

Nothing here imports torch: `decoupe reproduce --list` only reads these.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

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
    network_option: str = ""
    """The option that takes NAME:FILE of a network, which `--weights` gives; empty = it takes none."""

    def base(self, scale: str) -> Any:
        """The Config that the preset of this scale names. UsageFault if the room or the preset does not exist."""
        if self.room not in ROOMS:
            raise UsageFault(f"a room ({', '.join(ROOMS)})", repr(self.room), "see `decoupe methods`")
        name = self.presets[scale]
        return ROOMS[self.room].config()() if name is None else ROOMS[self.room].presets()[name]

    def all_options(self, scale: str, images_seen: int | None, size: int | None = None) -> dict[str, Any]:
        """Every option on top of the preset, for a run of `images_seen` images of `size` px (None: the preset's)."""
        options = dict(self.options)
        if self.derived is not None:
            base = self.base(scale)
            options |= self.derived(scale, base, images_seen or int(base.train_images))
        return options if size is None else options | {"size": size}

    def config(self, scale: str, images_seen: int | None = None, size: int | None = None) -> Any:
        """The room's full Config. Fault on an option that the room does not have."""
        given = dataclasses.asdict(self.base(scale)) | self.all_options(scale, images_seen, size)
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


Spread = Mapping[str, tuple[float, int]]
"""Column -> (standard deviation over seeds of the table's first row, how many of its runs stand behind it)."""


class Verdict(NamedTuple):
    """What the runs say of a claim."""

    holds: bool | None
    """None: the runs cannot decide it."""
    why: str
    """What was seen, in words."""
    collapse: bool = False
    """Whether it rests on runs that collapsed or did not: then their length belongs to it."""


class Check(Protocol):
    """Result rows by row name, and the spread over seeds of the first row -> verdict."""

    def __call__(self, rows: Mapping[str, Rows], spread: Spread = ..., /) -> Verdict:
        """The verdict; without `spread`, rows of fewer than three runs are not compared."""
        ...


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
    length: str = ""
    """How long the text's runs are, in words."""
    labelled: int | None = None
    """Images that get a label in each draw, where rows are measured by nearest neighbours."""

    @property
    def wants_network(self) -> bool:
        """Whether runs look through a network that `--weights` gives."""
        return any(variant.network_option for row in self.rows for variant in row.variants)

    def through(self, network: str) -> Table:
        """The same table, its runs looking through `network`, NAME:FILE."""

        def one(variant: Variant) -> Variant:
            if not variant.network_option:
                return variant
            return dataclasses.replace(variant, options={**variant.options, variant.network_option: network})

        rows = (dataclasses.replace(row, variants=tuple(map(one, row.variants))) for row in self.rows)
        return dataclasses.replace(self, rows=tuple(rows))
