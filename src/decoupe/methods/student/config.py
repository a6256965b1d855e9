"""Settings of the room `student`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from decoupe.errors import Fault, UsageFault
from decoupe.methods.config import in_range


@dataclass(frozen=True)
class Config:
    """A small U-Net that learns the regions of another run and draws them to the edges of the photos."""

    teacher: str | None = None
    """The run whose regions are learned; `decoupe distill RUN` fills it in."""
    digest: str = ""
    """SHA-256 of what the teacher's regions depend on; filled in."""
    names: tuple[str, ...] = ("background", "object")
    """The teacher's regions, merged as named; filled in."""

    size: int = 64
    """Side of the square images that the student sees, in pixels (32 to 512)."""
    batch: int = 32
    """Images per step, over all processes."""
    width: int = 16
    """Channels of the student's first level."""
    depth: int = 5
    """Halvings of resolution in the student."""
    norm: Literal["batch", "group"] = "batch"
    """Normalisation of the student; batch statistics are those of the global batch."""

    rounds: int = 4
    """The first round learns from the teacher, each later one from the student so far."""
    round_images: int = 9_600
    """Images seen in each round; longer rounds learn the errors of their targets."""
    target_images: int = 4096
    """Photos for which targets are computed; of larger collections a random part."""
    snap: bool = True
    """Draw the targets to the edges of their photos before they are learned (no labels; see snapping.py)."""
    sharpen: float = 1.5
    """Contrast of the targets about 1/K: t = clip((m - 1/K) sharpen + 1/K, 0, 1), summing to 1 again."""
    recomposed: float = 0.5
    """Share of the photos that are recomposed; 0 = none."""
    onto: Literal["auto", "patches", "photos"] = "auto"
    """patches: all regions but the ground, on patches of photos without them. photos: some of these regions, over
    another photo. auto: patches for two regions, photos for more."""
    jitter: float = 0.4
    """Colour jitter of the photos."""
    lr: float = 2e-3
    """Highest AdamW learning rate (one cycle per round)."""

    def __post_init__(self) -> None:
        in_range("size", self.size, 32, 512)
        in_range("batch", self.batch, 2, 4096)
        in_range("width", self.width, 4, 256)
        in_range("depth", self.depth, 2, 6)
        in_range("rounds", self.rounds, 1, 16)
        in_range("round_images", self.round_images, self.batch, 1e9)
        in_range("target_images", self.target_images, 8, 1e6)
        in_range("sharpen", self.sharpen, 1, 100)
        in_range("recomposed", self.recomposed, 0, 1)
        in_range("jitter", self.jitter, 0, 1)
        in_range("lr", self.lr, 1e-6, 1)
        if not 2 <= len(self.names) <= 256:
            raise Fault("2 to 256 regions", str(len(self.names)), "choose a teacher that divides its images")


PRESETS: dict[str, Config] = {"cpu": Config()}
"""`cpu` is the default."""


def complete(config: Config) -> Config:
    """The settings of a new run with what its teacher knows filled in: names of its regions, and its digest.

    UsageFault without a teacher, Fault where it is no finished run with two regions or more.
    """
    from decoupe.methods.student.teacher import Teacher

    if config.teacher is None:
        raise UsageFault("a teacher", "decoupe fit student alone", "write decoupe distill RUN --run NEW")
    teacher = Teacher.open(config.teacher)
    return dataclasses.replace(config, names=teacher.names, digest=teacher.digest)
