"""The two players of `redraw` and what they share: images with regions drawn anew, made once per step.

G trains mask network, region generators and the reader of latents; D is then trained on the very images that G made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from decoupe.errors import Fault
from decoupe.methods.game import Game, Player, annealed
from decoupe.methods.redraw import losses
from decoupe.methods.redraw.config import Config
from decoupe.methods.redraw.networks import Discriminator, MaskNetwork, Reader, RegionGenerator, reduce_to, split
from decoupe.methods.room import Batch, Draw
from decoupe.views import colour_jitter, translate

Made = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]
"""(photos, shares, latents) -> what is judged, what latents are read from, the latents that were used."""
JITTER = 0.3
"""Strength of the colour jitter on what the discriminator is shown."""


class Redrawn:
    """What one step made: images, and what they were made of."""

    def __init__(self, photos: Tensor, masks: Tensor, fakes: Tensor, readable: Tensor, latents: Tensor) -> None:
        self.photos = photos
        """(B, C, s, s) the real photos, as the discriminator sees them."""
        self.masks = masks
        """(B, K, S, S) probabilities at full size."""
        self.fakes = fakes
        """(B', C, s, s) what the discriminator judges."""
        self.readable = readable
        """(B'', C, s, s) what latents are read from."""
        self.latents = latents
        """(B'', K, Z), NaN where a region was not redrawn."""


class Redrawing(Game[Redrawn]):
    """What both players share: the networks, the redrawn images of the step, and what the discriminator is shown."""

    def __init__(
        self,
        config: Config,
        size: int,
        masks: MaskNetwork,
        generators: Sequence[RegionGenerator],
        discriminator: Discriminator,
        reader: Reader | None,
    ) -> None:
        super().__init__()
        self.config, self.size = config, size
        self.masks, self.generators = masks, nn.ModuleList(generators)
        self.discriminator, self.reader = discriminator, reader

    def make(self, batch: Batch) -> Redrawn:
        """Mask the batch's photos and redraw regions of them; kept, without its graph, for the other player."""
        images = batch.images
        if self.config.mirror:
            images = torch.where((batch.draw.uniform() < 0.5)[:, None, None, None], images.flip(3), images)
        masks = self.masks(images)
        photos, shares = reduce_to(images, self.size), reduce_to(masks, self.size)
        latents = batch.draw.normal(self.config.k, self.config.z)
        turn = batch.draw.first + int(batch.draw.shared(self.config.k, 1))
        steps: Mapping[str, Made] = {"region": partial(self._one, first=turn), "every": self._every, "all": self._all}
        made = steps[self.config.step](photos, shares, latents)
        result = Redrawn(photos, masks, *made)
        self.keep(batch, Redrawn(photos, masks.detach(), *(part.detach() for part in made)))
        return result

    def _one(self, photos: Tensor, shares: Tensor, latents: Tensor, first: int) -> tuple[Tensor, Tensor, Tensor]:
        """The paper's step. Image r of the global batch has region (r + a draw for the whole step) mod K redrawn."""
        k, fakes, known = self.config.k, [], []
        if len(photos) < k:
            raise Fault(f"a batch of {k} images or more per process", str(len(photos)), "choose a larger --batch")
        parts = zip(*(split(rows, k, first) for rows in (photos, shares, latents)), strict=True)
        for region, (some, share, z) in enumerate(parts):
            mask = share[:, region : region + 1]
            fakes.append(losses.redraw_region(some, mask, self.generators[region](mask, z[:, region])))
            known.append(torch.full_like(z, torch.nan))
            known[-1][:, region] = z[:, region]
        # back in the photos' order: an image draws the same augmentation on however many processes
        places = torch.cat([*split(torch.arange(len(photos), device=photos.device), k, first)]).argsort()
        made = torch.cat(fakes)[places]
        return made, made, torch.cat(known)[places]

    def _drawn(self, shares: Tensor, latents: Tensor) -> Tensor:
        """(B, K, C, s, s): every region of every image, redrawn and masked."""
        pairs = enumerate(self.generators)
        return torch.stack([draw(shares[:, i : i + 1], latents[:, i]) for i, draw in pairs], 1)

    def _every(self, photos: Tensor, shares: Tensor, latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The authors' code: B K images with one region redrawn; latents are read from the image redrawn throughout."""
        drawn = self._drawn(shares, latents)
        each = losses.redraw_region(photos[:, None], shares[:, :, None], drawn)
        return each.flatten(0, 1), losses.redraw_all(drawn), latents

    def _all(self, photos: Tensor, shares: Tensor, latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The ablation: nothing of the photo is kept."""
        fakes = losses.redraw_all(self._drawn(shares, latents))
        return fakes, fakes, latents

    def shown(self, images: Tensor, draw: Draw) -> Tensor:
        """What the discriminator sees of `images` (n B of them): differentiable augmentation (Zhao et al. 2020)."""
        if not self.config.augment:
            return images
        parts = torch.split(images, draw.batch)
        return torch.cat([translate(colour_jitter(part, draw, JITTER), draw) for part in parts])

    def information(self, seen: Tensor, latents: Tensor) -> Tensor:
        """L_I over the regions that were redrawn; `seen` are images or the discriminator's features of them."""
        if self.reader is None:
            return torch.zeros((), device=latents.device)
        found, known = self.reader(seen), latents.isfinite().all(2)
        return losses.information(found[known], latents[known])


class GeneratorPhase(Player[Redrawing]):
    """max over G_F, delta of E D(G_F) - lambda_z L_I - lambda_reg f_reg."""

    name = "G"

    def trained(self) -> Sequence[nn.Module]:
        """Mask network, region generators, and the reader of latents if it has a trunk of its own."""
        reader = [] if self.game.reader is None or self.game.reader.trunk is None else [self.game.reader]
        return [self.game.masks, self.game.generators, *reader]

    def optimiser(self) -> torch.optim.Optimizer:
        """Adam (0, 0.9); the mask network has a rate and a weight decay of its own."""
        config = self.game.config
        masks, generators, *reader = self.trained()
        groups = [
            {"params": list(masks.parameters()), "lr": config.lr_mask, "weight_decay": config.decay_mask},
            {"params": list(generators.parameters()), "lr": config.lr_generator},
            *({"params": list(r.parameters()), "lr": config.lr_reader} for r in reader),
        ]
        return torch.optim.Adam(groups, betas=(0.0, 0.9), fused=True)

    def rate(self, progress: float) -> float:
        """1, then down to 0 over the last `anneal` of the run."""
        return annealed(progress, self.game.config.anneal)

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Adversarial term, information term, and the penalty on mask areas while it is on."""
        game, config = self.game, self.game.config
        made = game.make(batch)
        scores, features = game.discriminator(game.shown(made.fakes, batch.draw))
        adversarial = losses.generator_hinge(scores)
        logged = {"G": adversarial.detach()}
        loss = adversarial
        if game.reader is not None:
            own = game.reader.trunk is not None
            if not own and made.readable is not made.fakes:
                features = game.discriminator(made.readable)[1]
            read = game.information(made.readable if own else features, made.latents)
            loss = loss + config.information_weight * read
            logged["z"] = read.detach() / config.z  # 1 = nothing is read
        if _penalised(config, batch):
            penalty = losses.mask_penalty(made.masks, _shape(config))
            loss = loss + config.regulariser_weight * penalty
            logged["area"] = penalty.detach()
        return loss, logged


def _penalised(config: Config, batch: Batch) -> bool:
    """Whether the penalty on mask areas is on: always, or only at first (section IV.C)."""
    limit = config.regulariser_images
    return config.regulariser != "none" and (limit is None or batch.seen < limit)


def _shape(config: Config) -> losses.Regulariser:
    """f_reg of this configuration."""
    density = partial(
        losses.concrete, alpha=config.concrete_alpha, beta=config.concrete_beta, squared=config.concrete_squared
    )
    table: Mapping[str, losses.Regulariser] = {
        "mse": losses.mse,
        "rectified": partial(losses.rectified_mse, margin=config.margin),
        "concrete": density,
    }
    return table[config.regulariser]


class DiscriminatorPhase(Player[Redrawing]):
    """Hinge loss on real photos and on the images that G made in this step, in one pass."""

    name = "D"

    def trained(self) -> Sequence[nn.Module]:
        """The discriminator, and a reader that reads its features."""
        reader = self.game.reader
        return [self.game.discriminator, *([reader] if reader is not None and reader.trunk is None else [])]

    def optimiser(self) -> torch.optim.Optimizer:
        """Adam (0, 0.9)."""
        parameters = [p for module in self.trained() for p in module.parameters()]
        return torch.optim.Adam(parameters, self.game.config.lr_discriminator, (0.0, 0.9), fused=True)

    def rate(self, progress: float) -> float:
        """1, then down to 0 over the last `anneal` of the run."""
        return annealed(progress, self.game.config.anneal)

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The discriminator's hinge loss, plus the information term where it shares the discriminator's trunk."""
        game, config = self.game, self.game.config
        made = game.made(batch)
        reals, fakes = game.shown(made.photos, batch.draw), game.shown(made.fakes, batch.draw)
        scores, features = game.discriminator(torch.cat([reals, fakes]))
        loss = losses.discriminator_hinge(scores[: len(reals)], scores[len(reals) :])
        logged = {"D": loss.detach()}
        if config.information == "shared":
            own = config.step == "every"  # latents are read from other images than those that are judged
            seen = game.discriminator(made.readable)[1] if own else features[len(reals) :]
            loss = loss + config.information_weight * game.information(seen, made.latents)
        return loss, logged
