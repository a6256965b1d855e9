"""Settings of the task `cluster`; the room's Config inherits them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from decoupe.methods.config import in_range


@dataclass(frozen=True)
class ClusterSettings:
    """What the task `cluster` has beside the settings that it shares with `foreground`."""

    instance_px: float | None = None
    """Task cluster: width of a typical thing in pixels of the image; None = estimated, and the log says so."""
    source: Literal["cutouts", "provider"] = "cutouts"
    """Task cluster: composites of things cut out of the image, or of those that the paper's generator invents."""
    passes: int = 2
    """Task cluster: rounds of the segmenter; each later one cuts its things out by the segmenter before."""
    pass_images: int = 2_880
    """Task cluster: composites and patches the segmenter sees in each round."""
    composites: int = 320
    """Task cluster: composites made for each round; each is seen several times, turned, mirrored, in other light."""
    segmenter_width: int = 16
    """Task cluster: channels of the segmenter's first level."""
    lr_segmenter: float = 3e-3
    """Task cluster: highest learning rate of the segmenter (AdamW, falls to zero)."""
    real: float = 0.25
    """Task cluster: share of the batch that is patches of the image, with what is known of them as truth."""
    scale_spread: float = 0.15
    """Task cluster: deviation of log size of the things in composites from those that were cut out."""
    hidden: float = 0.5
    """Task cluster: at most this share of a thing in a composite is hidden by others."""
    views: int = 8
    """Task cluster: turned and mirrored views of the image that are averaged; their counts give the uncertainty."""

    layers: int = 10
    """Task cluster: things in one composite of the generator (N of Eq. 5; crowd 8, fruit 10, seeds 12)."""
    latent: int = 5
    """Task cluster: dimensions of z (crowd 6, fruit 5, seeds 2)."""
    generator_width: int = 32
    """Task cluster: channels of the generator's last hidden layer (the paper: 64)."""
    generator_images: int = 48_000
    """Task cluster: patches the discriminator sees beside the generator's composites."""
    patch: float = 1.5
    """Task cluster: side of the patches in widths of a thing."""
    pad: int = 32
    """Task cluster: what the generator makes is padded by this many of 64 pixels, then cropped at random."""
    disk: int = 20
    """Task cluster: radius of the black disk in the backgrounds, of 64 pixels; 0 = pure black backgrounds."""
    layout: Literal["prior", "trained"] = "prior"
    """Task cluster: where the generator's things go: drawn from the prior, or corrected by a network that learns."""
    layout_weight: float = 0.3
    """Task cluster: weight of the penalty on the corrections of a layout that learns."""
    upright: bool = False
    """Task cluster: things have one upright pose (people), so patches are mirrored left and right only."""
    information: float = 50.0
    """Task cluster: weight of the term that makes z readable from each thing (beta of Table 4)."""

    def check_cluster(self) -> None:
        """Fault where a setting is out of its range."""
        in_range("instance_px", self.instance_px, 3, 1e5)
        in_range("passes", self.passes, 1, 8)
        in_range("pass_images", self.pass_images, 8, 1e9)
        in_range("composites", self.composites, 1, 1e6)
        in_range("segmenter_width", self.segmenter_width, 4, 128)
        in_range("real", self.real, 0, 0.9)
        in_range("scale_spread", self.scale_spread, 0, 1)
        in_range("hidden", self.hidden, 0, 0.9)
        in_range("views", self.views, 1, 8)
        in_range("layers", self.layers, 1, 64)
        in_range("latent", self.latent, 1, 512)
        in_range("generator_width", self.generator_width, 4, 256)
        in_range("generator_images", self.generator_images, 8, 1e9)
        in_range("patch", self.patch, 1, 4)
        in_range("pad", self.pad, 0, 64)
        in_range("disk", self.disk, 0, 32)
        in_range("layout_weight", self.layout_weight, 0, 1e6)
        in_range("information", self.information, 0, 1e6)
