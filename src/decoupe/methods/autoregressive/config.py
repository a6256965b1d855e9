"""Settings of the room `autoregressive` and its presets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from decoupe.errors import UsageFault
from decoupe.methods.config import in_range


@dataclass(frozen=True)
class Config:
    """Autoregressive clustering: two orderings of the pixels are two views of an image, their regions must agree."""

    objective: Literal["ac", "arl"] = "ac"
    """ac: clusters by mutual information. arl: features by a contrastive bound, clustered afterwards."""
    k: int | Literal["auto"] = 3
    """Number of regions (2 to 256), or `auto`: proposed from the images without labels (see the room's page)."""
    size: int = 128
    """Side of the square images that the network sees, in pixels (32 to 1024, divisible by `stride`)."""
    batch: int = 16
    """Images per step, over all processes."""
    train_images: int = 48_000
    """Images to see when no other limit is given."""
    checks: int = 8
    """Times that health and the label-free score are looked at, evenly spread."""

    stem: Literal["identity", "stem", "residual", "residuals", "resnet18"] = "residual"
    """h: nothing; a stem of convolutions; that and one, or five, plain residual blocks; a ResNet-18."""
    blocks: int = 4
    """Masked residual blocks of g_ar (0 = none: then both views are alike but for their transforms and dropout)."""
    attention: int = 0
    """Attention blocks among the masked blocks; they reach what masked convolutions are blind to. Zigzags need one."""
    attention_heads: int = 4
    """Heads of each attention block."""
    width: int = 64
    """Channels of the network (a ResNet-18's first)."""
    stride: int = 4
    """Pixels along each side of a cell of the feature map: 1, 2, 4 or 8."""
    norm: Literal["batch", "pixel"] = "batch"
    """Normalisation by the statistics of the global batch, or of each pixel by itself (causal in training too)."""
    dropout: float = 0.0
    """Share of the channels dropped inside residual blocks."""
    standardise: bool = False
    """Give every band of every image mean 0 and deviation 1 first: a scene's light no longer tells regions apart."""
    sobel: bool = False
    """Add two bands with the Sobel derivatives."""

    orderings: Literal["raster", "zigzag", "both"] = "raster"
    """Orderings to draw views from."""
    ordering_count: int = 8
    """How many of each kind, opposite ones in pairs: 2, 4, 6 or 8."""
    sampling: Literal["random", "norepeat", "hard"] = "random"
    """The second ordering: any; any but the first; the one from the opposite corner."""
    jitter: float = 0.0
    """Colour jitter of the second view."""
    flip: bool = False
    """Mirror half of the second views; their outputs are mirrored back."""
    rotation: float = 0.0
    """Largest angle by which second views are rotated, in degrees; their outputs are rotated back."""

    reach: int = 1
    """T: displacements of up to T cells along each axis between the pixels that are compared (ac)."""
    marginal_weight: float = 1.0
    """Weight of the marginal entropies in the mutual information; above 1 clusters are pressed to equal sizes (ac)."""
    over_k: int = 24
    """Clusters of the second, over-clustering head, trained in alternation with the first (0 = none)."""
    over_marginal_weight: float = 1.0
    """The same weight for the over-clustering."""
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

    features: int = 64
    """Channels of the features that are contrasted (arl)."""
    temperature: float = 0.1
    """Temperature of the cosines between features (arl)."""
    samples: int = 64
    """Pixels of each image that are contrasted in a step; all others of the batch are negatives (arl)."""

    def __post_init__(self) -> None:
        if not isinstance(self.k, str):
            in_range("k", self.k, 2, 256)
        in_range("size", self.size, 32, 1024)
        in_range("batch", self.batch, 2, 4096)
        in_range("train_images", self.train_images, self.batch, 1e9)
        in_range("checks", self.checks, 1, 100)
        in_range("blocks", self.blocks, 0, 32)
        in_range("attention", self.attention, 0, self.blocks)
        in_range("width", self.width, 4, 1024)
        in_range("dropout", self.dropout, 0, 0.9)
        in_range("rotation", self.rotation, 0, 180)
        in_range("jitter", self.jitter, 0, 1)
        in_range("over_k", self.over_k, 0, 256)
        in_range("average", self.average, 0, 0.9999)
        in_range("features", self.features, 2, 1024)
        in_range("temperature", self.temperature, 0.01, 1)
        in_range("samples", self.samples, 2, 65_536)
        self._check_shape()
        self._check_words()

    def _check_shape(self) -> None:
        if self.stride not in (1, 2, 4, 8) or self.size % self.stride:
            raise UsageFault(
                "stride 1, 2, 4 or 8, and a size that it divides",
                f"stride {self.stride}, size {self.size}",
                "change --stride or --size",
            )
        in_range("reach", self.reach, 0, (self.size if self.full else self.size // self.stride) // 2)
        if self.attention and self.width % self.attention_heads:
            raise UsageFault(
                "a width that the attention heads divide",
                f"width {self.width}, {self.attention_heads} heads",
                "change --width or --attention-heads",
            )

    def _check_words(self) -> None:
        if self.ordering_count not in (2, 4, 6, 8):
            raise UsageFault("ordering-count 2, 4, 6 or 8", str(self.ordering_count), "choose one of these")
        if self.orderings != "raster" and not self.attention:
            raise UsageFault(
                "--attention 1 or more with zigzag orderings", "none", "convolutions alone see a quadrant of a zigzag"
            )
        if self.k == "auto" and not 4 <= self.over_k <= 64:
            raise UsageFault("over-k from 4 to 64 with --k auto", str(self.over_k), "K is found by merging those")


_PAPER = Config(
    size=200, batch=60, train_images=300_000, width=64, stride=2, average=0.0, cosine=False, lr=1e-4, reach=5, over_k=0
)  # fmt: skip

PRESETS: dict[str, Config] = {
    "cpu": Config(),
    "arl": Config(objective="arl"),
    "f1": replace(_PAPER, stem="identity", blocks=5),
    "f2": replace(_PAPER, stem="stem", blocks=5),
    "f3": replace(_PAPER, stem="residual", blocks=4),
    "f4": replace(_PAPER, stem="residuals", blocks=0),
    "f5": replace(_PAPER, stem="resnet18", blocks=0, stride=8, reach=2),
}
"""`cpu` is the default. f1 to f5 are the text's variants of h and g_ar; it states no sizes, so those are ours."""
