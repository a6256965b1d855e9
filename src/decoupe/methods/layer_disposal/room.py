"""The room `layer_disposal`: find layers such that any of them can be left out and the image still looks real.

One stage in which G, D and E play (`phases.py`); encoders for pixels have a second one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from decoupe.compositing import Stack, visible
from decoupe.methods.layer_disposal import losses
from decoupe.methods.layer_disposal.config import HALVED, Config
from decoupe.methods.layer_disposal.networks import Discriminator, Encoder, Generator, Keeping, Presence, Shape
from decoupe.methods.layer_disposal.phases import DiscriminatorPhase, GeneratorPhase, Layers, PixelPhase
from decoupe.methods.layer_disposal.projected import FeatureDiscriminator
from decoupe.methods.room import Batch, DataSpec, Room, Stage, TrainingData


class LayerDisposal(Room):
    """See the module's docstring. Region 0 is the background, region k is layer k, back to front."""

    NAME: ClassVar[str] = "layer_disposal"
    DOUBTFUL: ClassVar[tuple[float, str] | None] = (0.8, "photos that are rebuilt from their layers look different")
    config: Config

    def __init__(self, config: Config, spec: DataSpec) -> None:
        super().__init__(config, spec)
        size, channels, flat = spec.size // HALVED * HALVED, spec.channels, config.latent == "flat"
        self.side = size
        shape = Shape(config.z, config.width, channels, size, flat, config.norm, config.blocks == "residual")
        self.generator = Generator(shape, config.k, config.shared_trunk, config.initial == "identical", config.even)
        self.keeping = Keeping(config.k, config.keep_prob, config.learn_keep)
        self.encoder = Encoder(channels, config.encoder_width, config.z, size, flat, config.norm)
        self.discriminator: Discriminator | FeatureDiscriminator
        if config.features:
            self.discriminator = FeatureDiscriminator(channels, config.features)
        else:
            self.discriminator = Discriminator(channels, config.discriminator_width, size, config.norm)
        self.presence: Presence | None = None
        if config.inference != "latent":
            self.presence = Presence(channels, config.k, config.encoder_width, size, config.norm)
        parts = (self.generator, self.keeping, self.discriminator, self.encoder, self.presence)
        self._game = [Layers(config, size, *parts)]

    @property
    def regions(self) -> tuple[str, ...]:
        """`background`, `layer 1` to `layer K`: what they show is for `decoupe name` to say."""
        return ("background", *(f"layer {k}" for k in range(1, self.config.k + 1)))

    @property
    def inference(self) -> tuple[str, ...]:
        """Generator, encoder and classifiers; not the discriminator."""
        return ("generator.", "encoder.", "keeping.", *(("presence.",) if self.presence is not None else ()))

    def prepare(self, data: TrainingData) -> None:
        """Read the weights of the network that D looks through, where it does."""
        if isinstance(self.discriminator, FeatureDiscriminator):
            self.discriminator.read()

    def stages(self) -> Sequence[Stage]:
        """The game; then the encoder for pixels, where it is asked for."""
        config, game = self.config, self._game[0]
        joint, averaged = config.inference == "latent", ("generator", "encoder") if config.average else ()
        stages = [
            Stage(
                "layers",
                (GeneratorPhase(game), DiscriminatorPhase(game)),
                config.train_images,
                averaged=averaged if joint else averaged[:1],
                decay=config.average,
                candidate=joint,
                checks=config.checks,
                watched_from=0.8 if joint else 2.0,  # without an encoder there are no masks to watch
            )
        ]
        if not joint:
            stages.append(Stage("encoder", (PixelPhase(game),), config.encoder_images, checks=4, watched_from=0.8))
        return stages

    def decompose(self, images: Tensor) -> Stack:
        """(B, C, H, W) in [-1, 1] -> layers of the same size, none of them dropped by chance."""
        small = self._small(images)
        stack: Stack = self.generator(self.encoder(small))
        if self.presence is not None:
            there = torch.sigmoid(self.presence(small, stack))
            stack = Stack(stack.background, stack.images, stack.masks * there[:, :, None, None, None])
        if images.shape[2:] == small.shape[2:]:
            return stack
        return _resized(stack, (images.shape[2], images.shape[3]))

    def segment(self, images: Tensor) -> Tensor:
        """(B, C, H, W) in [-1, 1] -> (B, K + 1, H, W): what can be seen of background and layers."""
        return visible(self.decompose(images).masks)

    def score(self, images: Tensor) -> Tensor:
        """(B,): 1 minus the mean absolute error of the rebuilt image, in [0, 1]."""
        small = self._small(images)
        return 1 - (self.decompose(small).flatten() - small).abs().flatten(1).mean(1) / 2

    def samples(self, batch: Batch) -> Mapping[str, Tensor]:
        """Photos rebuilt from their layers, each layer and its mask, and new images with and without dropped layers."""
        game, images = self._game[0], self._small(batch.images)
        stack = self.decompose(images)
        new = self.generator(game.codes(batch.draw)[: len(images)])
        keep = game.keeping(batch.draw.uniform(self.config.k))[: len(images)]
        rows = {"photo": images, "rebuilt": stack.flatten(), "background": stack.background}
        for k in range(self.config.k):
            rows[f"layer {k + 1}"] = stack.images[:, k]
            rows[f"mask {k + 1}"] = (stack.masks[:, k] * 2 - 1).expand_as(images)
        return rows | {"new": new.flatten(), "new, layers dropped": losses.generate(new, keep)}

    def _small(self, images: Tensor) -> Tensor:
        """Images at the side that the networks see."""
        if images.shape[2:] == (self.side, self.side):
            return images
        return F.interpolate(images, (self.side, self.side), mode="bilinear", antialias=True)


def _resized(stack: Stack, size: tuple[int, int]) -> Stack:
    """Every layer at (H, W), bilinear."""

    def to(maps: Tensor) -> Tensor:
        return F.interpolate(maps, size, mode="bilinear")

    images, masks = (to(maps.flatten(0, 1)).view(*maps.shape[:3], *size) for maps in (stack.images, stack.masks))
    return Stack(to(stack.background), images, masks)
