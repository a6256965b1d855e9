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
from decoupe.methods.independence.config import Config
from decoupe.methods.independence.networks import PooledDiscriminator
from decoupe.methods.independence.phases import DiscriminatorPhase, Game, MaskPhase
from decoupe.methods.room import Batch, DataSpec, Room, Stage, TrainingData
from decoupe.nn.unet import UNet
from decoupe.snapping import reduce_to


class Independence(Room):
    """See the module's docstring. Region 0 is the background, region 1 the object: by construction, never by labels."""

    NAME: ClassVar[str] = "independence"
    REACH: ClassVar[float] = 2.0  # a later round is finer, and finer outlines agree a little less
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
