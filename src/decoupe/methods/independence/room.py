"""The room `independence`: several short adversarial runs, their consensus, and a student distilled from it.

Stage k < members trains mask network k against a fresh discriminator (Eq. 6 and 7); the last stage distils (Eq. 8).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from decoupe import distillation
from decoupe.compositing import alpha_over
from decoupe.distillation import Recipe, StudentPhase, Targets, activate, whole
from decoupe.methods.independence import losses
from decoupe.methods.independence.config import Config
from decoupe.methods.independence.networks import PooledDiscriminator
from decoupe.methods.independence.providers import Instance, foreground, lay_out, paste, patches
from decoupe.methods.room import Batch, DataSpec, Draw, Phase, Room, Stage, TrainingData
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


class DiscriminatorPhase(Phase):
    """Eq. 6."""

    name = "D"

    def __init__(self, game: Game) -> None:
        super().__init__()
        self.game = game

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


class MaskPhase(Phase):
    """Eq. 7: fool the discriminator with masks of about the target area."""

    name = "G"

    def __init__(self, game: Game) -> None:
        super().__init__()
        self.game = game

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


class Independence(Room):
    """See the module's docstring. Region 0 is the background, region 1 the object: by construction, never by labels."""

    NAME: ClassVar[str] = "independence"
    config: Config
    weights: Tensor
    round: Tensor

    @classmethod
    def of(cls, config: Config) -> type[Room]:
        """This class for the task foreground, `Cluster` for the task cluster."""
        if config.task == "foreground":
            return cls
        from decoupe.methods.independence.cluster.task import Cluster

        return Cluster

    def __init__(self, config: Config, spec: DataSpec) -> None:
        super().__init__(config, spec)
        self.teacher_size = min(config.teacher_size or spec.size, spec.size)
        self.members = nn.ModuleList(
            self._mask_network(config.teacher_depth, config.coarse) for _ in range(config.members)
        )
        self.discriminator = PooledDiscriminator(
            spec.channels, self.teacher_size, config.pools, config.discriminator_width
        )
        self.student = self._mask_network(config.student_depth)
        self.tutor = self._mask_network(config.student_depth)  # the student at the start of this round
        self.register_buffer("weights", torch.zeros(config.members))  # of the members in their consensus
        self.register_buffer("round", torch.tensor(0))  # of distillation; 0 = none yet
        self._targets: Targets | None = None

    def _mask_network(self, depth: int, coarse: int = 1) -> UNet:
        config = self.config
        return UNet(self.spec.channels, config.width, depth, config.norm, config.deconvolution, coarse)

    @property
    def regions(self) -> tuple[str, ...]:
        """Background and object."""
        return ("background", "object")

    @property
    def inference(self) -> tuple[str, ...]:
        """The student alone once there is one; before, the members trained so far."""
        if int(self.round):
            return ("weights", "round", "student.")
        return ("weights", "round", *(f"members.{k}." for k, w in enumerate(self.weights.tolist()) if w))

    def stages(self) -> Sequence[Stage]:
        """One adversarial run per member, then the rounds of distillation."""
        teachers = [self._teacher(index) for index in range(self.config.members)]
        if not self.config.distill:
            return teachers
        return [*teachers, *(self._round(index) for index in range(self.config.rounds))]

    def _teacher(self, index: int) -> Stage:
        config = self.config
        tilt = 2 * index / (config.members - 1) - 1 if config.members > 1 else 0.0
        area = config.area + tilt * config.area_spread
        game = Game(config, self.teacher_size, area, _unet(self.members[index]), self.discriminator)
        return Stage(
            f"teacher {index + 1}",
            (DiscriminatorPhase(game), MaskPhase(game)),
            config.member_images,
            averaged=(f"members.{index}",) if config.average else (),
            decay=config.average,
            candidate=not config.distill,
            fixed=config.distill,
            checks=2 if config.distill else 8,
        )

    def _round(self, index: int) -> Stage:
        config = self.config
        recipe = Recipe(config.lr_student, config.jitter, config.recomposed, config.sharpen)
        phase = StudentPhase(recipe, self.student, self._targets)
        return Stage(
            f"distil {index + 1}",
            (phase,),
            config.student_images,
            averaged=("student",),
            decay=0.99,
            fixed=True,
            checks=4,
        )

    def enter(self, stage: int, data: TrainingData, fresh: bool) -> None:
        """Count a member in, with new networks; or compute the targets of the next round of distillation."""
        name, _, number = self.stages()[stage].name.partition(" ")
        if name == "teacher" and fresh:
            self.weights[stage:], self.weights[stage] = 0, 1
            fresh_one = type(self)(self.config, self.spec)
            self.discriminator.load_state_dict(fresh_one.discriminator.state_dict())
            self.members[stage].load_state_dict(fresh_one.members[stage].state_dict())
        if name == "distil":
            self.round.fill_(int(number))
            if fresh and int(self.round) > 1:
                self.tutor.load_state_dict(self.student.state_dict())
            self.eval()
            with torch.no_grad():
                limit, snap = self.config.target_images, self.config.snap
                self._targets = Targets(data, self.teach, limit, snap, self.weights.device, ground=0)

    def teach(self, images: Tensor) -> Tensor:
        """Regions (B, 2, H, W) that this round's student is to learn: the members', or the student's so far."""
        return whole(self.consensus(images) if int(self.round) == 1 else activate(self.tutor(images)))

    def consensus(self, images: Tensor) -> Tensor:
        """Weighted mean of the members' masks: (B, C, H, W) -> (B, 1, H, W) in [0, 1]."""
        small = reduce_to(images, self.teacher_size)
        total = torch.zeros_like(small[:, :1], dtype=torch.float32)
        for weight, member in zip(self.weights.tolist(), self.members, strict=True):
            if weight:
                total = total + weight * torch.sigmoid(member(small).float())
        masks = total / self.weights.sum().clamp_min(1e-6)
        if small is images:
            return masks
        return nn.functional.interpolate(masks, list(images.shape[2:]), mode="bilinear", align_corners=False)

    def segment(self, images: Tensor) -> Tensor:
        """(B, C, H, W) in [-1, 1] -> (B, 2, H, W)."""
        return whole(activate(self.student(images)) if int(self.round) else self.consensus(images))

    def score(self, images: Tensor) -> Tensor:
        """(B,): agreement of the object's mask with the mirrored photo's and with its own snapped self."""
        return distillation.score(self.segment, images, first=1, soft=True)

    def embed(self, images: Tensor) -> Mapping[str, Tensor]:
        """The student's bottleneck, averaged to 4 x 4 and flattened; nothing where there is no student."""
        return {"student": distillation.bottleneck(self.student, images)} if int(self.round) else {}

    def samples(self, batch: Batch) -> Mapping[str, Tensor]:
        """Photos, masks, carved objects on unrelated backgrounds."""
        mask = self.segment(batch.images)[:, 1:]
        pasted = alpha_over(batch.images, mask, batch.backgrounds)
        return {"photo": batch.images, "mask": mask * 2 - 1, "pasted": pasted}


def _unet(module: nn.Module) -> UNet:
    """Narrow what a ModuleList holds."""
    if not isinstance(module, UNet):
        raise TypeError(type(module).__name__)
    return module
