"""Settings of the room `baselines`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from decoupe.errors import UsageFault
from decoupe.methods.config import in_range, one_of

Kind = Literal[
    "random", "kmeans-1x1", "kmeans-7x7", "kmeans-lab", "otsu", "average-mask", "grabcut", "ellipse", "otsu-components"
]

CLUSTERED = ("random", "kmeans-1x1", "kmeans-7x7")
"""Kinds with K anonymous regions; the others give background and object."""


@dataclass(frozen=True)
class Config:
    """Simple references that every method has to beat; none is trained by gradients."""

    kind: Kind = "kmeans-lab"
    """random: every pixel anywhere. kmeans-1x1, kmeans-7x7: k-means of pixels, or of 7x7 patches, over all images.
    kmeans-lab: 2-means of each image's colours, the cluster on the border is background. otsu: the same with one
    threshold on brightness. grabcut: from a central rectangle. ellipse: a centred ellipse. average-mask: the mean
    of labelled masks (uses labels). otsu-components: otsu for many things, small holes and specks left out."""
    k: int = 2
    """Regions of random, kmeans-1x1 and kmeans-7x7; the others always give 2."""
    size: int = 64
    """Side of the square images that are segmented, in pixels (32 to 512)."""
    margin: float = 0.1
    """grabcut: share of each side left outside the rectangle, on every edge."""
    axes: float = 0.7
    """ellipse: its axes as a share of the image's sides (0.7 covers 38 % of the image)."""
    samples: int = 100_000
    """kmeans-1x1, kmeans-7x7: patches drawn from the images to fit the centres."""
    labels: str | None = None
    """average-mask: the labelled set NAME:PATH whose masks are averaged (its training part where it has one)."""

    def __post_init__(self) -> None:
        one_of("kind", self.kind, get_args(Kind))
        in_range("k", self.k, 2, 256)
        in_range("size", self.size, 32, 512)
        in_range("margin", self.margin, 0, 0.4)
        in_range("axes", self.axes, 0.05, 1.4)
        in_range("samples", self.samples, 256, 10_000_000)
        if self.k != 2 and self.kind not in CLUSTERED:
            raise UsageFault(f"k = 2 for {self.kind}", f"k = {self.k}", f"use --kind {' or '.join(CLUSTERED[1:])}")
        if (self.kind == "average-mask") != (self.labels is not None):
            raise UsageFault(
                "--labels NAME:PATH with --kind average-mask and with no other",
                f"--kind {self.kind} {'without' if self.labels is None else 'with'} --labels",
                "add it or leave it out: an average mask is fitted to labels, nothing else may see them",
            )


PRESETS: dict[str, Config] = {}
"""None: `--kind` names the baseline."""
