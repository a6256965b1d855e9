"""Classification networks with torchvision's parameter names, so that its published weights load. The table says which.

```python
network = backbone("mobilenet_v2", classes=7, weights="mobilenet_v2.pth")
logits = network(images)                      # images (B, 3, H, W) in [-1, 1] -> (B, 7)
maps = network.features(images)               # (B, 1280, H / 32, W / 32)
finer = network.layers(images, ["stage3"])    # {"stage3": (B, 32, H / 8, W / 8)}
```
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from decoupe.errors import Fault
from decoupe.nn.backbones.base import NORMALISATIONS, Backbone, Body
from decoupe.nn.backbones.mobilenet import MobileNetV2
from decoupe.nn.backbones.resnet import ResNet18, ResNet50
from decoupe.nn.backbones.vgg import VGG16
from decoupe.nn.backbones.weights import folded, install, read_weights

__all__ = ["BACKBONES", "Backbone", "Body", "Entry", "backbone", "headless"]


@dataclass(frozen=True)
class Entry:
    """One network of the table."""

    build: Callable[[int, int], Body]
    """(bands, classes) -> network."""
    features: int
    """Channels of the last convolutional map."""
    stride: int
    """Pixels of the image per cell of that map."""


BACKBONES: dict[str, Entry] = {
    "vgg16": Entry(VGG16, 512, 16),
    "mobilenet_v2": Entry(MobileNetV2, 1280, 32),
    "resnet18": Entry(ResNet18, 512, 32),
    "resnet50": Entry(ResNet50, 2048, 32),
}


def backbone(
    name: str,
    classes: int = 1000,
    channels: int = 3,
    weights: str | Path = "",
    normalisation: str = "auto",
    frozen: bool | None = None,
) -> Backbone:
    """A network of `BACKBONES` for `classes` classes and `channels` bands.

    `weights`: "" (from scratch), a local .safetensors or .pth, a URL ending in NAME-HASH.pth (as torchvision's
    published ones do), or hf:OWNER/NAME@COMMIT:FILE, a file of the Hugging Face Hub (hf:OWNER/NAME@REVISION:FILE#HASH
    at a branch or tag); both are downloaded once. With a number of classes other than the file's, the last linear layer
    is a new one; with a number of bands other than three, the first convolution gets the mean of its RGB weights.
    `normalisation`: "imagenet", "signed" (images in [-1, 1] as they come), or "auto": signed if batch normalisation
    has been folded into the convolutions of the file. `frozen`: batch normalisation keeps its stored statistics while
    training; None: where it has been folded. Fault on an unknown name, or weights that do not fit or are not safe.
    """
    if name not in BACKBONES:
        raise Fault(f"a backbone of {', '.join(BACKBONES)}", repr(name), "choose one of these")
    if classes < 1 or channels < 1:
        raise Fault("at least one class and one band", f"{classes} and {channels}", "give positive numbers")
    if normalisation not in ("auto", *NORMALISATIONS):
        kinds = ", ".join(("auto", *NORMALISATIONS))
        raise Fault(f"a normalisation of {kinds}", repr(normalisation), "choose one of these")
    state = read_weights(weights) if weights else None
    converted = state is not None and folded(state)
    if normalisation == "auto":
        normalisation = "signed" if converted else "imagenet"
    network = Backbone(
        BACKBONES[name].build(channels, classes), channels, normalisation, converted if frozen is None else frozen
    )
    if state is not None:
        with torch.no_grad():
            install(network, state, str(weights))
    return network


def headless(name: str, channels: int, weights: str | Path = "", frozen: bool | None = None) -> Backbone:
    """As `backbone`, without the layers that tell classes apart: for maps alone they would be stored for nothing."""
    network = backbone(name, channels=channels, weights=weights, frozen=frozen)
    setattr(network.body, network.body.FINAL.split(".")[0], torch.nn.Identity())
    return network
