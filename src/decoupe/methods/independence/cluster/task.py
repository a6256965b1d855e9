"""Task `cluster` of the room: ONE image of many alike things -> the things, their masks and their number.

1. Material: single things that can be told without learning are cut out (`cutouts`), or a generator of single things
   is trained adversarially through composites of many (`provider`, the paper's way).
2. Composites of that material, in unlimited number and with exact masks, train a segmenter.
3. The segmenter is applied to the image; what it finds safely is the material of the next round.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor, nn

from decoupe.data.pixels import conform
from decoupe.errors import Fault
from decoupe.instances import to_instances
from decoupe.methods.independence.cluster import whole
from decoupe.methods.independence.cluster.game import CriticPhase, Game, Patches, ProviderPhase
from decoupe.methods.independence.cluster.invented import invented
from decoupe.methods.independence.cluster.networks import SIDE, Critic, Generator
from decoupe.methods.independence.cluster.patches import OneImage, at_scale
from decoupe.methods.independence.cluster.placing import Placer
from decoupe.methods.independence.cluster.proposals import propose
from decoupe.methods.independence.cluster.scenes import Variety, compose, photographed, targets
from decoupe.methods.independence.cluster.segmenter import OFFSETS, known_targets, loss, segmenter, view
from decoupe.methods.independence.cluster.sprites import THING, Material, gather
from decoupe.methods.independence.config import Config
from decoupe.methods.room import Batch, DataSpec, Phase, Room, Stage, TrainingData
from decoupe.nn.unet import UNet
from decoupe.types import Image, Instance, InstanceMap, Regions

CLOSE = 0.1
"""The working scale follows the things when their size turns out to differ by more than this (in log)."""
FEW = 8
"""Fewer safe things than this are no material: the round keeps what it has."""


@dataclass(frozen=True)
class Lesson:
    """What one round of the segmenter learns from."""

    material: Material
    composites: NDArray[np.float32]
    """(N, C + 3, S, S): image in [-1, 1] and `targets` of each composite."""
    image: NDArray[np.float32]
    """(C, H, W) in [-1, 1] at the working scale."""
    target: NDArray[np.float32]
    """(4, H, W): see `known_targets`."""


@dataclass(frozen=True)
class Count:
    """How many things there are in an image."""

    count: int
    """The things in the mean of all views."""
    spread: float
    """Standard deviation of the count (`whole.uncertainty`)."""
    views: tuple[int, ...]
    areas: tuple[int, ...]
    """Pixels of each thing, in reading order of the label map."""


class SegmenterPhase(Phase):
    """The segmenter on composites, and on patches of the image as far as they are known."""

    name = "S"

    def __init__(self, config: Config, network: UNet, size: int, lesson: Lesson | None) -> None:
        super().__init__()
        self.config, self.network, self.size, self.lesson = config, network, size, lesson

    def trained(self) -> Sequence[nn.Module]:
        """The segmenter."""
        return [self.network]

    def optimiser(self) -> torch.optim.Optimizer:
        """AdamW."""
        return torch.optim.AdamW(self.network.parameters(), self.config.lr_segmenter, weight_decay=1e-3)

    def rate(self, progress: float) -> float:
        """Rises over the first twentieth, then falls to zero as a cosine."""
        return float(min(1.0, 0.05 + progress * 19) * 0.5 * (1 + np.cos(np.pi * min(progress, 1.0))) + 1e-3)

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of segmenter.py on this batch's rows."""
        images, wanted = self.lecture(batch, self.lesson) if self.lesson is not None else _nothing(batch)
        image, target = images.to(batch.images.device), wanted.to(batch.images.device)
        mask, offsets = loss(self.network(image), target[:, :3], target[:, 3])
        return mask + OFFSETS * offsets, {"mask": mask.detach(), "offsets": offsets.detach()}

    def lecture(self, batch: Batch, lesson: Lesson) -> tuple[Tensor, Tensor]:
        """(B, C, S, S) images and (B, 4, S, S) targets: every n-th row is a patch of the image, the rest composites."""
        seeds = batch.draw.integers(2**31 - 1).cpu().numpy()
        rows = batch.draw.first + np.arange(len(seeds))
        real = np.floor((rows + 1) * self.config.real) > np.floor(rows * self.config.real)
        images, wanted = [], []
        for seed, is_real in zip(seeds, real, strict=True):
            rng = np.random.default_rng(int(seed))
            image, target = _patch(lesson, self.size, rng) if is_real else _composite(lesson, rng)
            images.append(image)
            wanted.append(target)
        stacked = torch.from_numpy(np.stack(images)).to(memory_format=torch.channels_last)
        return stacked, torch.from_numpy(np.stack(wanted))


def _nothing(batch: Batch) -> tuple[Tensor, Tensor]:
    """Patches as they are, without things: before a stage has begun only the time of a step is of interest."""
    empty = torch.zeros(len(batch.images), 4, *batch.images.shape[2:])
    empty[:, 3] = 1
    return batch.images, empty


def _composite(lesson: Lesson, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """One of the composites, turned and mirrored at random, in other light."""
    chosen = torch.from_numpy(lesson.composites[int(rng.integers(len(lesson.composites)))])[None]
    number = int(rng.integers(8))
    image = view(chosen[:, :-3], number)[0].numpy()
    maps = chosen[:, -3:].flip(3) if number >= 4 else chosen[:, -3:]
    if number >= 4:
        maps = torch.stack([maps[:, 0], maps[:, 1], -maps[:, 2]], 1)
    for _ in range(number % 4):
        maps = torch.rot90(maps, 1, (2, 3))
        maps = torch.stack([maps[:, 0], -maps[:, 2], maps[:, 1]], 1)
    target = torch.cat([maps, torch.ones_like(maps[:, :1])], 1)[0].numpy()
    return photographed(image, rng), target


def _patch(lesson: Lesson, size: int, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A random square of the image, mirrored at random, and what is known of it."""
    height, width = (max(size, side) for side in lesson.image.shape[1:])
    more = ((0, 0), (0, height - lesson.image.shape[1]), (0, width - lesson.image.shape[2]))
    image, target = (
        np.pad(plane, more) if height + width > sum(plane.shape[1:]) else plane
        for plane in (lesson.image, lesson.target)
    )
    y, x = int(rng.integers(height - size + 1)), int(rng.integers(width - size + 1))
    image, target = (plane[:, y : y + size, x : x + size].copy() for plane in (image, target))
    if rng.integers(2):
        image, target = image[:, :, ::-1].copy(), target[:, :, ::-1].copy()
        target[2] *= -1
    if rng.integers(2):
        image, target = image[:, ::-1].copy(), target[:, ::-1].copy()
        target[1] *= -1
    return image, target


class Cluster(Room):
    """See the module's docstring. Region 0 is the ground, region 1 the things."""

    NAME: ClassVar[str] = "independence"
    WHOLE: ClassVar[bool] = True
    config: Config
    thing: Tensor
    before: Tensor
    round: Tensor

    def __init__(self, config: Config, spec: DataSpec) -> None:
        super().__init__(config, spec)
        self.segmenter = segmenter(spec.channels, config.segmenter_width)
        self.tutor = segmenter(spec.channels, config.segmenter_width)  # the segmenter at the start of this round
        if config.source == "provider":
            self.generator = Generator(spec.channels, config.latent, config.generator_width)
            self.critic = Critic(spec.channels, config.latent, config.discriminator_width)
            trained = config.layout == "trained"
            self.placer = Placer(spec.channels, config.latent, config.pad, config.upright) if trained else None
        self.register_buffer("thing", torch.tensor(float(THING)))  # diameter in pixels of the photo
        self.register_buffer("before", torch.tensor(float(THING)))  # the same in the round before
        self.register_buffer("round", torch.tensor(0))
        self._lesson: Lesson | None = None
        self._patches: Patches | None = None

    @property
    def regions(self) -> tuple[str, ...]:
        """Ground and things."""
        return ("background", "object")

    @property
    def inference(self) -> tuple[str, ...]:
        """The segmenter and the size of the things."""
        return ("segmenter.", "thing", "round")

    @property
    def kept(self) -> tuple[str, ...]:
        """Nothing beside it."""
        return ()

    def prepare(self, data: TrainingData) -> None:
        """The size of the things."""
        self.thing.fill_(_photo(data).thing)
        self.before.copy_(self.thing)

    def stages(self) -> Sequence[Stage]:
        """The generator if it is wanted, then the rounds of the segmenter."""
        config = self.config
        found = [self._provider()] if config.source == "provider" else []
        for index in range(config.passes):
            phase = SegmenterPhase(config, self.segmenter, self.spec.size, self._lesson)
            last = index == config.passes - 1
            found.append(
                Stage(
                    f"segmenter {index + 1}", (phase,), config.pass_images, averaged=("segmenter",), decay=0.98,
                    candidate=last, checks=2, settles=0.9, watched_from=2.0,
                )
            )  # fmt: skip
        return found

    def _provider(self) -> Stage:
        config = self.config
        game = Game(config, self.generator, self.critic, self._patches, self.placer)
        phases = (CriticPhase(game), ProviderPhase(game))
        return Stage(
            "provider", phases, config.generator_images, averaged=("generator",) if config.average else (),
            decay=config.average, candidate=False, checks=4, watched_from=2.0,
        )  # fmt: skip

    def enter(self, stage: int, data: TrainingData, fresh: bool) -> None:
        """Find out what the stage learns from: the photo's patches, proposals, or the things of the round before."""
        one = _photo(data)
        name, _, number = self.stages()[stage].name.partition(" ")
        if name == "provider":
            self._patches = Patches(one.photo, one.thing, self.config)
            return
        index = int(number)
        self.round.fill_(index)
        self.eval()
        if index == 1:
            self._lesson = self._first(one)
            return
        if fresh:
            self.before.copy_(self.thing)
            self.tutor.load_state_dict(self.segmenter.state_dict())
        self._lesson = self._next(one)

    def _first(self, one: OneImage) -> Lesson:
        image = at_scale(one.photo, float(self.thing))
        found = propose(image, np.pi / 4 * THING**2)
        if self.config.source == "provider":
            material = invented(self.generator, image, self.config, self.spec.size)
            return self._lesson_of(image, material, np.zeros(image.shape[:2], np.int32), np.zeros(0))
        return self._lesson_of(image, gather(image, found.labels, found.quality), found.labels, found.quality)

    def _next(self, one: OneImage) -> Lesson:
        """What the tutor finds, at the scale that fits the size of what it finds."""
        image = at_scale(one.photo, float(self.before))
        found = whole.find(self.tutor, image, self.config.views)
        quality = whole.trusted(found)
        safe = quality > 0.3
        labels = np.where(np.append(False, quality > 0.1)[found.labels], found.labels, 0)
        if safe.sum() >= FEW:
            area = float(np.median(np.bincount(found.labels.ravel(), minlength=len(quality) + 1)[1:][safe]))
            ratio = float(np.sqrt(area / (np.pi / 4 * THING**2)))
            if abs(np.log(ratio)) > CLOSE:
                self.thing.copy_(self.before * float(np.clip(ratio, 0.6, 1.6)))
        else:
            return self._first(one)
        image = at_scale(one.photo, float(self.thing))
        labels = whole.resampled(labels, *image.shape[:2])
        return self._lesson_of(image, gather(image, labels, quality), labels, quality)

    def _lesson_of(self, image: Image, material: Material, labels: InstanceMap, quality: NDArray[np.float64]) -> Lesson:
        unit = np.moveaxis(image, 2, 0).astype(np.float32) / 127.5 - 1
        middle = [(0.0, 0.0)] * len(quality)
        for number, box in enumerate(ndimage.find_objects(labels, len(quality)), start=1):
            if box is not None:
                y, x = np.nonzero(labels[box] == number)
                middle[number - 1] = (float(y.mean()) + box[0].start, float(x.mean()) + box[1].start)
        centres = np.array(middle, np.float32).reshape(-1, 2)
        wanted = known_targets(labels, quality, material.foreground, targets(labels, centres))
        variety = Variety(self.config.scale_spread, hidden=self.config.hidden)
        seeds = np.arange(self.config.composites) + 1_000_003 * int(self.round)
        scenes = compose(material, self.spec.size, seeds, variety)
        composites = [np.concatenate([one.image, targets(one.labels, one.centres)]) for one in scenes]
        return Lesson(material, np.stack(composites), unit, wanted)

    def segment(self, images: Tensor) -> Tensor:
        """(B, C, H, W) in [-1, 1] at the working scale -> (B, 2, H, W)."""
        chance = torch.sigmoid(self.segmenter(images)[:, :1].float())
        return torch.cat([1 - chance, chance], 1)

    def look(self, image: Image) -> Regions:
        """The regions and instances of a whole photo, (H, W, C) uint8, at its own size."""
        found = self.find(image)
        labels, chance = whole.enlarge(found, *image.shape[:2])
        instances = _with_scores(to_instances(labels), labels, found.agreement)
        return Regions(np.stack([1 - chance, chance]), self.regions, instances=tuple(instances))

    def count(self, image: Image) -> Count:
        """How many things (H, W, C) uint8 shows."""
        found = self.find(image)
        scale = float(self.thing / THING) ** 2
        areas = np.bincount(found.labels.ravel())[1:] * scale
        found_areas = tuple(int(round(a)) for a in areas)
        return Count(len(found.agreement), whole.uncertainty(found), found.counts, found_areas)

    def find(self, image: Image) -> whole.Found:
        """The things of a photo at the working scale."""
        image = conform(image, self.spec.channels)
        scaled = at_scale(image, float(self.thing))
        short = min(scaled.shape[:2])
        if short < 32:
            raise Fault(
                f"an image at least {round(32 * float(self.thing) / THING)} px wide and high, for things of "
                f"{float(self.thing):.0f} px", f"{image.shape[1]}x{image.shape[0]}", "use one of the photo's kind",
            )  # fmt: skip
        return whole.find(self.segmenter, scaled, self.config.views)

    def samples(self, batch: Batch) -> Mapping[str, Tensor]:
        """Patches and their masks; composites; what the generator makes, and walks between its z."""
        rows = {"photo": batch.images, "mask": self.segment(batch.images)[:, 1:] * 2 - 1}
        if self._lesson is not None:
            known = self._lesson.composites
            shown = np.arange(len(batch.images)) % len(known)
            rows["composite"] = torch.from_numpy(known[shown][:, :-3]).to(batch.images.device)
        if self.config.source == "provider":
            rows |= self._made(batch, len(batch.images))
        return {name: nn.functional.interpolate(row, (SIDE, SIDE)) for name, row in rows.items()}

    def _made(self, batch: Batch, number: int) -> dict[str, Tensor]:
        z = torch.randn(number, self.config.latent, generator=torch.Generator().manual_seed(0)).to(batch.images.device)
        alone = self.generator(z)
        walk = torch.lerp(z[:1], z[1:2], torch.linspace(0, 1, number, device=z.device)[:, None])
        moved = self.generator(walk)
        return {
            "instance": alone[:, :-1] * 2 - 1, "its mask": alone[:, -1:] * 2 - 1,
            "carved": alone[:, :-1] * alone[:, -1:] * 2 - 1, "from z to z": moved[:, :-1] * moved[:, -1:] * 2 - 1,
        }  # fmt: skip


def _photo(data: TrainingData) -> OneImage:
    if not isinstance(data.images, OneImage):
        raise Fault("one image for --task cluster", "many", "name one image file, or leave out --task cluster")
    return data.images


def _with_scores(found: list[Instance], labels: InstanceMap, scores: NDArray[np.float64]) -> list[Instance]:
    """Scores by the number that an instance has in the label map."""
    numbers = [n for n, box in enumerate(ndimage.find_objects(labels), start=1) if box is not None]
    return [
        Instance(one.size, one.counts, float(scores[number - 1]), one.region)
        for number, one in zip(numbers, found, strict=True)
    ]
