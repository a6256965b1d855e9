"""How long each stage lasts: counted in images, in minutes, or in both (the first to come ends it)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from decoupe.engine.checkpoint import Counters
from decoupe.methods.room import Stage


@dataclass(frozen=True)
class Plan:
    """Targets of one stage; None means unlimited."""

    images: int | None
    seconds: float | None
    checks: int = 8

    def progress(self, counters: Counters) -> float:
        """Share of the stage done, 1 or more when it is over."""
        by_images = counters.stage_images / self.images if self.images is not None else 0.0
        by_time = counters.stage_seconds / self.seconds if self.seconds is not None else 0.0
        return max(by_images, by_time)

    def due(self, counters: Counters) -> bool:
        """Whether the next check has come."""
        return self.progress(counters) >= (counters.checks + 1) / self.checks - 1e-9


def plan(
    stages: Sequence[Stage], counters: Counters, batch: int, images_seen: int | None, seconds: float | None
) -> Plan:
    """The targets of stage `counters.stage`, given what is left of the whole budget.

    Without a budget a stage sees its own default number of images. With one, stages share it in proportion to their
    defaults; a `fixed` stage never exceeds its default, and what it leaves over goes to the later ones.
    """
    stage, rest = stages[counters.stage], stages[counters.stage :]
    share = stage.images / sum(s.images for s in rest)
    images: int | None = stage.images if (stage.fixed or (images_seen is None and seconds is None)) else None
    if images_seen is not None:
        left = images_seen - (counters.images - counters.stage_images)
        images = round(left * share) if images is None else min(images, round(left * share))
    if images is not None:
        images = max(batch, images // batch * batch)
    limit = None
    if seconds is not None:
        limit = max(1e-3, (seconds - (counters.seconds - counters.stage_seconds)) * share)
    return Plan(images, limit, stage.checks)
