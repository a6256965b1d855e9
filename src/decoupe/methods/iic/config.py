"""Settings of the room `iic` and its presets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from decoupe.methods.cluster_config import ClusterConfig
from decoupe.methods.config import in_range


@dataclass(frozen=True)
class Config(ClusterConfig):
    """Invariant information clustering: the regions of an image and of its transform must tell of each other."""

    width: int = 16
    """Channels of the first convolution; the others have 2, 4, 4, 8 and 8 times as many (the paper: 64)."""
    halvings: int = 2
    """Max-poolings, after the second and the fourth convolution (0 to 2)."""
    padding: Literal["replicate", "zeros"] = "replicate"
    """What convolutions see beyond the border; zeros tell the network where in the image it is."""

    jitter: float = 0.2
    """Colour jitter of the transform."""
    flip: bool = True
    """Mirror half of the transformed images."""

    @property
    def cell(self) -> int:
        """Pixels along each side of a cell of the feature map."""
        return int(2**self.halvings)

    def __post_init__(self) -> None:
        in_range("width", self.width, 2, 256)
        in_range("halvings", self.halvings, 0, 2)
        super().__post_init__()


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
    "study": Config(
        size=64,
        train_images=960,
        width=8,
        over_k=0,
        whiten=True,
        shortcut=True,
        start="kmeans",
        marginal_weight=0.6,
        checks=2,
    ),
    "potsdam-3": _published(3, 200, 75, 24, 10, 1e-5, 1.5, False),
    "potsdam-6": _published(6, 200, 60, 36, 5, 1e-6, 1.5, False),
    "cocostuff-3": _published(3, 128, 120, 15, 10, 1e-4, 1.5, True),
    "cocostuff-15": _published(15, 128, 60, 45, 10, 1e-4, 1.5, True),
}
"""`cpu` is the default; `study` is small, for `decoupe reproduce`; the others are the published settings, named by data
set and number of classes."""
