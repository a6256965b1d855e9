"""Settings of the room `autoregressive` and its presets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from decoupe.errors import UsageFault
from decoupe.methods.cluster_config import ClusterConfig
from decoupe.methods.config import in_range


@dataclass(frozen=True)
class Config(ClusterConfig):
    """Autoregressive clustering: two orderings of the pixels are two views of an image, their regions must agree."""

    objective: Literal["ac", "arl"] = "ac"
    """ac: clusters by mutual information. arl: features by a contrastive bound, clustered afterwards."""

    stem: Literal["identity", "stem", "residual", "residuals", "resnet18"] = "residual"
    """h: nothing; a stem of convolutions; that and one, or five, plain residual blocks; a ResNet-18. Frozen features
    take its place."""
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

    orderings: Literal["raster", "zigzag", "both"] = "raster"
    """Orderings to draw views from."""
    ordering_count: int = 8
    """How many of each kind, opposite ones in pairs: 2, 4, 6 or 8."""
    sampling: Literal["random", "norepeat", "hard"] = "random"
    """The second ordering: any; any but the first; the one from the opposite corner."""

    projection: int = 64
    """Channels of the features that are contrasted (arl)."""
    temperature: float = 0.1
    """Temperature of the cosines between features (arl)."""
    samples: int = 64
    """Pixels of each image that are contrasted in a step; all others of the batch are negatives (arl)."""

    @property
    def cell(self) -> int:
        """Pixels along each side of a cell of the feature map."""
        return self.stride

    def __post_init__(self) -> None:
        super().__post_init__()
        in_range("blocks", self.blocks, 0, 32)
        in_range("attention", self.attention, 0, self.blocks)
        in_range("width", self.width, 4, 1024)
        in_range("dropout", self.dropout, 0, 0.9)
        in_range("projection", self.projection, 2, 1024)
        in_range("temperature", self.temperature, 0.01, 1)
        in_range("samples", self.samples, 2, 65_536)
        if self.attention and self.width % self.attention_heads:
            raise UsageFault(
                "a width that the attention heads divide",
                f"width {self.width}, {self.attention_heads} heads",
                "change --width or --attention-heads",
            )
        if self.ordering_count not in (2, 4, 6, 8):
            raise UsageFault("ordering-count 2, 4, 6 or 8", str(self.ordering_count), "choose one of these")
        if self.orderings != "raster" and not self.attention:
            raise UsageFault(
                "--attention 1 or more with zigzag orderings", "none", "convolutions alone see a quadrant of a zigzag"
            )

    def _check_cells(self) -> None:
        if self.stride not in (1, 2, 4, 8) or self.size % self.stride:
            raise UsageFault(
                "stride 1, 2, 4 or 8, and a size that it divides",
                f"stride {self.stride}, size {self.size}",
                "change --stride or --size",
            )


_PAPER = Config(
    size=200, batch=60, train_images=300_000, width=64, stride=2, average=0.0, cosine=False, lr=1e-4, reach=5, over_k=0
)  # fmt: skip

_LAND = Config(
    whiten=True, shortcut=True, context=3, start="kmeans", stem="stem", blocks=2, width=24, over_k=0,
    marginal_weight=0.6, train_images=800, checks=2,
)  # fmt: skip
_STUDY = replace(_LAND, size=64, train_images=960, width=16, blocks=3, context=0)

PRESETS: dict[str, Config] = {
    "cpu": Config(),
    "land": _LAND,
    "arl": Config(objective="arl"),
    "f1": replace(_PAPER, stem="identity", blocks=5),
    "f2": replace(_PAPER, stem="stem", blocks=5),
    "f3": replace(_PAPER, stem="residual", blocks=4),
    "f4": replace(_PAPER, stem="residuals", blocks=0),
    "f5": replace(_PAPER, stem="resnet18", blocks=0, stride=8, reach=2),
    "study": _STUDY,
}
"""`cpu` is the default. `land`: what was measured best on drone photos, where classes are of very unequal size and
brightness is nearly all the variance. f1 to f5 are the text's variants of h and g_ar; it states no sizes, so those are
ours. `study`: small, for `decoupe reproduce`."""
