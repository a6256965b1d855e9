"""The model itself: which networks each kind has, how a latent is inferred from any part of a scene, what it makes."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from decoupe.errors import Fault
from decoupe.losses.variational import Gaussian, product_of_experts
from decoupe.methods.scene_vae.config import JOINT, Config
from decoupe.methods.scene_vae.networks import (
    BackboneEncoder,
    ConditionalDecoder,
    Decoder,
    Encoder,
    Head,
    ImageDecoder,
    JointHead,
    TagsDecoder,
    TagsHead,
    levels,
    one_hot,
)

PARTS = ("image", "tags", "mask")


class Seen(NamedTuple):
    """What is observed of B scenes; None where a part is not."""

    image: Tensor | None = None
    """(B, C, S, S) in [-1, 1]."""
    tags: Tensor | None = None
    """(B, K) of 0, 1 or NaN = not known."""
    mask: Tensor | None = None
    """(B, K, S, S) shares of the classes; zero where void."""

    @property
    def batch(self) -> int:
        """B. Fault if nothing is observed."""
        found = next((part for part in self if part is not None), None)
        if found is None:
            raise Fault("an image, tags or a mask", "nothing observed", "give one of them")
        return found.shape[0]


class Made(NamedTuple):
    """What a latent makes."""

    image: Tensor
    """(B, C, S, S): means, not clamped."""
    tags: Tensor
    """(B, K) logits."""
    mask: Tensor
    """(B, K, S, S) logits."""


class Scene(nn.Module):
    """The networks of one kind of model. Inputs are squares of the training size."""

    def __init__(self, config: Config, channels: int) -> None:
        super().__init__()
        self.config, self.channels = config, channels
        self.cells = config.size // 2**config.halvings
        self.side = 1 if config.latent_shape == "vector" else self.cells
        shape = (config.width, config.halvings)
        if config.backbone == "none":
            self.see: nn.Module = Encoder(channels, *shape)
        else:
            self.see = BackboneEncoder(config.backbone, channels, *shape)
        self.features = levels(*shape)[-1]
        if config.model == "unet":
            self.draw: nn.Module = ConditionalDecoder(channels, 0, self.cells, *shape, len(config.names))
            return
        self.read = Encoder(len(config.names), *shape)
        if config.model == "cvae":
            self._conditional()
        else:
            self._joint()

    @property
    def vector(self) -> bool:
        """Whether the latent is a single vector."""
        return self.config.latent_shape == "vector"

    def _head(self, features: int) -> Head:
        return Head(features, self.cells, self.config.latent, self.config.hidden, self.vector)

    def _conditional(self) -> None:
        config, classes = self.config, len(self.config.names)
        self.posterior = self._head(2 * self.features)
        self.prior = self._head(self.features) if config.prior == "conditional" else None
        self.draw = ConditionalDecoder(self.channels, config.latent, self.cells, config.width, config.halvings, classes)

    def _joint(self) -> None:
        config, classes = self.config, len(self.config.names)
        if config.model == "jvae" or config.posterior == "network":
            self.all = JointHead(self.features, classes, self._head(self.features))
        if config.model != "jvae":
            self.from_image, self.from_mask = self._head(self.features), self._head(self.features)
            self.from_tags = TagsHead(classes, self.side, config.latent, config.hidden)
        shape = (config.latent, self.cells, config.width, config.halvings)
        self.paint = ImageDecoder(*shape, self.channels, self.vector)
        self.draw = Decoder(*shape, classes, self.vector)
        self.tell = TagsDecoder(config.latent, self.side, classes, config.hidden)

    # ------------------------------------------------------------------ inference

    def shares(self, labels: Tensor) -> Tensor:
        """(B, S, S) class numbers, 255 = void -> (B, K, S, S) as `Seen.mask` has it."""
        return one_hot(labels, len(self.config.names))

    def encoded(self, seen: Seen) -> tuple[Tensor | None, Tensor | None]:
        """The coarsest features of image and mask, each (B, F, g, g)."""
        image = None if seen.image is None else self.see(seen.image)[-1]
        return image, None if seen.mask is None else self.read(seen.mask)[-1]

    def joint(self, seen: Seen, image: Tensor, mask: Tensor, tagged: Tensor | None = None) -> Gaussian:
        """q(z | i, c, i_S) from features. `tagged` (B,): whether the tags of a scene are shown."""
        tags = torch.full((image.shape[0], len(self.config.names)), torch.nan) if seen.tags is None else seen.tags
        tags = tags.to(image.device)
        known = tags.isfinite().all(1).float()
        known = known if tagged is None else known * tagged
        if self.config.model != "jvae" and self.config.posterior == "product":
            experts = [self.from_image(image), self.from_tags(tags), self.from_mask(mask)]
            return product_of_experts(experts, (None, known))
        present = torch.stack([torch.ones_like(known), known, torch.ones_like(known)], 1)
        if self.config.ignored != "none":
            present[:, PARTS.index(self.config.ignored)] = 0
        return self.all(image, tags, mask, present)  # type: ignore[no-any-return]

    def subset(
        self, image: Tensor | None, tags: Tensor | None, mask: Tensor | None, tagged: Tensor | None = None
    ) -> Gaussian:
        """q(z | any subset): the product of its experts, from features of image and mask, and tags."""
        experts: list[Gaussian] = []
        present: list[Tensor | None] = []
        if image is not None:
            experts.append(self.from_image(image))
            present.append(None)
        if tags is not None:
            known = tags.isfinite().all(1).float()
            experts.append(self.from_tags(tags))
            present.append(known if tagged is None else known * tagged)
        if mask is not None:
            experts.append(self.from_mask(mask))
            present.append(None)
        return product_of_experts(experts, present)

    def infer(self, seen: Seen) -> Gaussian:
        """The latent of what is observed, of the joint models. Fault if nothing is."""
        batch = seen.batch
        if self.config.model == "jvae":
            return self._filled(seen, batch)
        image, mask = self.encoded(seen)
        if image is not None and mask is not None:
            return self.joint(seen, image, mask)
        return self.subset(image, seen.tags, mask)

    def _filled(self, seen: Seen, batch: int) -> Gaussian:
        """Decode what is missing from the latent so far, beginning with the prior's mean; encode all of it again."""
        device = next(self.parameters()).device
        z = torch.zeros(batch, self.config.latent, self.side, self.side, device=device)
        whole = all(part is not None for part in seen)
        for _ in range(1 if whole else self.config.rounds):
            made = self.make(z)
            full = Seen(
                made.image.float().clamp(-1, 1) if seen.image is None else seen.image,
                (made.tags.float() > 0).float() if seen.tags is None else seen.tags,
                made.mask.float().softmax(1) if seen.mask is None else seen.mask,
            )
            image, mask = self.encoded(full)
            if image is None or mask is None:
                raise Fault("every part", "one missing", "fill it in")
            q = self.joint(full, image, mask)
            z = q.mean
        return q

    # ------------------------------------------------------------------ generation

    def make(self, z: Tensor) -> Made:
        """What a latent (B, Z, g, g) makes, of the joint models. Fault for the others."""
        if self.config.model not in JOINT:
            raise Fault(f"a model of {', '.join(JOINT)}", self.config.model, "train one with --model telbo")
        return Made(self.paint(z), self.tell(z), self.draw(z))

    def conditioned(self, image: Tensor) -> tuple[list[Tensor], Gaussian | None]:
        """cvae, unet: the maps of an image, and p(z | image); None = N(0, I)."""
        maps: list[Tensor] = self.see(image)
        prior = self.prior(maps[-1]) if self.config.model == "cvae" and self.prior is not None else None
        return maps, prior

    def resized(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, S, S)."""
        size = self.config.size
        if image.shape[2:] == (size, size):
            return image
        smaller = max(image.shape[2:]) > size
        return F.interpolate(image, (size, size), mode="bilinear", antialias=smaller)
