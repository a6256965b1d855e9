"""Settings of the room `baselines`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from decoupe.errors import UsageFault
from decoupe.methods.config import in_range, one_of

Kind = Literal[
    "random", "kmeans-1x1", "kmeans-7x7", "kmeans-lab", "otsu", "average-mask", "grabcut", "ellipse", "otsu-components",
    "random-cnn", "sift", "features", "doersch", "isola", "deepcluster",
]  # fmt: skip

PRETEXTS = ("doersch", "isola", "deepcluster")
"""Kinds that train an encoder before they cluster its features."""
CELLS = ("random-cnn", "sift", "features", *PRETEXTS)
"""Kinds that cluster the cells of a feature map."""
PATCHES = {"kmeans-1x1": 1, "kmeans-7x7": 7}
"""Kinds that cluster patches, and how many pixels these have along each side."""
CLUSTERED = ("random", *PATCHES, *CELLS)
"""Kinds with K anonymous regions; the others give background and object."""


@dataclass(frozen=True)
class Config:
    """Simple and older references that every method has to beat."""

    kind: Kind = "kmeans-lab"
    """random: every pixel anywhere. kmeans-1x1, kmeans-7x7: k-means of pixels, or of 7x7 patches, over all images.
    kmeans-lab: 2-means of each image's colours, the cluster on the border is background. otsu: the same with one
    threshold on brightness. grabcut: from a central rectangle. ellipse: a centred ellipse. average-mask: the mean
    of labelled masks (uses labels). otsu-components: otsu for many things, small holes and specks left out.
    k-means of feature maps: random-cnn (an untrained network), sift (dense SIFT), features (a frozen network, see
    `features`), and networks trained by an older pretext: doersch (where does a patch lie?), isola (do two patches
    belong together?), deepcluster (its own clusters)."""
    k: int = 2
    """Regions of the kinds that cluster, and of random; the others always give 2."""
    size: int = 64
    """Side of the square images that are segmented, in pixels (32 to 512)."""
    margin: float = 0.1
    """grabcut: share of each side left outside the rectangle, on every edge."""
    axes: float = 0.7
    """ellipse: its axes as a share of the image's sides (0.7 covers 38 % of the image)."""
    samples: int = 100_000
    """kmeans-1x1, kmeans-7x7: patches drawn from the images to fit the centres."""
    whiten: bool = False
    """kmeans-1x1, kmeans-7x7: decorrelate the bands over the training images first and give each deviation 1."""
    features: str = ""
    """features: NAME:FILE of a network's weights (vgg16, mobilenet_v2, resnet18, resnet50), or a file of such name."""
    width: int = 32
    """random-cnn, doersch, isola, deepcluster: channels of the network (4 to 512)."""
    batch: int = 16
    """doersch, isola, deepcluster: images per step, over all processes."""
    train_images: int = 8_000
    """doersch, isola, deepcluster: images to see when no other limit is given."""
    lr: float = 1e-3
    """doersch, isola, deepcluster: AdamW's learning rate."""
    labels: str | None = None
    """average-mask: the labelled set NAME:PATH whose masks are averaged (its training part where it has one)."""

    def __post_init__(self) -> None:
        one_of("kind", self.kind, get_args(Kind))
        in_range("k", self.k, 2, 256)
        in_range("size", self.size, 32, 512)
        in_range("margin", self.margin, 0, 0.4)
        in_range("axes", self.axes, 0.05, 1.4)
        in_range("samples", self.samples, 256, 10_000_000)
        in_range("width", self.width, 4, 512)
        in_range("batch", self.batch, 2, 4096)
        in_range("train_images", self.train_images, self.batch, 1e9)
        in_range("lr", self.lr, 1e-6, 1)
        if self.k != 2 and self.kind not in CLUSTERED:
            raise UsageFault(f"k = 2 for {self.kind}", f"k = {self.k}", f"use --kind {', '.join(CLUSTERED)}")
        if self.whiten and self.kind not in PATCHES:
            raise UsageFault(f"--whiten with {', '.join(PATCHES)}", f"--kind {self.kind}", "leave it out")
        if (self.kind == "features") != bool(self.features):
            raise UsageFault(
                "--features NAME:FILE with --kind features and with no other",
                f"--kind {self.kind} {'with' if self.features else 'without'} --features",
                "add it or leave it out",
            )
        if (self.kind == "average-mask") != (self.labels is not None):
            raise UsageFault(
                "--labels NAME:PATH with --kind average-mask and with no other",
                f"--kind {self.kind} {'without' if self.labels is None else 'with'} --labels",
                "add it or leave it out: an average mask is fitted to labels, nothing else may see them",
            )


PRESETS: dict[str, Config] = {
    "study": Config(kind="kmeans-1x1", train_images=960, width=16),
    "study-200": Config(kind="kmeans-1x1", size=200, train_images=300_000, batch=60, width=64),
}
"""`--kind` names the baseline. `study`, `study-200`: sizes for `decoupe reproduce`, small and large."""
