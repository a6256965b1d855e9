"""The room `redraw`: find K regions such that any one of them can be redrawn and the image still looks real.

One stage of two phases (`phases.py`): G makes images with regions drawn anew, D judges them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from torch import Tensor, nn

from decoupe import distillation
from decoupe.methods.redraw import losses
from decoupe.methods.redraw.config import Config
from decoupe.methods.redraw.networks import Discriminator, MaskNetwork, Reader, RegionGenerator, Trunk, reduce_to
from decoupe.methods.redraw.phases import DiscriminatorPhase, GeneratorPhase, Redrawing
from decoupe.methods.room import Batch, DataSpec, Room, Stage
from decoupe.snapping import snap

SETTLED = 0.9
"""Share of a run with falling rates after which its snapshots are settled."""


class Redraw(Room):
    """See the module's docstring. Regions carry no meaning until they are named."""

    NAME: ClassVar[str] = "redraw"
    NEEDS_ALL: ClassVar[bool] = True
    config: Config

    def __init__(self, config: Config, spec: DataSpec) -> None:
        super().__init__(config, spec)
        size, channels = min(config.redraw_size or spec.size, spec.size), spec.channels

        def trunk() -> Trunk:
            return Trunk(channels, config.discriminator_width, size, config.attention_discriminator)

        self.redraw_size = size
        self.masks = MaskNetwork(channels, config.mask_width, config.k, config.coarse)
        self.generators = nn.ModuleList(
            RegionGenerator(channels, config.generator_width, config.z, size, config.attention_generator)
            for _ in range(config.k)
        )
        self.discriminator = Discriminator(trunk())
        self.reader: Reader | None = None
        if config.information != "none":
            own = trunk() if config.information == "regressor" else None
            self.reader = Reader(own, self.discriminator.trunk.features, config.k, config.z)
        generators = [g for g in self.generators if isinstance(g, RegionGenerator)]
        self._game = [Redrawing(config, size, self.masks, generators, self.discriminator, self.reader)]

    @property
    def regions(self) -> tuple[str, ...]:
        """`region 0` to `region K-1`: which of them is the object is for `decoupe name` to say."""
        return tuple(f"region {i}" for i in range(self.config.k))

    @property
    def inference(self) -> tuple[str, ...]:
        """The mask network."""
        return ("masks.",)

    @property
    def kept(self) -> tuple[str, ...]:
        """The discriminator, whose features are the embedding."""
        return ("discriminator.",)

    def stages(self) -> Sequence[Stage]:
        """One stage: G, then D on what G made."""
        config, game = self.config, self._game[0]
        return [
            Stage(
                "redraw",
                (GeneratorPhase(game), DiscriminatorPhase(game)),
                config.train_images,
                averaged=("masks",) if config.average else (),
                decay=config.average,
                checks=config.checks,
                watched_from=0.1,
                patience=config.patience or None,
                settles=SETTLED if config.anneal else 0.0,
            )
        ]

    def segment(self, images: Tensor) -> Tensor:
        """(B, C, H, W) in [-1, 1] -> (B, K, H, W)."""
        found: Tensor = self.masks(images)
        if self.config.mirrored:
            found = (found + self.masks(images.flip(3)).flip(3)) / 2
        return snap(images, found) if self.config.snap else found

    def score(self, images: Tensor) -> Tensor:
        """(B,): agreement of the regions with those of the mirrored photo, and with their own snapped selves."""
        return distillation.score(self.masks, images)

    def embed(self, images: Tensor) -> Mapping[str, Tensor]:
        """Discriminator: its last features (B, D). Mask: the mask network's features pooled to 4x4, (B, 64 width)."""
        reduced = reduce_to(images, self.redraw_size)
        maps = nn.functional.adaptive_avg_pool2d(self.masks.features(images).float(), 4)
        return {"discriminator": self.discriminator(reduced)[1].float(), "mask": maps.flatten(1)}

    def samples(self, batch: Batch) -> Mapping[str, Tensor]:
        """Photos, masks, and each region redrawn with a new latent."""
        masks = self.masks(batch.images)
        photos, shares = reduce_to(batch.images, self.redraw_size), reduce_to(masks, self.redraw_size)
        z = batch.draw.normal(self.config.k, self.config.z)[: len(photos)]
        drawn = range(1, 2) if self.config.k == 2 else range(self.config.k)
        rows = {"photo": batch.images} | {f"mask {i}": masks[:, i : i + 1] * 2 - 1 for i in drawn}
        for i, generator in enumerate(self.generators):
            share = shares[:, i : i + 1]
            made = losses.redraw_region(photos, share, generator(share, z[:, i]))
            rows[f"redrawn {i}"] = nn.functional.interpolate(made, batch.images.shape[2:], mode="bilinear")
        return rows
