"""The players of `layer_disposal` and what they share: layers made once per step, some of them dropped.

G (Eq. 3.4), then D and E together (Eq. 3.3) on what G made in this step; encoders for pixels (section 3.2.1) learn in a
stage of their own, in which the generator is fixed.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from decoupe.compositing import Stack
from decoupe.errors import Fault
from decoupe.losses import adversarial
from decoupe.methods.game import Game, Player, annealed
from decoupe.methods.layer_disposal import losses
from decoupe.methods.layer_disposal.config import HALVED, Config
from decoupe.methods.layer_disposal.networks import Discriminator, Encoder, Generator, Keeping, Presence
from decoupe.methods.layer_disposal.projected import FeatureDiscriminator
from decoupe.methods.room import Batch, Draw
from decoupe.views import colour_jitter, translate, view

JITTER = 0.3
"""Strength of the colour jitter on what the discriminator is shown."""
BETAS = (0.5, 0.999)
"""Adam's decays (section 3.5)."""
GAMES = {
    "nonsaturating": (adversarial.discriminator_nonsaturating, adversarial.generator_nonsaturating),
    "hinge": (adversarial.discriminator_hinge, adversarial.generator_hinge),
}


class Made:
    """What G made in one step."""

    def __init__(self, codes: Tensor, stack: Stack, keep: Tensor, photos: Tensor | None, shift: Tensor | None) -> None:
        self.codes = codes
        """(B, Z, h, w) the codes."""
        self.stack = stack
        """Their layers."""
        self.keep = keep
        """(B, K) which layers are kept."""
        self.photos = photos
        """(b, C, S, S) the photos that the last b codes are of, or None where all codes are drawn."""
        self.shift = shift
        """(B, K, 2) by how much layers are moved for D, (x, y) in half sides, or None."""


class Layers(Game[Made]):
    """What all phases share: the networks, the layers made in the step, and what the discriminator is shown."""

    def __init__(
        self, config: Config, size: int, generator: Generator, keeping: Keeping,
        discriminator: Discriminator | FeatureDiscriminator, encoder: Encoder, presence: Presence | None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.config, self.size = config, size
        self.generator, self.keeping, self.discriminator = generator, keeping, discriminator
        self.encoder, self.presence = encoder, presence

    def codes(self, draw: Draw) -> Tensor:
        """(B, Z, h, w) from the prior."""
        side = 1 if self.config.latent == "flat" else self.size // HALVED
        shape = (self.config.z, side, side)
        return draw.normal(*shape) if self.config.prior == "normal" else draw.uniform(*shape, low=-1.0, high=1.0)

    def make(self, batch: Batch) -> Made:
        """New layers and which of them are kept; remembered, without their graph, for the other phase."""
        codes, uniform, photos = self.codes(batch.draw), batch.draw.uniform(self.config.k), None
        if self.config.photo_weight:
            if len(codes) < 2:
                raise Fault("a batch of 2 images or more per process with photo-weight", "1", "choose a larger --batch")
            drawn = len(codes) // 2
            photos = self.photos(batch)[drawn:]
            codes = torch.cat([codes[:drawn], self.encoder(photos)])
        far, shift = 2 * self.config.move, None
        if far:
            shift = batch.draw.uniform(self.config.k, 2, low=-far, high=far)
        made = Made(codes, self.generator(codes), self.keeping(uniform), photos, shift)
        self.keep(batch, Made(codes.detach(), made.stack.detach(), made.keep.detach(), photos, shift))
        return made

    def composed(self, made: Made) -> Tensor:
        """Images of which layers were dropped, and moved where they are."""
        return losses.generate(made.stack if made.shift is None else made.stack.moved(made.shift), made.keep)

    def photos(self, batch: Batch) -> Tensor:
        """Real photos: mirrored half of the time, in random crops."""
        if self.config.zoom > 1:
            return view(batch.images, batch.draw, self.config.zoom)
        if not self.config.mirror:
            return batch.images
        return torch.where((batch.draw.uniform() < 0.5)[:, None, None, None], batch.images.flip(3), batch.images)

    def shown(self, images: Tensor, draw: Draw) -> Tensor:
        """What the discriminator sees of `images`: differentiable augmentation (Zhao et al. 2020) where it is on."""
        return translate(colour_jitter(images, draw, JITTER), draw) if self.config.augment else images

    def unread(self, error: Tensor, codes: Tensor) -> Tensor:
        """The error of E in variances of the codes: 1 = nothing is read."""
        return error.detach() / codes[0].numel() / (1 if self.config.prior == "normal" else 1 / 3)


class _Phase(Player[Layers]):
    def rate(self, progress: float) -> float:
        """1, then down to 0 over the last `anneal` of the run."""
        return annealed(progress, self.game.config.anneal)


class GeneratorPhase(_Phase):
    """Eq. 3.4: images of which layers were dropped look real."""

    name = "G"

    def trained(self) -> Sequence[nn.Module]:
        """The decoders; the probabilities of keeping where they are learned; E where photos are rebuilt."""
        game, config = self.game, self.game.config
        learned: list[nn.Module] = [game.generator]
        learned += [game.keeping] if config.learn_keep else []
        return learned + ([game.encoder] if config.photo_weight else [])

    def optimiser(self) -> torch.optim.Optimizer:
        """Adam with the text's betas."""
        parameters = [p for module in self.trained() for p in module.parameters()]
        return torch.optim.Adam(parameters, self.game.config.lr, BETAS, fused=True)

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The adversarial term, the penalties on masks, and what E learns beside photos."""
        game, config = self.game, self.game.config
        made = game.make(batch)
        fakes = game.composed(made)
        loss = GAMES[config.adversarial][1](game.discriminator(game.shown(fakes, batch.draw)))
        logged = {"G": loss.detach(), "mask": made.stack.masks.detach().mean()}
        if config.unique_weight:
            overlap = losses.overlap(made.stack.masks)
            loss, logged["overlap"] = loss + config.unique_weight * overlap, overlap.detach()
        if config.binary_weight:
            undecided = losses.undecided(made.stack.masks)
            loss, logged["undecided"] = loss + config.binary_weight * undecided, undecided.detach()
        if config.area:
            small = losses.too_small(made.stack.masks, config.area)
            loss, logged["too small"] = loss + config.area_weight * small, small.detach()
        if made.photos is not None:
            drawn, rebuilt = len(fakes) - len(made.photos), made.stack.flatten()
            error = losses.photos(rebuilt[drawn:], made.photos)
            read = losses.latent(game.encoder(rebuilt[:drawn].detach()), made.codes[:drawn])
            loss = loss + config.photo_weight * error + config.encoder_weight * read
            logged |= {"photos": error.detach(), "z": game.unread(read, made.codes)}
        if config.learn_keep:
            probs = game.keeping.probs(fakes.device).detach()
            logged |= {"keep min": probs.min(), "keep max": probs.max()}
        return loss, logged


class DiscriminatorPhase(_Phase):
    """Eq. 3.3: D tells photos from images with dropped layers; E reads codes from images with all layers."""

    name = "D"

    def trained(self) -> Sequence[nn.Module]:
        """D, and E unless it is trained for pixels later."""
        return [self.game.discriminator.learning, *([self.game.encoder] if self._reads else [])]

    @property
    def _reads(self) -> bool:
        """Whether E learns here: not where it is trained for pixels later, nor where it learns with G from photos."""
        return self.game.config.inference == "latent" and not self.game.config.photo_weight

    def optimiser(self) -> torch.optim.Optimizer:
        """Adam with the text's betas."""
        config = self.game.config
        groups = [{"params": list(self.game.discriminator.learning.parameters()), "lr": config.lr_discriminator}]
        if self._reads:
            groups.append({"params": list(self.game.encoder.parameters()), "lr": config.lr})
        return torch.optim.Adam(groups, betas=BETAS, fused=True)

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Both terms of Eq. 3.3, and R1 where it is on."""
        game, config = self.game, self.game.config
        made = game.made(batch)
        fakes = game.shown(game.composed(made), batch.draw)
        reals = game.shown(game.photos(batch), batch.draw)
        lazy = bool(config.r1) and int(batch.draw.shared(config.r1_every, 1)) == 0
        reals.requires_grad_(lazy)
        scores = game.discriminator(reals)
        loss = GAMES[config.adversarial][0](scores, game.discriminator(fakes))
        logged = {"D": loss.detach()}
        if lazy:
            loss = loss + config.r1 * config.r1_every * losses.gradient_penalty(scores, reals)
        if self._reads:
            error = losses.latent(game.encoder(made.stack.flatten()), made.codes)
            loss = loss + config.encoder_weight * error
            logged["z"] = game.unread(error, made.codes)
        return loss, logged


class PixelPhase(_Phase):
    """Section 3.2.1: E for pixels, the generator fixed; classifiers say which of the decoded layers are there."""

    name = "E"

    def trained(self) -> Sequence[nn.Module]:
        """E and the classifiers."""
        return [self.game.encoder, *([] if self.game.presence is None else [self.game.presence])]

    def optimiser(self) -> torch.optim.Optimizer:
        """Adam with the text's betas."""
        parameters = [p for module in self.trained() for p in module.parameters()]
        return torch.optim.Adam(parameters, self.game.config.lr, BETAS, fused=True)

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The squared error of pixels; on generated images the classifiers also learn what was kept."""
        game = self.game
        if game.presence is None:
            raise RuntimeError("the classifiers belong to inference by pixels")
        game.generator.eval()  # as it is when images are segmented
        made = None if game.config.inference == "pixel-real" else game.made(batch)
        images = game.photos(batch) if made is None else losses.generate(made.stack, made.keep)
        stack = game.generator(game.encoder(images))
        logits = game.presence(images, stack)
        loss = losses.pixels(stack.flatten(torch.sigmoid(logits)), images)
        logged = {"pixels": loss.detach()}
        if made is not None:
            known = losses.presence(logits, made.keep)
            loss, logged["presence"] = loss + known, known.detach()
        return loss, logged
