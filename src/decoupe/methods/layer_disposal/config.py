"""Settings of the room `layer_disposal` and its presets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from decoupe.errors import Fault
from decoupe.methods.config import in_range, one_of

Latent = Literal["reduced", "flat"]
Prior = Literal["uniform", "normal"]
Norm = Literal["batch", "group"]
Initial = Literal["independent", "identical"]
Blocks = Literal["plain", "residual"]
Inference = Literal["latent", "pixel-real", "pixel-generated"]
Adversarial = Literal["nonsaturating", "hinge"]
HALVED = 16
"""Between an image and its code the side is halved four times."""


@dataclass(frozen=True)
class Config:
    """Layer disposal: layers are objects when any of them can be left out and the image still looks real."""

    size: int = 64
    """Side of the square images, in pixels: a multiple of 16 (32 to 256)."""
    k: int = 5
    """Layers over the background (1 to 32); there are k + 1 regions."""
    batch: int = 32
    """Images per step, over all processes."""
    train_images: int = 64_000
    """Images to see by default (the text: two epochs over 3,033,042 bedrooms)."""

    keep_prob: float = 0.4
    """Probability that a layer is KEPT; 1 = no disposal, the text's autoencoder."""
    learn_keep: bool = False
    """Learn a probability for each layer; their mean stays keep_prob (beyond the text)."""
    move: float = 0.0
    """D sees every layer moved by up to this share of a side (0 to .5), each by itself: what is an object stays one
    (Bielski and Favaro 2019; beyond the text; 0 = none)."""
    binary_weight: float = 0.0
    """Weight of a penalty on masks between 0 and 1 (beyond the text; 0 = none)."""
    area: float = 0.0
    """Share of all pixels of a batch that each layer is to cover at least, 0 to .5 (beyond the text; 0 = none)."""
    area_weight: float = 1.0
    """Weight of the penalty on layers that cover less than `area`."""
    unique_weight: float = 0.0
    """Weight of a penalty on masks that lie on one another (beyond the text; 0 = none)."""
    inference: Inference = "latent"
    """How an image is read: its code regressed from generated images (the text's choice), or an encoder trained for
    pixels, on real or on generated images, with classifiers that say which layers are there."""
    encoder_weight: float = 1.0
    """lambda of Eq. 3.3."""
    photo_weight: float = 0.0
    """Weight of rebuilding photos (mean absolute error) while the layers are learned: half of the codes of a step are
    those of photos, whose layers are dropped too (beyond the text; 0 = none)."""
    encoder_images: int = 32_000
    """Images on which the encoder for pixels is trained once the generator is fixed."""

    latent: Latent = "reduced"
    """reduced: a code of z x size/16 x size/16, so that it knows where things are. flat: a vector, as in DCGAN."""
    z: int = 64
    """Channels of the code, or its dimensions where it is flat (DCGAN: 100)."""
    prior: Prior = "uniform"
    """Distribution of codes: U[-1, 1] (Eq. 3.3) or N(0, I) (section 3.2.2)."""
    width: int = 32
    """Channels of the decoders' last hidden maps (DCGAN: 64)."""
    encoder_width: int = 32
    """Channels of the encoder's first layer (DCGAN: 64)."""
    discriminator_width: int = 32
    """Channels of the discriminator's first layer (DCGAN: 64)."""
    blocks: Blocks = "plain"
    """What the decoders enlarge with: 4x4 transposed convolutions, or residual blocks (beyond the text)."""
    norm: Norm = "batch"
    """batch: as the text; an image then depends on its batch in training. group: every image by itself."""
    shared_trunk: bool = True
    """A layer's image and mask come from one decoder; otherwise from two."""
    initial: Initial = "independent"
    """Initial weights of the decoders: each drawn by itself, or one draw for all of them (the text's ablation)."""

    even: bool = True
    """Masks begin so that background and layers show alike, not at 1/2 each (not where `initial` is identical)."""

    features: str = ""
    """D judges what a frozen network sees: NAME:FILE of its weights (mobilenet_v2, vgg16, resnet18, resnet50), or a
    file named after one (beyond the text; empty = the text's D, which looks at pixels). `discriminator_width` and
    `norm` have no part in such a D."""
    adversarial: Adversarial = "nonsaturating"
    """Binary cross-entropy as DCGAN, or hinge (beyond the text)."""
    r1: float = 0.0
    """Weight of the penalty on the discriminator's gradient at real images (beyond the text; 0 = none)."""
    r1_every: int = 4
    """That penalty acts in one of so many steps, and as many times as strongly."""
    augment: bool = False
    """Show the discriminator everything, real or generated, in jittered colours and randomly shifted."""
    mirror: bool = True
    """Mirror half of the photos in training."""
    zoom: float = 1.0
    """Photos are seen through random crops of 1/zoom to all of a side."""
    average: float = 0.99
    """Decay of the moving average of generator and encoder per step (0 = none, as in the text)."""
    lr: float = 2e-4
    """Adam's learning rate of generator and encoder."""
    lr_discriminator: float = 2e-4
    """Adam's learning rate of the discriminator."""
    anneal: float = 0.0
    """Last share of the run over which all rates fall to zero in a straight line (0 = constant, as in the text)."""
    checks: int = 8
    """Checks of health and label-free score, evenly spread; each keeps a snapshot."""

    def __post_init__(self) -> None:
        in_range("size", self.size, 32, 256)
        if self.size % HALVED:
            raise Fault(f"size a multiple of {HALVED}", str(self.size), f"choose {-(-self.size // HALVED) * HALVED}")
        in_range("k", self.k, 1, 32)
        in_range("batch", self.batch, 2, 4096)
        in_range("train_images", self.train_images, self.batch, 1e9)
        in_range("keep_prob", self.keep_prob, 0.01, 1)
        in_range("unique_weight", self.unique_weight, 0, 1e6)
        in_range("encoder_weight", self.encoder_weight, 0, 1e6)
        in_range("move", self.move, 0, 0.5)
        in_range("binary_weight", self.binary_weight, 0, 1e6)
        in_range("area", self.area, 0, 0.5)
        in_range("area_weight", self.area_weight, 0, 1e6)
        in_range("photo_weight", self.photo_weight, 0, 1e6)
        in_range("encoder_images", self.encoder_images, self.batch, 1e9)
        in_range("z", self.z, 1, 4096)
        for name in ("width", "encoder_width", "discriminator_width"):
            in_range(name, getattr(self, name), 4, 256)
        in_range("r1", self.r1, 0, 1e6)
        in_range("r1_every", self.r1_every, 1, 1000)
        in_range("zoom", self.zoom, 1, 4)
        in_range("average", self.average, 0, 0.99999)
        in_range("lr", self.lr, 0, 1)
        in_range("lr_discriminator", self.lr_discriminator, 0, 1)
        in_range("anneal", self.anneal, 0, 1)
        in_range("checks", self.checks, 1, 1000)
        for name, kind in (
            ("inference", Inference), ("latent", Latent), ("prior", Prior), ("blocks", Blocks), ("norm", Norm),
            ("initial", Initial), ("adversarial", Adversarial),
        ):  # fmt: skip
            one_of(name, getattr(self, name), get_args(kind))
        if self.photo_weight and self.inference != "latent":
            raise Fault("--inference latent with --photo-weight", self.inference, "leave one of them out")
        if self.learn_keep and self.keep_prob == 1:
            raise Fault("keep_prob below 1 with learn_keep", "1", "leave --learn-keep out, or lower --keep-prob")


PRESETS: dict[str, Config] = {
    "cpu": Config(),
    "study": Config(
        size=32,
        batch=16,
        train_images=32_000,
        z=16,
        width=16,
        encoder_width=16,
        discriminator_width=16,
        blocks="residual",
        lr=3e-4,
        lr_discriminator=1.5e-4,
        checks=4,
    ),
    "projected": Config(
        z=16,
        width=16,
        encoder_width=16,
        blocks="residual",
        adversarial="hinge",
        augment=True,
        photo_weight=10.0,
        move=0.125,
        binary_weight=0.5,
        area=0.1,
        lr=3e-4,
        lr_discriminator=3e-4,
        average=0.995,
    ),
    "paper": Config(
        batch=128,
        train_images=6_000_000,
        width=64,
        encoder_width=64,
        discriminator_width=64,
        even=False,
        mirror=False,
        zoom=1.25,
        average=0.0,
    ),
}
"""`cpu` is the default; `study` is the small scale of `decoupe reproduce`; `projected` goes with `--features`;
`paper` is the text's."""
