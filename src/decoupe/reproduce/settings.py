"""What the rows of a table ran with: the whole configuration once, each row's differences from it, and how long."""

from __future__ import annotations

import dataclasses
from typing import Any

from decoupe.reproduce.runs import Fitting
from decoupe.reproduce.table import Row, Table, Variant


def _first(table: Table) -> tuple[Row, Variant] | None:
    """The first row that fits anything: the original to which the others are compared."""
    return next(((row, row.variants[0]) for row in table.rows if row.variants), None)


def _config(variant: Variant, fitting: Fitting) -> dict[str, Any]:
    return dataclasses.asdict(variant.config(fitting.scale, fitting.images_seen, fitting.size))


def _lasts(variant: Variant, fitting: Fitting) -> tuple[int | None, int | None, int]:
    """(images that a run of `variant` sees, its steps, its batch); None where the room does not train by images."""
    config = _config(variant, fitting)
    seen, batch = fitting.images_seen or config.get("train_images"), int(config.get("batch", 1))
    return (None, None, batch) if seen is None else (int(seen), -(-int(seen) // batch), batch)


def original(table: Table, fitting: Fitting) -> dict[str, Any] | None:
    """{"row", "room", "preset", "settings": the resolved Config} of the first row that fits anything."""
    if (found := _first(table)) is None:
        return None
    row, variant = found
    preset = variant.presets[fitting.scale]
    return {"row": row.name, "room": variant.room, "preset": preset, "settings": _config(variant, fitting)}


def settings(table: Table, row: Row, fitting: Fitting) -> list[dict[str, Any]]:
    """For each variant {"room", "changes": what differs from the original, "images_seen", "steps", "batch"}."""
    found, out = _first(table), []
    for variant in row.variants:
        base = _config(found[1], fitting) if found and found[1].room == variant.room else {}
        changes = {k: v for k, v in _config(variant, fitting).items() if k not in base or base[k] != v}
        seen, steps, batch = _lasts(variant, fitting)
        one = {"room": variant.room, "changes": changes, "images_seen": seen, "steps": steps, "batch": batch}
        out.append(one | ({"fit": dict(variant.settings)} if variant.settings else {}))
    return out


def length(table: Table, fitting: Fitting) -> dict[str, Any]:
    """How long the original's runs are beside the text's, and of which images: numbers, and `words` of both."""
    found = _first(table)
    seen, steps, batch = _lasts(found[1], fitting) if found else (None, None, 1)
    size = _config(found[1], fitting).get("size") if found else None
    short = "" if steps is None else f"our runs last {steps:,} steps"
    words = "" if seen is None else f"our runs: {seen:,} images, {steps:,} steps of {batch}"
    words += f", images of {size} px" if words and size else ""
    words += f"; the text's: {table.length}" if words and table.length else ""
    return {
        "images_seen": seen, "steps": steps, "batch": batch, "size": size, "text": table.length or None,
        "words": words, "steps_words": short,
    }  # fmt: skip
