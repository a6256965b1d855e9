"""Settings of the room `iic` and its presets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from decoupe.errors import UsageFault
from decoupe.methods.config import in_range


@dataclass(frozen=True)
class Config:
    """Invariant information clustering: the regions of an image and of its transform must tell of each other."""

    k: int | Literal["auto"] = 3
    """Number of regions (2 to 256), or `auto`: proposed from the images without labels (see the room's page)."""
    size: int = 128
    """Side of the square images that the network sees, in pixels (32 to 1024, divisible by 2 ^ halvings)."""
    batch: int = 16
    """Images per step, over all processes."""
    train_images: int = 48_000
    """Images to see when no other limit is given."""
    checks: int = 8
    """Times that health and the label-free score are looked at, evenly spread."""

    width: int = 16
    """Channels of the first convolution; the others have 2, 4, 4, 8 and 8 times as many (the paper: 64)."""
    halvings: int = 2
    """Max-poolings, after the second and the fourth convolution (0 to 2)."""
    padding: Literal["replicate", "zeros"] = "replicate"
    """What convolutions see beyond the border; zeros tell the network where in the image it is."""
    standardise: bool = False
    """Give every band of every image mean 0 and deviation 1 first: a scene's light no longer tells regions apart."""
    sobel: bool = False
    """Add two bands with the Sobel derivatives."""
    over_k: int = 24
    """Clusters of the second, over-clustering head, trained in alternation with the first (0 = none)."""
    reach: int = 1
    """T: displacements of up to T pixels (or cells, without `full`) along each axis between what is compared."""
    marginal_weight: float = 1.0
    """lambda of the main head: weight of the marginal entropies in the mutual information."""
    over_marginal_weight: float = 1.0
    """lambda of the over-clustering head."""
    full: bool = False
    """Enlarge assignments to the size of the image before they are compared (the paper); otherwise cells are."""

    jitter: float = 0.2
    """Colour jitter of the transform."""
    flip: bool = True
    """Mirror half of the transformed images."""
    rotation: float = 0.0
    """Largest angle of the transform's rotation in degrees."""
    lr: float = 1e-3
    """AdamW's learning rate."""
    decay: float = 0.0
    """AdamW's weight decay."""
    cosine: bool = True
    """Lower the learning rate along a cosine to a twentieth; otherwise constant."""
    average: float = 0.99
    """Decay of the networks' moving average per step, which is what segments (0 = none)."""

    def __post_init__(self) -> None:
        if not isinstance(self.k, str):
            in_range("k", self.k, 2, 256)
        in_range("size", self.size, 32, 1024)
        in_range("batch", self.batch, 2, 4096)
        in_range("train_images", self.train_images, self.batch, 1e9)
        in_range("checks", self.checks, 1, 100)
        in_range("width", self.width, 2, 256)
        in_range("halvings", self.halvings, 0, 2)
        in_range("over_k", self.over_k, 0, 256)
        in_range("jitter", self.jitter, 0, 1)
        in_range("rotation", self.rotation, 0, 180)
        in_range("average", self.average, 0, 0.9999)
        if self.size % 2**self.halvings:
            raise UsageFault(f"a size divisible by {2**self.halvings}", str(self.size), "change --size or --halvings")
        in_range("reach", self.reach, 0, (self.size if self.full else self.size // 2**self.halvings) // 2)
        if self.k == "auto" and not 4 <= self.over_k <= 64:
            raise UsageFault("over-k from 4 to 64 with --k auto", str(self.over_k), "K is found by merging those")


def _published(
    k: int, size: int, batch: int, over_k: int, reach: int, lr: float, over_weight: float, sobel: bool
) -> Config:
    """A published experiment; what is not known of it is named in the README."""
    return Config(
        k=k, size=size, batch=batch, train_images=8550 * 20, width=64, halvings=1, sobel=sobel, over_k=over_k,
        reach=reach, over_marginal_weight=over_weight, full=True, padding="zeros", jitter=0.4, flip=True,
        lr=lr, cosine=False, average=0.0,
    )  # fmt: skip


PRESETS: dict[str, Config] = {
    "cpu": Config(),
    "potsdam-3": _published(3, 200, 75, 24, 10, 1e-5, 1.5, False),
    "potsdam-6": _published(6, 200, 60, 36, 5, 1e-6, 1.5, False),
    "cocostuff-3": _published(3, 128, 120, 15, 10, 1e-4, 1.5, True),
    "cocostuff-15": _published(15, 128, 60, 45, 10, 1e-4, 1.5, True),
}
"""`cpu` is the default; the others are the published settings, named by data set and number of classes."""
