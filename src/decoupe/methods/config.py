"""Reading a room's configuration back from JSON: closed, typed, and ranged before anything is allocated."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from decoupe.errors import Fault

C = TypeVar("C")
LARGEST = 1e300
"""No number of a configuration is larger, and whole numbers beyond it would not fit into a float."""


def in_range(name: str, value: float | None, low: float, high: float) -> None:
    """Fault unless low <= value <= high (None passes)."""
    if value is not None and not low <= value <= high:
        shown = f"{value:g}" if abs(value) <= LARGEST else "a number without bounds"
        raise Fault(f"{name} between {low:g} and {high:g}", shown, f"choose --{name.replace('_', '-')} in that range")


def one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Fault unless `value` is one of `allowed`."""
    if value not in allowed:
        raise Fault(f"{name} to be one of {', '.join(allowed)}", f"{value!r}", "choose one of these")


def _fits(value: Any, kind: Any) -> bool:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return any(_fits(value, part) for part in get_args(kind))
    if origin is Literal:
        return value in get_args(kind) and isinstance(value, str)
    if origin is tuple:
        return isinstance(value, list | tuple) and all(_fits(part, get_args(kind)[0]) for part in value)
    if kind is type(None):
        return value is None
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, kind)


def read_config(kind: type[C], content: Mapping[str, Any], where: str) -> C:
    """`kind(**content)` after checking every key and type; ranges are checked by the class itself. Fault otherwise."""
    if not isinstance(content, Mapping):
        raise Fault(f"settings of {kind.__module__} in {where}", f"{content!r:.60}", "use the version that made it")
    hints = get_type_hints(kind)
    names = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key, value in content.items():
        if key not in names:
            raise Fault(f"only settings of {kind.__module__} in {where}", f"{key!r}", "use the version that made it")
        if not _fits(value, hints[key]):
            raise Fault(f"{key} of type {hints[key]} in {where}", repr(value)[:60], "use the version that made it")
    needed = {f.name for f in dataclasses.fields(kind) if f.default is f.default_factory is dataclasses.MISSING}  # type: ignore[arg-type]
    if missing := sorted(needed - set(content)):
        raise Fault(f"{missing[0]} in {where}", "none", "use the version that made it")
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in content.items()})
