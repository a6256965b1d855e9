"""The room `iic`: an image and its transform, two heads in alternation, mutual information over displacements."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from decoupe.methods.clusters import ClusterRoom, Objective, Views
from decoupe.methods.iic import losses
from decoupe.methods.iic.config import Config
from decoupe.methods.iic.networks import Vgg
from decoupe.methods.room import Batch, DataSpec
from decoupe.paired import Transform


class PairedViews(Views):
    """Phi(x), and Phi(g x) for a random transform g."""

    def __init__(self, config: Config, trunk: Vgg) -> None:
        super().__init__()
        self.config, self.trunk = config, trunk

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor, Transform]:
        """(B, D, h, w), (B, D, h, w) in the frame of g x, g."""
        transform = Transform(batch.draw, self.config.jitter, self.config.flip, self.config.rotation)
        return self.trunk(batch.images), self.trunk(transform.apply(batch.images)), transform


class Iic(ClusterRoom):
    """See the module's docstring."""

    NAME: ClassVar[str] = "iic"
    config: Config
    trunk: Vgg

    def __init__(self, config: Config, spec: DataSpec) -> None:
        trunk = Vgg(spec.channels, config)
        super().__init__(config, spec, trunk, trunk.features, None)

    def views(self) -> PairedViews:
        """An image and its transform."""
        return PairedViews(self.config, self.trunk)

    def objective(self) -> Objective:
        """Eq. 5."""
        return losses.invariant
