"""What the loop tells the outside while it works; the console draws it, the API is silent by default."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol


class Reporter(Protocol):
    """Receiver of progress; every method returns at once."""

    def header(self, *lines: str) -> None:
        """What runs, on what, where it is written."""

    def stage(self, name: str, total_images: int | None, minutes: float | None) -> None:
        """A stage begins; None where that does not limit it."""

    def update(
        self,
        images: int,
        images_per_s: float,
        eta_s: float | None,
        scalars: Mapping[str, float],
        areas: Sequence[float] | None = None,
    ) -> None:
        """Images seen in this stage, speed, seconds left, losses, region areas as shares."""

    def note(self, text: str) -> None:
        """Something worth knowing."""

    def warn(self, text: str) -> None:
        """Something that went wrong and was dealt with."""

    def done(self, summary: str) -> None:
        """The last line."""


class Silent:
    """Tells nothing."""

    def header(self, *lines: str) -> None: ...

    def stage(self, name: str, total_images: int | None, minutes: float | None) -> None: ...

    def update(
        self,
        images: int,
        images_per_s: float,
        eta_s: float | None,
        scalars: Mapping[str, float],
        areas: Sequence[float] | None = None,
    ) -> None: ...

    def note(self, text: str) -> None: ...

    def warn(self, text: str) -> None: ...

    def done(self, summary: str) -> None: ...
