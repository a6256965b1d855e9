"""What the classification networks have in common, and the wrapper that the rest of the package uses."""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from decoupe.errors import Fault

IMAGENET_MEAN = (0.485, 0.456, 0.406)
"""Mean of the R, G, B values of ImageNet's photos, values in [0, 1]."""
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Their standard deviation."""
NORMALISATIONS = ("imagenet", "signed")
"""What a network wants to see: values with ImageNet's mean 0 and deviation 1, or values in [-1, 1] as they come."""


class Body(nn.Module):
    """A classification network with torchvision's parameter names: logits = head(trunk(images))."""

    FIRST: ClassVar[str]
    """Path of the first convolution."""
    LAST: ClassVar[str]
    """Path of the module whose output is the last map of the trunk."""
    FINAL: ClassVar[str]
    """Path of the last linear layer."""
    STAGES: ClassVar[dict[str, str]]
    """Short name -> path of the last module at each resolution of the trunk, finest first."""

    def trunk(self, x: Tensor) -> Tensor:
        """(B, C, H, W), normalised -> the last convolutional map (B, D, h, w)."""
        raise NotImplementedError

    def head(self, maps: Tensor) -> Tensor:
        """(B, D, h, w) -> logits (B, classes)."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W), normalised -> logits (B, classes)."""
        return self.head(self.trunk(x))

    def initialise(self) -> None:
        """Convolutions from N(0, 2 / (outputs * kernel area)), linear layers from N(0, .01^2), biases 0."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, 0.01)
            if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)


class Backbone(nn.Module):
    """A body behind its normalisation. Images (B, C, H, W) in [-1, 1], H and W >= 32 -> logits (B, classes).

    The normalisation z = (x - mean) / std and `frozen` are part of the state, so a saved network needs no file of
    weights beside it. `frozen` keeps batch normalisation at its stored statistics while training: needed where these
    have been folded into the convolutions, and for small batches.
    """

    mean: Tensor
    std: Tensor
    frozen: Tensor

    def __init__(self, body: Body, channels: int, normalisation: str = "imagenet", frozen: bool = False) -> None:
        super().__init__()
        self.body = body
        self.channels = channels
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("std", torch.ones(channels))
        self.register_buffer("frozen", torch.tensor(frozen))
        self.normalise_as(normalisation)

    @property
    def last(self) -> str:
        """Path of the module that gives the last convolutional map: the layer that class activation maps look at."""
        return f"body.{self.body.LAST}"

    @property
    def final(self) -> nn.Linear:
        """The last linear layer: the part that knows the classes."""
        layer = self.body.get_submodule(self.body.FINAL)
        if not isinstance(layer, nn.Linear):
            raise TypeError(f"{self.body.FINAL} is no linear layer")
        return layer

    def normalise_as(self, kind: str) -> None:
        """ "imagenet" or "signed". Of three bands each has its own mean, of any other number all have the average."""
        if kind not in NORMALISATIONS:
            raise Fault(f"a normalisation of {', '.join(NORMALISATIONS)}", repr(kind), "choose one of these")
        mean, std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
        if self.channels != 3:
            mean, std = mean.mean().expand(self.channels), std.mean().expand(self.channels)
        if kind == "signed":
            mean, std = torch.full_like(mean, 0.5), torch.full_like(std, 0.5)
        with torch.no_grad():  # stored for images in [-1, 1]
            self.mean.copy_(2 * mean - 1)
            self.std.copy_(2 * std)

    def train(self, mode: bool = True) -> Self:
        """As everywhere, but frozen batch normalisation stays in evaluation mode."""
        super().train(mode)
        if mode and bool(self.frozen):
            for module in self.body.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self

    def normalised(self, images: Tensor) -> Tensor:
        """(B, C, H, W) in [-1, 1] -> the same shape as the body wants it."""
        if images.ndim != 4 or images.shape[1] != self.channels:
            raise Fault(
                f"images of shape (B, {self.channels}, H, W)", str(tuple(images.shape)), "build it for these bands"
            )
        return (images - self.mean[:, None, None]) / self.std[:, None, None]

    def features(self, images: Tensor) -> Tensor:
        """(B, C, H, W) in [-1, 1] -> the last convolutional map (B, D, h, w)."""
        return self.body.trunk(self.normalised(images))

    def head(self, maps: Tensor) -> Tensor:
        """(B, D, h, w), as `features` gives it -> logits (B, classes)."""
        return self.body.head(maps)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) in [-1, 1] -> logits (B, classes)."""
        return self.head(self.features(images))

    def layers(self, images: Tensor, names: Collection[str]) -> dict[str, Tensor]:
        """Maps (B, D, h, w) of the trunk by name: a stage ("stage3") or the path of any module of the body.

        Where all are stages, nothing behind the last of them is computed.

        Fault on a name that is no module of the trunk.
        """
        found: dict[str, Tensor] = {}
        handles = []
        wanted = len(names) if all(name in self.body.STAGES for name in names) else None  # others may run several times
        try:
            for name in names:
                handles.append(self._module(name).register_forward_hook(_keeper(found, name, wanted)))
            with contextlib.suppress(_Enough):
                self.features(images)
        finally:
            for handle in handles:
                handle.remove()
        for name in names:
            if name not in found:
                raise self._unknown(name)
        return found

    def _module(self, name: str) -> nn.Module:
        try:
            return self.body.get_submodule(self.body.STAGES.get(name, name))
        except AttributeError as error:
            raise self._unknown(name) from error

    def _unknown(self, name: str) -> Fault:
        example = f"{', '.join(self.body.STAGES)} or a path such as {self.body.LAST}"
        return Fault(f"a layer of the trunk ({example})", repr(name), "choose one of these")


class _Enough(Exception):  # noqa: N818
    """All maps that were asked for are there."""


class _keeper:
    """A forward hook that keeps the output under a name, and ends the forward pass with the last of `wanted`."""

    def __init__(self, found: dict[str, Tensor], name: str, wanted: int | None) -> None:
        self.found, self.name, self.wanted = found, name, wanted

    def __call__(self, module: nn.Module, inputs: object, output: Tensor) -> None:
        self.found[self.name] = output
        if len(self.found) == self.wanted:
            raise _Enough
