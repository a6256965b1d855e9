"""Settings that the rooms which divide images into K clusters by mutual information share, and their checks.

It imports nothing heavy: `decoupe fit ROOM --help` reads it. What reads these settings is in `clusters.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from decoupe.errors import UsageFault
from decoupe.methods.config import in_range


@dataclass(frozen=True)
class ClusterConfig:
    """Base of the Configs of `autoregressive` and `iic`, which set other defaults and add settings of their own."""

    k: int | Literal["auto"] = 3
    """Number of regions (2 to 256), or `auto`: proposed from the images without labels (see the room's page)."""
    size: int = 128
    """Side of the square images that the network sees, in pixels (32 to 1024, divisible by a cell's side)."""
    batch: int = 16
    """Images per step, over all processes."""
    train_images: int = 48_000
    """Images to see when no other limit is given."""
    checks: int = 8
    """Times that health and the label-free score are looked at, evenly spread."""
    standardise: bool = False
    """Give every band of every image mean 0 and deviation 1 first: a scene's light no longer tells regions apart."""
    whiten: bool = False
    """Decorrelate the bands over all training images and give each deviation 1: colour counts as much as brightness."""
    sobel: bool = False
    """Add two bands with the Sobel derivatives."""

    features: str = ""
    """Frozen features to cluster: NAME:FILE of a network's weights (vgg16, mobilenet_v2, resnet18, resnet50), or a file
    named after one. The method then learns on top of them."""
    components: int = 32
    """Principal components of the frozen features that are kept (2 to 256)."""
    shortcut: bool = False
    """Give the heads the mean and the deviation of each cell's own bands beside the network's features."""
    context: int = 0
    """With the shortcut, also the mean of the bands over the cells up to so many away (0 = none; with orderings, over
    as many that come before)."""
    start: Literal["random", "kmeans"] = "random"
    """Heads begin at random, or at k-means: of frozen features and of the cells' own bands (`shortcut`) where heads get
    them, else of what the untrained network gives."""
    over_k: int = 24
    """Clusters of the second, over-clustering head, trained in alternation with the first (0 = none)."""
    reach: int = 1
    """T: displacements of up to T cells (pixels with `full`) along each axis between what is compared."""
    marginal_weight: float = 1.0
    """lambda: weight of the marginal entropies in the mutual information; above 1 presses clusters to equal sizes."""
    over_marginal_weight: float = 1.0
    """The same weight for the over-clustering head."""
    full: bool = False
    """Enlarge assignments to the size of the image before they are compared; otherwise cells are compared."""
    lr: float = 1e-3
    """AdamW's learning rate."""
    decay: float = 0.0
    """AdamW's weight decay."""
    cosine: bool = True
    """Lower the learning rate along a cosine to a twentieth; otherwise constant."""
    average: float = 0.99
    """Decay of the networks' moving average per step, which is what segments (0 = none)."""

    jitter: float = 0.0
    """Colour jitter of the second view."""
    flip: bool = False
    """Mirror half of the second views; their outputs are mirrored back."""
    rotation: float = 0.0
    """Largest angle by which second views are rotated, in degrees; their outputs are rotated back."""

    @property
    def cell(self) -> int:
        """Pixels along each side of a cell of the feature map."""
        raise NotImplementedError

    def __post_init__(self) -> None:
        if not isinstance(self.k, str):
            in_range("k", self.k, 2, 256)
        in_range("size", self.size, 32, 1024)
        in_range("batch", self.batch, 2, 4096)
        in_range("train_images", self.train_images, self.batch, 1e9)
        in_range("checks", self.checks, 1, 100)
        in_range("over_k", self.over_k, 0, 256)
        in_range("components", self.components, 2, 256)
        in_range("context", self.context, 0, 32)
        in_range("jitter", self.jitter, 0, 1)
        in_range("rotation", self.rotation, 0, 180)
        in_range("average", self.average, 0, 0.9999)
        self._check_cells()
        in_range("reach", self.reach, 0, (self.size if self.full else self.size // self.cell) // 2)
        if self.context and not self.shortcut:
            raise UsageFault("--shortcut with --context", "none", "add it: context is given beside a cell's own bands")
        if self.k == "auto" and not 4 <= self.over_k <= 64:
            raise UsageFault("over-k from 4 to 64 with --k auto", str(self.over_k), "K is found by merging those")

    def _check_cells(self) -> None:
        """UsageFault unless cells tile the image."""
        if self.size % self.cell:
            raise UsageFault(f"a size divisible by {self.cell}", str(self.size), "change --size or the size of a cell")
