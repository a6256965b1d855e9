"""The two players of the task foreground and what they share: composites of photos' objects on other grounds."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from decoupe.methods.game import Player
from decoupe.methods.independence import losses
from decoupe.methods.independence.config import Config
from decoupe.methods.independence.networks import PooledDiscriminator
from decoupe.methods.independence.providers import Instance, foreground, lay_out, paste, patches
from decoupe.methods.room import Batch, Draw
from decoupe.nn.norm import global_mean
from decoupe.nn.unet import UNet
from decoupe.snapping import reduce_to
from decoupe.views import colour_jitter, translate, view


class Game(nn.Module):
    """What both players share: composites made by one mask network, and what the discriminator is shown of them."""

    def __init__(self, config: Config, size: int, area: float, masks: UNet, discriminator: PooledDiscriminator) -> None:
        super().__init__()
        self.config, self.size, self.area = config, size, area
        self.masks, self.discriminator = masks, discriminator

    def composites(self, batch: Batch) -> tuple[Instance, Tensor]:
        """The instances of the batch's photos, and each pasted on an unrelated background: (B, C, s, s)."""
        config, draw = self.config, batch.draw
        photos = view(reduce_to(batch.images, self.size), draw, config.zoom)
        below = patches(reduce_to(batch.backgrounds, self.size), draw, config.zoom)
        instance = foreground(self.masks, photos)
        return instance, paste(lay_out(instance, draw, config.shift), below)

    def photos(self, batch: Batch) -> Tensor:
        """Real photos as the composites' photos were seen."""
        return view(reduce_to(batch.images, self.size), batch.draw, self.config.zoom)

    def shown(self, images: Tensor, draw: Draw) -> Tensor:
        """Colour jitter and shifts on everything the discriminator sees (Zhao et al. 2020): it cannot memorise."""
        if self.config.jitter:
            images = colour_jitter(images, draw, self.config.jitter)
        return translate(images, draw) if self.config.translation else images


class DiscriminatorPhase(Player[Game]):
    """Eq. 6."""

    name = "D"

    def trained(self) -> Sequence[nn.Module]:
        """The discriminator."""
        return [self.game.discriminator]

    def optimiser(self) -> torch.optim.Optimizer:
        """Adam with the paper's betas."""
        rate = self.game.config.lr_discriminator
        return torch.optim.Adam(self.game.discriminator.parameters(), rate, (0.5, 0.999), fused=True)

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean of Eq. 6 over the discriminator's views."""
        game = self.game
        with torch.no_grad():
            _, fakes = game.composites(batch)
        reals = game.shown(game.photos(batch), batch.draw)
        scores = game.discriminator(torch.cat([reals, game.shown(fakes, batch.draw)]))
        objective = losses.DISCRIMINATOR[game.config.adversarial]
        loss = torch.stack([objective(*s.chunk(2)) for s in scores]).mean()
        return loss, {"D": loss.detach()}


class MaskPhase(Player[Game]):
    """Eq. 7: fool the discriminator with masks of about the target area."""

    name = "G"

    def trained(self) -> Sequence[nn.Module]:
        """The mask network."""
        return [self.game.masks]

    def optimiser(self) -> torch.optim.Optimizer:
        """Adam with the paper's betas."""
        return torch.optim.Adam(self.game.masks.parameters(), self.game.config.lr_mask, (0.5, 0.999), fused=True)

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Adversarial term, mean over the discriminator's views, plus the area penalties."""
        game, config = self.game, self.game.config
        instance, fakes = game.composites(batch)
        scores = game.discriminator(game.shown(fakes, batch.draw))
        objective = losses.GENERATOR[config.adversarial]
        adversarial = torch.stack([objective(score) for score in scores]).mean()
        area = config.area_weight * losses.area_penalty(
            instance.mask, game.area, config.area_margin, config.area_one_sided
        )
        if config.batch_area_weight:
            mean = global_mean(instance.mask)
            area = area + config.batch_area_weight * losses.batch_area_penalty(
                mean, config.area, config.batch_area_margin
            )
        logged = {"G": adversarial.detach(), "area": area.detach(), "object": instance.mask.detach().mean()}
        return adversarial + area, logged
