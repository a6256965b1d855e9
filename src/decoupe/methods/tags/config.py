"""Settings of the room `tags`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from decoupe.crf.settings import PRESETS as PRESETS_CRF
from decoupe.errors import Fault, UsageFault
from decoupe.methods.config import in_range, one_of

Network = Literal["vgg16", "mobilenet_v2", "resnet18", "resnet50"]
Map = Literal["gradcam", "gradcam++", "cam"]
Ground = Literal["maps", "saliency"]
Masks = Literal["sec", "gradcam"]

TEXT_CRF = "sec-test"
"""The CRF of the text, for class maps and for the masks of SEC; its kernels and widths are what the tables vary."""
TAUGHT_CRF = "stego"
"""A milder one for masks of self-training, whose targets have been through the CRF already."""


@dataclass(frozen=True)
class Config:
    """Tags: what is in a photo is known, where it is is not; a classifier's evidence becomes named masks."""

    backbone: Network = "mobilenet_v2"
    """Network of the classifier, and trunk of the segmenter."""
    weights: str = ""
    """Its weights, with torchvision's names: a .safetensors or .pth file, a URL ending in NAME-HASH.pth, or
    hf:OWNER/NAME@COMMIT[:FILE], a file of the Hugging Face Hub (extra `hub`; COMMIT of 40 digits; at a branch or tag
    #HASH follows, the 64 digits of its SHA-256). Without them it starts from scratch, needing many thousand photos."""
    classes: tuple[str, ...] = ()
    """Tags to find; the others count as background. None named: all that occur."""
    cues: str = ""
    """A folder of cues made elsewhere in place of the classifier's (scribbles, masks of another tool, other maps): a
    PNG per photo with 0 background, 1 ... the classes in their order, 255 unknown, or maps as NPY (classes, h, w)."""
    size: int = 321
    """Side of the square images, in pixels (32 to 1024); 8 n + 1 puts cells on pixels."""
    batch: int = 8
    """Images per step, over all processes."""

    classifier_images: int = 2_400
    """Images that the classifier sees."""
    classifier_size: int = 193
    """Side at which it sees them, zoomed and mirrored, where nothing is `fixed` (the text: 224)."""
    classifier_lr: float = 3e-4
    """Its highest learning rate (AdamW), the last layer's ten times as high; it falls to zero along a cosine."""
    map_stride: int = 16
    """Pixels per cell of the classifier's maps, 8, 16 or 32: its trunk is dilated where it would be coarser."""
    balance: float = 0.5
    """Weight of a tag's photos: (photos without it / photos with it) to this power; 0 = none."""
    threshold: float = 0.5
    """Probability from which a class counts as present."""
    holdout: float = 0.0
    """Share of the photos that the classifier does not learn from: each class's threshold is the one with the best F1
    on their tags. 0 = `threshold` for all."""

    cam: Map = "cam"
    """Class activation maps. On a backbone that ends in one linear layer (all but vgg16) cam is the same as gradcam up
    to a factor that is divided out, and needs no gradient."""
    scales: tuple[float, ...] = (1.0,)
    """Sizes of the image whose maps are averaged, relative to `size`."""
    flip: bool = True
    """Average maps and masks with those of the mirror image."""
    cue: float = 0.5
    """Cells whose map is above this share of its maximum are cues of the class (the text: .2)."""
    ground: Ground = "maps"
    """Cues of the background: cells where the present classes' maps sum to less than `ground_below`, or the
    `ground_share` of the cells that matter least to the classes by the gradient of the image."""
    ground_below: float = 0.03
    """See `ground`."""
    ground_share: float = 0.1
    """See `ground`."""

    stride: int = 16
    """Pixels per cell of the segmenter's trunk, 8 or 16; its scores are enlarged to cells of 8 (the text: 8)."""
    width: int = 256
    """Channels of its head (the text: 1024)."""
    fixed: int = 16
    """Parts of both trunks with cells up to this many pixels keep the weights given, if any are, and what they make of
    each photo is computed once; the classifier then sees whole photos. 0 = all parts are trained (the text)."""
    start: Literal["classifier", "weights"] = "classifier"
    """Whether its trunk begins as the fine-tuned classifier's, or as the weights given (the text)."""
    optimiser: Literal["adamw", "sgd"] = "adamw"
    """adamw with a rate that falls along a cosine, or sgd whose rate falls to a tenth three times (the text)."""
    lr: float = 5e-4
    """Its learning rate; sgd gives the last layer ten times as much (its biases twenty times)."""
    sec_images: int = 6_400
    """Images that the segmenter sees with the three losses."""
    seed_weight: float = 1.0
    """Weight of the loss on cues."""
    expand_weight: float = 1.0
    """Weight of the loss on the area of classes."""
    constrain_weight: float = 1.0
    """Weight of the loss on the edges of the photo."""
    mirror: bool = True
    """Mirror half of the photos."""

    rounds: int = 2
    """Rounds of self-training, which go beyond the text: the segmenter learns its own masks of the training photos,
    with the classes that are not tagged taken out and the CRF applied. 0 = none."""
    round_images: int = 4_800
    """Images seen in each."""
    sure: float = 0.6
    """Cells whose target is less probable than this teach nothing there."""

    pictures: int = 20_000
    """Photos whose cues and targets are also written into the run folder (cues/, targets-1/, ...), an indexed PNG of
    some hundred bytes each, the first so many; 0 = none. `--cues RUN/cues` reads them back."""
    masks: Masks = "sec"
    """What segments: the segmenter, or the classifier's maps."""
    gate: float = 0.0
    """Classes whose probability by the classifier is below this are left out of the masks; 0 = none is."""
    crf: str = "auto"
    """Dense CRF over the photo as the last step: a preset, none, or auto: the text's sec-test for class maps and masks
    of SEC, and the milder stego for masks of self-training, which have learned the edges already."""

    def __post_init__(self) -> None:
        for name, kind in (("backbone", Network), ("cam", Map), ("ground", Ground), ("masks", Masks)):
            one_of(name, getattr(self, name), get_args(kind))
        if self.stride not in (8, 16):
            raise Fault("stride to be one of 8, 16", str(self.stride), "choose one of these")
        if self.map_stride not in (8, 16, 32):
            raise Fault("map_stride to be one of 8, 16, 32", str(self.map_stride), "choose one of these")
        in_range("size", self.size, 32, 1024)
        in_range("batch", self.batch, 1, 4096)
        in_range("classifier_size", self.classifier_size, 32, 1024)
        for name in ("classifier_images", "sec_images", "round_images"):
            in_range(name, getattr(self, name), self.batch, 1e9)
        for name in ("threshold", "cue", "ground_below", "ground_share", "sure", "gate"):
            in_range(name, getattr(self, name), 0, 1)
        in_range("holdout", self.holdout, 0, 0.9)
        in_range("balance", self.balance, 0, 2)
        in_range("width", self.width, 4, 8192)
        in_range("fixed", self.fixed, 0, 32)
        in_range("rounds", self.rounds, 0, 16)
        in_range("pictures", self.pictures, 0, 1e9)
        for name in ("classifier_lr", "lr"):
            in_range(name, getattr(self, name), 0, 10)
        for name in ("seed_weight", "expand_weight", "constrain_weight"):
            in_range(name, getattr(self, name), 0, 1e6)
        if not self.scales or not all(0.1 <= scale <= 8 for scale in self.scales):
            raise Fault("scales between 0.1 and 8", str(self.scales), "choose --scales such as 1.0 1.5")
        if len(set(self.classes)) < len(self.classes):
            raise Fault("classes that differ", ", ".join(self.classes), "name each once")
        if self.crf not in ("auto", "none", *PRESETS_CRF):
            raise UsageFault(f"a CRF preset: auto, none, {', '.join(PRESETS_CRF)}", repr(self.crf)[:60], "choose one")
        if self.cam == "cam" and self.backbone == "vgg16":
            raise Fault("a backbone that ends in one linear layer for cam", "vgg16", "choose --cam gradcam")


PRESETS: dict[str, Config] = {
    "cpu": Config(),
    "paper": Config(
        backbone="vgg16",
        size=321,
        batch=15,
        classifier_images=105_820,
        classifier_size=224,
        classifier_lr=1e-4,
        balance=0.0,
        cam="gradcam",
        flip=False,
        cue=0.2,
        ground_below=0.1,
        stride=8,
        width=1024,
        fixed=0,
        start="weights",
        optimiser="sgd",
        lr=1e-3,
        sec_images=120_000,
        mirror=False,
        rounds=0,
        crf="sec-test",
    ),
}
"""`cpu` is the default; `paper` is the text's chain with SEC as published (8,000 steps of 15 photos)."""
