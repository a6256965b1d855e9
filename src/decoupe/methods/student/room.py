"""The room `student`: short rounds of distillation, the first from another run, each later one from the student."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from decoupe import distillation
from decoupe.distillation import Recipe, Segment, StudentPhase, Targets, activate, maps_for, whole
from decoupe.errors import Fault
from decoupe.methods.room import Batch, DataSpec, Room, Stage, TrainingData
from decoupe.methods.student.config import Config
from decoupe.methods.student.teacher import Teacher
from decoupe.nn.unet import UNet


class Student(Room):
    """See the module's docstring. The teacher is read before the first round only; `segment` never needs it."""

    NAME: ClassVar[str] = "student"
    config: Config
    round: Tensor

    def __init__(self, config: Config, spec: DataSpec) -> None:
        super().__init__(config, spec)
        self.student = self._network()
        self.tutor = self._network()  # the student at the start of this round
        self.register_buffer("round", torch.tensor(0))
        self._targets: Targets | None = None

    def _network(self) -> UNet:
        config, maps = self.config, maps_for(len(self.config.names))
        return UNet(self.spec.channels, config.width, config.depth, config.norm, outputs=maps)

    @property
    def regions(self) -> tuple[str, ...]:
        """The teacher's."""
        return self.config.names

    @property
    def inference(self) -> tuple[str, ...]:
        """The student alone."""
        return ("student.",)

    def stages(self) -> Sequence[Stage]:
        """The rounds."""
        return [self._round(index) for index in range(self.config.rounds)]

    def _round(self, index: int) -> Stage:
        config = self.config
        onto = config.onto
        if onto == "auto":
            onto = "patches" if len(config.names) == 2 else "photos"
        recipe = Recipe(config.lr, config.jitter, config.recomposed, config.sharpen, onto)
        phase = StudentPhase(recipe, self.student, self._targets)
        return Stage(
            f"distil {index + 1}",
            (phase,),
            config.round_images,
            averaged=("student",),
            decay=0.99,
            fixed=True,
            checks=4,
        )

    def prepare(self, data: TrainingData) -> None:
        """Compute the first round's targets, so that its step can be timed. Fault as in `enter`."""
        self._targets = self._learn(0, data)

    def enter(self, stage: int, data: TrainingData, fresh: bool) -> None:
        """Compute the targets of a round. Fault if its teacher is needed and gone, or is there and has changed."""
        prepared = int(self.round) == 0 and self._targets is not None
        self.round.fill_(stage + 1)
        if fresh and stage > 0:
            self.tutor.load_state_dict(self.student.state_dict())
        if not prepared:
            self._targets = self._learn(stage, data)

    @torch.no_grad()
    def _learn(self, stage: int, data: TrainingData) -> Targets:
        self.eval()
        config = self.config
        return Targets(data, self._teaching(stage), config.target_images, config.snap, self.round.device)

    def _teaching(self, stage: int) -> Segment:
        if stage > 0:
            return self._tutored
        if self.config.teacher is None:
            raise Fault("a teacher", "none", "write decoupe distill RUN --run NEW")
        teacher = Teacher.open(self.config.teacher, self.round.device)
        if teacher.digest != self.config.digest:
            raise Fault(
                f"the teacher {self.config.teacher} as it was when this run began",
                "another run or other merges",
                "restore it, or start a new --run",
            )
        return teacher.regions

    def _tutored(self, images: Tensor) -> Tensor:
        return whole(activate(self.tutor(images)))

    def segment(self, images: Tensor) -> Tensor:
        """(B, C, H, W) in [-1, 1] -> (B, K, H, W)."""
        return whole(activate(self.student(images)))

    def embed(self, images: Tensor) -> Mapping[str, Tensor]:
        """The student's bottleneck, averaged to 4 x 4 and flattened."""
        return {"student": distillation.bottleneck(self.student, images)}

    def score(self, images: Tensor) -> Tensor:
        """(B,): agreement of the regions with the mirrored photo's and with their own snapped selves."""
        return distillation.score(self.segment, images)

    def samples(self, batch: Batch) -> Mapping[str, Tensor]:
        """Photos and one row per region (at most six)."""
        probs = self.segment(batch.images) * 2 - 1
        if len(self.regions) == 2:
            return {"photo": batch.images, "mask": probs[:, 1:]}
        return {"photo": batch.images} | {f"region {k}": probs[:, k : k + 1] for k in range(min(6, probs.shape[1]))}
