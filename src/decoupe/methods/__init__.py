"""The rooms: every method decoupe knows, in one explicit table.

A room is a folder beside this file (README.md, losses.py, networks.py, config.py, room.py). Adding one means adding
one entry here; what it needs is imported only when it is used, so that listing rooms costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from decoupe.methods.room import Room


@dataclass(frozen=True)
class RoomEntry:
    """One row of the table. The three loaders import the room's files when called."""

    name: str
    """As it is typed: `decoupe fit NAME`."""
    line: str
    """What it is, in one line."""
    needs: str
    """What the user has to bring."""
    gives: str
    """What comes out."""
    config: Callable[[], type[Any]]
    """Returns the room's frozen Config dataclass."""
    presets: Callable[[], Mapping[str, Any]]
    """Returns its named Configs."""
    room: Callable[[], type[Room]]
    """Returns its Room subclass (imports torch)."""
    wants_backgrounds: bool = False
    """Whether training draws patches without the object."""


def _independence_config() -> type[Any]:
    from decoupe.methods.independence.config import Config

    return Config


def _independence_presets() -> Mapping[str, Any]:
    from decoupe.methods.independence.config import PRESETS

    return PRESETS


def _independence_room() -> type[Room]:
    from decoupe.methods.independence.room import Independence

    return Independence


def _baselines_config() -> type[Any]:
    from decoupe.methods.baselines.config import Config

    return Config


def _baselines_presets() -> Mapping[str, Any]:
    from decoupe.methods.baselines.config import PRESETS

    return PRESETS


def _baselines_room() -> type[Room]:
    from decoupe.methods.baselines.room import Baselines

    return Baselines


ROOMS: Mapping[str, RoomEntry] = {
    entry.name: entry
    for entry in (
        RoomEntry(
            "independence",
            "finds the object that can be pasted onto any background and still look real",
            "photos of one kind of object, better with --boxes; backgrounds are optional",
            "background and object",
            _independence_config,
            _independence_presets,
            _independence_room,
            wants_backgrounds=True,
        ),
        RoomEntry(
            "baselines",
            "simple references to beat: k-means, Otsu, GrabCut, an ellipse, an average mask",
            "photos (average-mask also needs labels, and says so)",
            "background and object, or K regions",
            _baselines_config,
            _baselines_presets,
            _baselines_room,
        ),
    )
}
"""Name -> entry, in the order in which they are shown."""
