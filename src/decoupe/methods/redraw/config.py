"""Settings of the room `redraw` and its presets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

from decoupe.methods.config import in_range, one_of

Step = Literal["region", "every", "all"]
Information = Literal["regressor", "shared", "none"]
Regulariser = Literal["none", "mse", "rectified", "concrete"]


@dataclass(frozen=True)
class Config:
    """Redraw: a division into regions is right when one region can be redrawn and the image still looks real."""

    size: int = 64
    """Side of the square images, in pixels (32 to 256)."""
    k: int = 2
    """Regions (2 to 16)."""
    batch: int = 20
    """Images per step, over all processes."""
    train_images: int = 48_000
    """Images to see by default."""
    z: int = 32
    """Dimensions of each region's latent."""
    redraw_size: int | None = 16
    """Side at which regions are redrawn and judged, in pixels; masks are found at `size`. None = `size`."""

    step: Step = "region"
    """region: redraw one region of each photo, keep the rest (the paper). every: each region of each photo in turn, z
    read from the image with all of them redrawn (the authors' code). all: redraw all regions at once (the ablation)."""
    information: Information = "regressor"
    """How the latent is read back from the redrawn image: by a network of its own (the paper), from the discriminator's
    last features (one network less; both are trained together), or not at all."""
    information_weight: float = 1.25
    """lambda_z (the paper: 5)."""
    regulariser: Regulariser = "none"
    """Penalty on the mean area of the masks: squared distance from one half, the same outside of a margin, or the
    density of the Concrete distribution."""
    regulariser_weight: float = 100.0
    """lambda_reg."""
    regulariser_images: int | None = None
    """Images after which the penalty is switched off (the hybrid schedule); None = never."""
    margin: float = 0.3
    """s of the rectified penalty."""
    concrete_alpha: float = 1.0
    """alpha of the Concrete density."""
    concrete_beta: float = 0.5
    """beta of the Concrete density."""
    concrete_squared: bool = False
    """Use the density with its denominator squared, as Maddison et al. define it; the text prints it without."""

    coarse: int = 1
    """The masks vary on a grid of this many pixels; 1 = every pixel."""
    mask_width: int = 16
    """Channels of the mask network's first layer (the paper: 64)."""
    generator_width: int = 32
    """Channels of the region generators' last block."""
    discriminator_width: int = 32
    """Channels of the discriminator's first block (the paper: 64)."""
    attention_generator: bool = True
    """Self-attention in the region generators."""
    attention_discriminator: bool = True
    """Self-attention in the discriminator and in the network that reads latents."""
    lr_mask: float = 2e-5
    """Adam's learning rate of the mask network (the paper: 1e-5)."""
    lr_generator: float = 2e-4
    """Adam's learning rate of the region generators (the paper: 1e-4)."""
    lr_reader: float = 1e-3
    """Adam's learning rate of the network that reads latents (the paper: 1e-4)."""
    lr_discriminator: float = 2e-4
    """Adam's learning rate of the discriminator (the paper: 1e-4)."""
    decay_mask: float = 1e-4
    """Weight decay of the mask network."""
    anneal: float = 0.5
    """Last share of the run over which all rates fall to zero in a straight line (0 = constant, as in the paper)."""
    average: float = 0.999
    """Decay of the mask network's moving average per step (0 = none, as in the paper)."""
    augment: bool = True
    """Show the discriminator everything, real or redrawn, in jittered colours and randomly shifted."""
    mirror: bool = True
    """Mirror half of the photos in training."""
    mirrored: bool = True
    """Masks are the mean of those of a photo and of its mirror image: twice the time, fewer artefacts."""
    snap: bool = True
    """Draw the masks that `segment` gives to the colours of their photos (snapping.py; no labels)."""
    checks: int = 12
    """Checks of health and label-free score, evenly spread; each keeps a snapshot."""
    patience: int = 0
    """Stop when the label-free score has not risen by more than its standard error for so many checks; 0 = never."""

    def __post_init__(self) -> None:
        in_range("size", self.size, 32, 256)
        in_range("k", self.k, 2, 16)
        in_range("batch", self.batch, self.k, 4096)
        in_range("train_images", self.train_images, self.batch, 1e9)
        in_range("z", self.z, 1, 1024)
        in_range("redraw_size", self.redraw_size, 16, self.size)
        one_of("step", self.step, get_args(Step))
        one_of("information", self.information, get_args(Information))
        one_of("regulariser", self.regulariser, get_args(Regulariser))
        in_range("information_weight", self.information_weight, 0, 1e6)
        in_range("regulariser_weight", self.regulariser_weight, 0, 1e6)
        in_range("regulariser_images", self.regulariser_images, 0, 1e12)
        in_range("margin", self.margin, 0, 0.5)
        in_range("concrete_alpha", self.concrete_alpha, 1e-3, 1e3)
        in_range("concrete_beta", self.concrete_beta, 1e-3, 1e3)
        in_range("coarse", self.coarse, 1, 8)
        in_range("mask_width", self.mask_width, 4, 256)
        in_range("generator_width", self.generator_width, 4, 256)
        in_range("discriminator_width", self.discriminator_width, 4, 256)
        for name in ("lr_mask", "lr_generator", "lr_reader", "lr_discriminator"):
            in_range(name, getattr(self, name), 0, 1)
        in_range("decay_mask", self.decay_mask, 0, 1)
        in_range("average", self.average, 0, 0.99999)
        in_range("anneal", self.anneal, 0, 1)
        in_range("checks", self.checks, 1, 1000)
        in_range("patience", self.patience, 0, 1000)


_PAPER = Config(
    size=128,
    train_images=600_000,
    redraw_size=None,
    coarse=1,
    information_weight=5.0,
    mask_width=64,
    discriminator_width=64,
    lr_mask=1e-5,
    lr_generator=1e-4,
    lr_reader=1e-4,
    lr_discriminator=1e-4,
    anneal=0.0,
    average=0.0,
    augment=False,
    mirrored=False,
    snap=False,
)

PRESETS: dict[str, Config] = {
    "cpu": Config(),
    "study": Config(
        size=32, train_images=16_000, augment=False, anneal=0, average=0, mirrored=False, snap=False, checks=8
    ),
    "paper-flowers": _PAPER,
    "paper-lfw": replace(_PAPER, generator_width=64),
    "paper-cub": replace(_PAPER, generator_width=64),
}
"""`cpu` is the default; `study` is the small scale of `decoupe reproduce`; the others are the paper's."""
