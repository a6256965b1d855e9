"""The paper's way: a generator of single instances, trained through composites of many of them (Eq. 5 to 7)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from decoupe.methods.game import Player
from decoupe.methods.independence import losses
from decoupe.methods.independence.cluster.layout import pad_and_crop, random_places, stack, with_disk
from decoupe.methods.independence.cluster.networks import SIDE, Critic, Generator
from decoupe.methods.independence.cluster.patches import at_scale
from decoupe.methods.independence.cluster.placing import NOISE, Placer, update_penalty
from decoupe.methods.independence.config import Config
from decoupe.methods.room import Batch, Draw
from decoupe.types import Image


class Patches:
    """Real patches of `patch` instance widths, 64 px a side, at any place of the photo; flips where things allow."""

    def __init__(self, photo: Image, thing: float, config: Config) -> None:
        scaled = at_scale(photo, thing, SIDE / config.patch)
        more = [(0, max(0, SIDE - side)) for side in scaled.shape[:2]]
        self.plane = np.pad(scaled, (*more, (0, 0)), mode="edge").transpose(2, 0, 1)
        self.upright = config.upright

    def draw(self, draw: Draw, device: torch.device) -> Tensor:
        """(batch, C, 64, 64) in [0, 1]."""
        chance = draw.uniform(4).cpu().numpy()
        room = np.array(self.plane.shape[1:]) - SIDE + 1
        crops: list[NDArray[np.uint8]] = []
        for y, x, mirror, upend in chance:
            top, left = int(y * room[0]), int(x * room[1])
            crop = self.plane[:, top : top + SIDE, left : left + SIDE]
            crop = crop[:, :, ::-1] if mirror < 0.5 else crop
            crops.append(crop[:, ::-1] if upend < 0.5 and not self.upright else crop)
        return torch.from_numpy(np.stack(crops)).to(device).float() / 255


class Made(NamedTuple):
    """Composites and what they were made of."""

    images: Tensor
    """(B, C, 64, 64) in [0, 1]."""
    layers: Tensor
    """(B, N, C + 1, 64, 64) before their layout."""
    z: Tensor
    """(B, N, Z)."""
    corrections: Tensor | None
    """(B, N, 4) of a layout that learns, see placing.py."""


class Game(nn.Module):
    """What both players share."""

    def __init__(
        self,
        config: Config,
        generator: Generator,
        critic: Critic,
        patches: Patches | None,
        placer: Placer | None = None,
    ) -> None:
        super().__init__()
        self.config, self.generator, self.critic = config, generator, critic
        self.patches, self.placer = patches, placer

    def real(self, batch: Batch) -> Tensor:
        """(B, C, 64, 64) in [0, 1]."""
        if self.patches is None:  # before the stage has begun only the time of a step is of interest
            return nn.functional.interpolate(batch.images, (SIDE, SIDE)) / 2 + 0.5
        return self.patches.draw(batch.draw, batch.images.device)

    def composites(self, batch: Batch) -> Made:
        """Composites of layers whose providers share one generator and draw z independently of one another."""
        config = self.config
        z = batch.draw.normal(config.layers, config.latent)
        layers = self.generator(z.flatten(0, 1))
        apart = layers.view(*z.shape[:2], *layers.shape[1:])
        places = random_places(batch.draw, config.layers, config.pad)
        below = with_disk(self.real(batch), config.disk)
        if self.placer is not None:
            images, corrections = self.placer(apart, z, places, batch.draw.normal(config.layers, NOISE), below)
            return Made(images, apart, z, corrections)
        placed = pad_and_crop(layers, config.pad, places.flatten(0, 1))
        return Made(stack(placed.view(apart.shape), below), apart, z, None)


class CriticPhase(Player[Game]):
    """Eq. 6."""

    name = "D"

    def trained(self) -> Sequence[nn.Module]:
        """The discriminator without its Q head."""
        return [self.game.critic.trunk, self.game.critic.judge]

    def optimiser(self) -> torch.optim.Optimizer:
        """Adam with the paper's betas."""
        parameters = [p for module in self.trained() for p in module.parameters()]
        return torch.optim.Adam(parameters, self.game.config.lr_discriminator, (0.5, 0.999))

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Eq. 6 in the chosen form."""
        game = self.game
        with torch.no_grad():
            fakes = game.composites(batch).images
        scores = game.critic(torch.cat([game.real(batch), fakes]) * 2 - 1)
        loss = losses.DISCRIMINATOR[game.config.adversarial](*scores.chunk(2))
        return loss, {"D": loss.detach()}


class ProviderPhase(Player[Game]):
    """Eq. 7, the information term, and the penalty on corrections of a layout that learns."""

    name = "G"

    def trained(self) -> Sequence[nn.Module]:
        """The generator, Q, which helps it, and the layout where it learns."""
        game = self.game
        return [game.generator, game.critic.q, *([game.placer] if game.placer is not None else [])]

    def optimiser(self) -> torch.optim.Optimizer:
        """Adam with the paper's betas."""
        parameters = [p for module in self.trained() for p in module.parameters()]
        return torch.optim.Adam(parameters, self.game.config.lr_mask, (0.5, 0.999))

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Adversarial term + lambda L_area + beta L_information."""
        game, config = self.game, self.game.config
        made = game.composites(batch)
        layers = made.layers
        adversarial = losses.GENERATOR[config.adversarial](game.critic(made.images * 2 - 1))
        masks = layers[:, :, -1:].flatten(0, 1)
        area = config.area_weight * losses.area_penalty(masks, config.area, config.area_margin, config.area_one_sided)
        loss = adversarial + area
        logged = {"G": adversarial.detach(), "area": area.detach(), "thing": masks.detach().mean()}
        if config.information:
            alone = layers[:, 0, :-1] * layers[:, 0, -1:]  # one instance of each composite, on black
            term = losses.information(game.critic.read(alone * 2 - 1), made.z[:, 0])
            loss = loss + config.information * term
            logged["Q"] = term.detach()
        if made.corrections is not None:
            term = update_penalty(made.corrections)
            loss = loss + config.layout_weight * term
            logged["moved"] = term.detach()
        return loss, logged
