"""Settings of the room `scene_vae` and its presets."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal, get_args

from decoupe.errors import Fault, UsageFault
from decoupe.methods.config import in_range, one_of

Kind = Literal["cvae", "jvae", "telbo", "jmvae", "unet"]
Modality = Literal["none", "image", "tags", "mask"]
JOINT = ("jvae", "telbo", "jmvae")
"""Models whose latent makes image, tags and mask: they can imagine."""
CELLS = 8
"""Most cells of the latent along one side."""


@dataclass(frozen=True)
class Config:
    """One latent space for image, tags and mask; any of them is inferred from any of the others."""

    masks: str | None = None
    """Masks to learn from: a folder of masks with the names of the images, or NAME:PATH of a labelled layout (its val
    and test splits are left out). A few will do."""
    pseudo_masks: str | None = None
    """Masks that another run made, read in the same way, for images that have no mask of their own."""
    pseudo_weight: float = 0.5
    """Weight of a pseudo-mask beside a real one."""
    labelled: int | None = None
    """Use only this many of the masks, chosen by the hashes of their names; None = all."""
    protocol: str | None = None
    """Learn the classes of this protocol of `decoupe evaluate` instead of those of the layout."""
    names: tuple[str, ...] = ("background", "object")
    """Class names; filled in from the masks."""
    digest: str = ""
    """SHA-256 of the masks; filled in."""

    model: Kind = "telbo"
    """cvae: p(mask | image, z). jvae: one posterior of the joint latent. telbo: three ELBOs with inference networks for
    (image, tags) and for the mask. jmvae: the same networks, trained by KL terms. unet: p(mask | image), no latent."""
    size: int = 64
    """Side of the square images, in pixels (32 to 256)."""
    batch: int = 16
    """Images per step, over all processes."""
    train_images: int = 24_000
    """Images to see by default."""
    width: int = 16
    """Channels of the finest level of encoders and decoders."""
    halvings: int = 4
    """Halvings of resolution between images and latent (3 to 5)."""
    latent_shape: Literal["map", "vector"] = "map"
    """The latent is a map, one vector for each cell of 2^halvings pixels, or a single vector (the text)."""
    latent: int = 16
    """Dimensions of the latent, of each cell where it is a map."""
    hidden: int = 128
    """Units of the two-layered perceptrons."""
    backbone: Literal["none", "mobilenet_v2", "vgg16", "resnet18", "resnet50"] = "none"
    """Network that encodes the image: one from scratch, or a classification network."""
    weights: str = ""
    """Weights of the backbone: a file or a URL (see docs); "" = from scratch."""

    image_weight: float = 1.0
    """Weight of log p(image | z)."""
    mask_weight: float = 10.0
    """Weight of log p(mask | z)."""
    tags_weight: float = 50.0
    """Weight of log p(tags | z)."""
    kl_weight: float = 1.0
    """Weight of the KL terms."""
    warm_up: float = 0.2
    """Share of the run over which the weight of the KL terms rises from 0."""
    likelihood: Literal["gaussian", "logistic"] = "gaussian"
    """p(image | z): Gaussian, or a logistic distribution over the 256 levels."""
    free_bits: float = 0.0
    """Nats of each latent dimension that the KL terms leave alone."""
    samples: int = 1
    """Samples of the latent in the (joint) ELBO; more than one: the importance-weighted bound."""
    retrofit_samples: int = 1
    """telbo: the same for the ELBOs of (image, tags) and of the mask."""
    prior: Literal["standard", "conditional"] = "conditional"
    """cvae: p(z) = N(0, I), or a learned p(z | image)."""
    posterior: Literal["network", "product"] = "network"
    """telbo, jmvae: the joint posterior is a network of its own, or the product of all experts."""
    ignored: Modality = "none"
    """jvae: a part of the scene that the joint posterior does not see."""
    rounds: int = 4
    """jvae: how often missing parts are decoded and encoded again; it has no other way to infer from a subset."""
    decoder_gradient: Literal["shared", "stopped"] = "stopped"
    """telbo: whether the ELBOs of (image, tags) and of the mask train the decoders too, or their encoders alone."""
    unimodal: float = 0.1
    """jmvae: weight of KL[q(z | all) || q(z | subset)]."""
    cross: float = 0.0
    """Weight of the mask's log-likelihood with z inferred as it is when masks are made: by telbo and jmvae from image
    and tags, by cvae from its prior."""
    tag_dropout: float = 0.5
    """Share of the images whose tags are hidden from the inference network of (image, tags)."""
    draws: int = 0
    """Draws of the latent whose masks are averaged by `segment`; 0 = the mask of its mean alone."""

    mirror: bool = True
    """Mirror half of the images while training."""
    zoom: float = 1.2
    """Random crops of 1/zoom to all of each image."""
    jitter: float = 0.1
    """Colour jitter of the images."""
    lr: float = 2e-3
    """Highest Adam learning rate; it falls to zero along a cosine."""
    backbone_rate: float = 0.1
    """Factor on the learning rate of a backbone with weights."""
    checks: int = 4
    """Snapshots during the run."""
    diagnose: int = 100
    """Steps between measurements of gradient variance, prior coverage and active units; 0 = none of gradient variance,
    the others every 100 steps where the latents of scenes are kept for `imagine`."""

    def __post_init__(self) -> None:
        _check_ranges(self)
        for name, kind in (("model", Kind), ("ignored", Modality)):
            one_of(name, getattr(self, name), get_args(kind))
        if self.size % 2**self.halvings or self.size // 2**self.halvings > CELLS:
            sizes = ", ".join(str(n * 2**self.halvings) for n in range(1, CELLS + 1) if n * 2**self.halvings >= 32)
            raise Fault(f"--size of {sizes} with --halvings {self.halvings}", str(self.size), "change one of them")
        if max(self.samples, self.retrofit_samples) > 1 and self.free_bits:
            raise UsageFault("--free-bits with one sample", "several", "leave out --free-bits or --samples")
        if self.weights and self.backbone == "none":
            raise UsageFault("--backbone with --weights", "none", "name the network that the weights are of")
        if not 2 <= len(self.names) <= 255:
            raise Fault("2 to 255 classes", str(len(self.names)), "choose other masks")


def _check_ranges(config: Config) -> None:
    ranges: dict[str, tuple[float, float]] = {
        "pseudo_weight": (0, 1), "labelled": (1, 1e9), "size": (32, 256), "batch": (2, 4096), "train_images": (1, 1e9),
        "width": (4, 256), "halvings": (3, 5), "latent": (1, 1024), "hidden": (4, 4096), "image_weight": (0, 1e4),
        "mask_weight": (0, 1e4), "tags_weight": (0, 1e4), "kl_weight": (0, 1e4), "warm_up": (0, 1),
        "free_bits": (0, 10),
        "samples": (1, 64), "retrofit_samples": (1, 64), "rounds": (1, 64), "unimodal": (0, 1e4), "cross": (0, 1e4),
        "tag_dropout": (0, 1), "draws": (0, 256), "zoom": (1, 4), "jitter": (0, 1), "lr": (1e-6, 1),
        "backbone_rate": (0, 1), "checks": (1, 1000), "diagnose": (0, 1e9),
    }  # fmt: skip
    for name, (low, high) in ranges.items():
        in_range(name, getattr(config, name), low, high)


PRESETS: dict[str, Config] = {
    "cpu": Config(),
    "segment": Config(model="cvae"),
    "text": Config(
        model="cvae", prior="standard", decoder_gradient="shared", latent_shape="vector", latent=64, draws=1, size=128,
        width=64, backbone="vgg16", mask_weight=1.0, tags_weight=1.0, warm_up=0.0, tag_dropout=0.0,
        train_images=150_000,
    ),
}  # fmt: skip
"""`cpu` is the default, a joint model; `segment` draws masks best but cannot imagine; `text` is the text's cVAE."""


def complete(config: Config) -> Config:
    """The settings of a new run with what its masks know filled in: class names, and their digest.

    UsageFault without masks, Fault where they cannot be read.
    """
    from decoupe.methods.scene_vae.labels import describe

    if config.masks is None and config.pseudo_masks is None:
        raise UsageFault("--masks DIR or --pseudo-masks DIR", "neither", "name a folder with a few masks")
    names, digest = describe(config)
    return dataclasses.replace(config, names=names, digest=digest)
