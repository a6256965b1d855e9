"""Names, merges and colours of a run's regions, as names.json keeps them; each change is atomic and can be undone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decoupe.engine.runfolder import Run
from decoupe.errors import Fault, UsageFault
from decoupe.export.palette import Colour, chosen, given, is_background
from decoupe.naming import LONGEST, shown


@dataclass(frozen=True)
class Shown:
    """One region as people see it: a region of the method, or several shown as one."""

    index: int
    """Its number: the lowest of its members. Masks of the review hold these numbers."""
    members: tuple[int, ...]
    name: str
    colour: Colour
    background: bool


@dataclass(frozen=True)
class Naming:
    """The content of names.json."""

    names: tuple[str, ...]
    groups: tuple[tuple[int, ...], ...]
    colours: tuple[str, ...]
    """One "#rrggbb" or "" (the palette's) per region, or none at all."""

    def shown(self) -> list[Shown]:
        """The regions as people see them, in order of number."""
        members = [tuple(group) for group in shown(len(self.names), self.groups)]
        names = [self.names[group[0]] for group in members]
        picked = [self.colours[group[0]] for group in members] if self.colours else []
        return [
            Shown(group[0], group, name, colour, is_background(name))
            for group, name, colour in zip(members, names, chosen(names, picked), strict=True)
        ]

    def lowest(self) -> list[int]:
        """Of each region of the method, the number it is shown under."""
        table = list(range(len(self.names)))
        for group in self.groups:
            for index in group:
                table[index] = min(group)
        return table


def read(run: Path) -> Naming:
    """The names of a run. Fault if it has none yet."""
    opened = Run.open(run, verify=False)
    if not opened.names:
        raise Fault(f"a finished run at {run}", "one without regions", "let its training finish first")
    return Naming(opened.names, tuple(tuple(sorted(g)) for g in opened.merges), opened.colours)


class Regions:
    """Changes to the names of one run. Stale names of another process are read anew before each change."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self._lock = threading.RLock()
        self._undo: list[Naming] = []
        self.now = read(run)
        self.revision = 1
        """Counts changes: pictures that show colours carry it in their address."""

    def change(self, make: Callable[[Naming], Naming]) -> Naming:
        """Replace the names by `make` of those on disk. Fault if the run is in use or the result is no naming."""
        with self._lock:
            before = read(self.run)
            after = make(before)
            self._write(after)
            self._undo.append(before)
            return after

    def undo(self) -> Naming:
        """Take back the latest change of this session. Fault if there is none."""
        with self._lock:
            if not self._undo:
                raise Fault("a change of names to take back", "none since the page was opened", "go on")
            self._write(self._undo[-1])
            self._undo.pop()
            return self.now

    def _write(self, naming: Naming) -> None:
        run = Run.open(self.run)
        with run.lock():
            Run.open(self.run, verify=False).set_names(naming.names, naming.groups, naming.colours)
        self.now, self.revision = naming, self.revision + 1


def _known(naming: Naming, index: Any) -> int:
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < len(naming.names):
        raise UsageFault(f"a region from 0 to {len(naming.names) - 1}", repr(index)[:40], "load the page again")
    return naming.lowest()[index]


def _text(label: Any) -> str:
    text = label.strip() if isinstance(label, str) else ""
    if not text or len(text) > LONGEST or not text.isprintable():
        raise UsageFault(f"a name of 1 to {LONGEST} printable characters", repr(label)[:24], "choose another name")
    return text


def _named(naming: Naming, index: int, name: str) -> Naming:
    taken = {region.name: region.index for region in naming.shown() if region.index != index}
    if name in taken:
        raise UsageFault("a name of its own for each region", f"{name!r} twice", f"merge it with region {taken[name]}")
    names = list(naming.names)
    names[index] = name
    return Naming(tuple(names), naming.groups, naming.colours)


def rename(index: Any, name: Any) -> Callable[[Naming], Naming]:
    """Give a region a name."""
    return lambda naming: _named(naming, _known(naming, index), _text(name))


def merge(indices: Sequence[Any]) -> Callable[[Naming], Naming]:
    """Show regions as one; it takes the name of the first one given."""

    def make(naming: Naming) -> Naming:
        chosen = [_known(naming, index) for index in indices]
        if len(set(chosen)) < 2:
            raise UsageFault("two regions or more to merge", str(len(set(chosen))), "mark another one")
        label = naming.names[chosen[0]]
        joined = tuple(sorted(m for region in naming.shown() if region.index in chosen for m in region.members))
        groups = [group for group in naming.groups if not set(group) & set(joined)]
        names = list(naming.names)
        if joined[0] != chosen[0]:  # the lowest index names a group; what it was called moves to where it may return
            names[joined[0]], names[chosen[0]] = label, names[joined[0]]
        return Naming(tuple(names), tuple(sorted([*groups, joined])), naming.colours)

    return make


def split(index: Any) -> Callable[[Naming], Naming]:
    """Show the members of a merged region apart again, each under a name of its own."""

    def make(naming: Naming) -> Naming:
        number = _known(naming, index)
        groups = tuple(group for group in naming.groups if number not in group)
        if len(groups) == len(naming.groups):
            raise UsageFault("a merged region", f"region {number}, which is single", "choose a merged one")
        names, used = list(naming.names), set[str]()
        for region in Naming(naming.names, groups, ()).shown():
            label, turn = names[region.index], 2
            while names[region.index] in used:
                names[region.index], turn = f"{label} {turn}", turn + 1
            used.add(names[region.index])
        return Naming(tuple(names), groups, naming.colours)

    return make


def recolour(index: Any, colour: Any) -> Callable[[Naming], Naming]:
    """Give a region a colour "#rrggbb"; "" returns to the palette's."""

    def make(naming: Naming) -> Naming:
        number = _known(naming, index)
        if not isinstance(colour, str) or (colour and given(colour) is None):
            raise UsageFault("a colour like #56b4e9", repr(colour)[:24], "choose one")
        picked = [*naming.colours, *[""] * (len(naming.names) - len(naming.colours))]
        picked[number] = colour.lower()
        return Naming(naming.names, naming.groups, tuple(picked))

    return make


def background(index: Any) -> Callable[[Naming], Naming]:
    """Mark a region as background, joining it to one that is; a background alone becomes a region again."""

    def make(naming: Naming) -> Naming:
        number = _known(naming, index)
        there = next((region for region in naming.shown() if region.background), None)
        if there is None:
            return _named(naming, number, "background")
        if there.index == number:
            fresh = next(n for k in range(len(naming.names) + 1) if (n := f"region {number + k}") not in naming.names)
            return _named(naming, number, fresh)
        return merge([there.index, number])(naming)

    return make
