"""The room `tags`: classifier, Grad-CAM, cues, SEC, and rounds of self-training; the CRF comes with `segment`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from decoupe import cam
from decoupe.distillation import mirrored_mean
from decoupe.engine.selection import flip_agreement
from decoupe.errors import Fault
from decoupe.methods.room import Batch, DataSpec, Room, Stage, Taught, TrainingData, to_unit
from decoupe.methods.tags import cues as making
from decoupe.methods.tags import losses, networks
from decoupe.methods.tags.config import TAUGHT_CRF, TEXT_CRF, Config
from decoupe.methods.tags.features import CHUNK, Features, compute
from decoupe.methods.tags.phases import ClassifierPhase, SecPhase, cells
from decoupe.nn.deeplab import Late, enlarge

SELF = 2
"""First stage of self-training."""
MOST = 254
"""Tags that cues can tell apart: 0 is the background, 255 stands for nothing known."""


@dataclass(frozen=True)
class Seen:
    """Some training photos and what is known of them."""

    images: Tensor
    """(B, C, S, S) in [-1, 1]."""
    indices: Tensor
    features: Features | None

    def view(self, mirrored: bool) -> Tensor:
        """The fixed parts' map (B, D, h, w) of the photos or of their mirror images."""
        if self.features is None:
            raise TypeError("nothing is kept of these photos")
        which = torch.full((len(self.indices),), mirrored)
        return self.features.of(self.indices, which, self.images.device)


class Tags(Room):
    """See the module's docstring."""

    NAME: ClassVar[str] = "tags"
    config: Config
    done: Tensor
    thresholds: Tensor

    def __init__(self, config: Config, spec: DataSpec) -> None:
        super().__init__(config, spec)
        if len(spec.tags) > MOST:
            raise Fault(
                f"at most {MOST} tags: cues are bytes", f"{len(spec.tags):,}", "choose some with --classes NAME ..."
            )  # fmt: skip
        self.classifier = networks.classifier(config, spec)
        self.segmenter = networks.segmenter(config, spec)
        if config.rounds:
            self.tutor = networks.segmenter(config, spec)  # the segmenter as it was when this round began
        self.register_buffer("done", torch.tensor(0))
        self.register_buffer("thresholds", torch.full((len(spec.tags),), config.threshold))
        self._tags = torch.zeros(1, len(spec.tags))
        self._counted = torch.ones(1)
        self._cues = torch.zeros(1, 1, 1, dtype=torch.uint8)
        self._taught: Taught | None = None
        self._fixed = self.segmenter.early(config.fixed) if config.weights else 0
        self._features: Features | None = None

    @property
    def regions(self) -> tuple[str, ...]:
        """Background, then the tags."""
        return ("background", *self.spec.tags)

    @property
    def crf(self) -> str | None:
        """The CRF of the configuration; auto: the one that suits the masks that `segment` gives now."""
        if self.config.crf == "none":
            return None
        if self.config.crf != "auto":
            return self.config.crf
        taught = self.config.masks == "sec" and int(self.done) >= SELF
        return TAUGHT_CRF if taught else TEXT_CRF

    # ------------------------------------------------------------------ stages

    def stages(self) -> Sequence[Stage]:
        """Classifier, SEC, rounds of self-training. Maps and cues are made on the way from one to the next."""
        config = self.config
        shared = self._fixed, self._features
        tags = ClassifierPhase(config, self.classifier, self._tags, self._counted, *shared)
        sec = SecPhase(config, self.segmenter, self._cues, self._tags, False, *shared)
        own = SecPhase(config, self.segmenter, self._cues, self._tags, True, *shared)
        first = Stage(
            "classifier", (tags,), config.classifier_images, candidate=False, fixed=True, checks=1, watched_from=2.0
        )
        settling = partial(Stage, averaged=("segmenter",), decay=0.99, checks=1, settles=0.99)
        rounds_follow = config.rounds > 0
        second = settling("sec", (sec,), config.sec_images, candidate=not rounds_follow, spare=rounds_follow)
        last = config.rounds - 1  # softer masks of earlier stages agree better with their mirror images
        rounds = [
            settling(f"self-training {i + 1}", (own,), config.round_images, candidate=i == last)
            for i in range(config.rounds)
        ]
        return [first, second, *rounds]

    def prepare(self, data: TrainingData) -> None:
        """Read the tags and install the weights. Fault without tags, or on weights that do not fit."""
        self._learn_tags(data)
        if self.config.weights:
            network = networks.classifier(self.config, self.spec, self.config.weights).to(self.thresholds.device)
            self.classifier.load_state_dict(network.state_dict())
        self.segmenter.take(self.classifier)
        self._features = None

    def enter(self, stage: int, data: TrainingData, fresh: bool) -> None:
        """Make the cues of a stage from the state: maps before SEC, the segmenter's own masks before each round."""
        self._learn_tags(data)
        if self._features is None and self._stored:
            self.eval()
            self._features = compute(self.segmenter, self._fixed, data, self.thresholds.device)
        if fresh:
            self.done.fill_(stage)
        if stage == 0:
            return
        with torch.no_grad():
            self.eval()
            if fresh and stage == 1:
                self.choose_thresholds(data)
                if self.config.start == "classifier":
                    self.segmenter.take(self.classifier)
            if stage < SELF:
                self._cues = self.given_cues(data) if data.cues is not None else self._each(data, self.cues)
            else:
                if fresh:
                    self.tutor.load_state_dict(self.segmenter.state_dict())
                self._cues = self._each(data, self.targets)
        if self.config.pictures:
            name = "cues" if stage < SELF else f"targets-{stage - SELF + 1}"
            self._taught = Taught(name, self._cues[: self.config.pictures])

    def taught(self) -> Taught | None:
        """The cues of SEC, the targets of a round."""
        return self._taught

    def _learn_tags(self, data: TrainingData) -> None:
        if data.tags is None or data.tags.shape != (len(data.images), len(self.spec.tags)):
            raise Fault("tags of every photo", "none", "give --tags tags.csv (columns image,tags)")
        self._tags = torch.from_numpy(np.asarray(data.tags, np.float32))
        n = len(self._tags)
        held = torch.randperm(n, generator=torch.Generator().manual_seed(0)) < round(n * self.config.holdout)
        self._counted = (~held).float()

    @property
    def _stored(self) -> bool:
        """Whether classifier and segmenter share fixed parts, so that these are run once (VGG's maxima differ)."""
        config = self.config
        return (
            bool(self._fixed) and config.backbone != "vgg16" and config.fixed <= min(config.stride, config.map_stride)
        )

    def _each(self, data: TrainingData, what: Callable[[Seen, Tensor], Tensor]) -> Tensor:
        """`what` of all training photos and their tags, a few at a time."""
        found = []
        device = self.thresholds.device
        for start in range(0, len(data.images), CHUNK):
            some = torch.arange(start, min(start + CHUNK, len(data.images)))
            seen = Seen(to_unit(data.images[some.numpy()], device), some, self._features)
            with torch.autocast(device.type, torch.bfloat16, enabled=self._features is not None):
                found.append(what(seen, self._tags[some].to(device)).cpu())
        return torch.cat(found)

    def choose_thresholds(self, data: TrainingData) -> None:
        """The thresholds with the best F1 on the photos held out, if any are."""
        held = (self._counted == 0).nonzero()[:, 0]
        if not len(held):
            return
        device = self.thresholds.device
        found = [self.presence(to_unit(data.images[part.numpy()], device)) for part in torch.split(held, CHUNK)]
        best = networks.best_thresholds(torch.cat(found).cpu(), self._tags[held], self.config.threshold)
        self.thresholds.copy_(best)

    def given_cues(self, data: TrainingData) -> Tensor:
        """Cues of a folder on the grid of the losses, uint8 (N, h, w)."""
        if data.cues is None:
            raise Fault("a folder of cues", "none", "give --cues DIR")
        side = (self.spec.size - 1) // 8 + 1
        middle = torch.linspace(0, self.spec.size - 1, side).round().long()
        read = [torch.from_numpy(data.cues[np.array([i])])[:, middle][:, :, middle] for i in range(len(data.images))]
        return torch.cat(read)

    # ------------------------------------------------------------------ what is seen in a photo

    def presence(self, images: Tensor) -> Tensor:
        """(B, C, H, W) in [-1, 1] -> (B, tags): probability that each class is there."""
        return torch.sigmoid(self.classifier(images).float())

    def maps(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) in [-1, 1] -> probabilities (B, tags), maps (B, tags, h, w) in [0, 1] at the layer's size."""
        config = self.config
        logits, found = cam.explain(self.classifier, images, method=config.cam, scales=config.scales, flip=config.flip)
        return torch.sigmoid(logits.float()), found.float()

    def _maps_of(self, seen: Seen) -> Tensor:
        """Maps of training photos, from what is known of them already where that is enough."""
        if seen.features is None or self.config.scales != (1.0,):
            return self.maps(seen.images)[1]
        late = Late(self.classifier, self._fixed)
        views = [seen.view(False), seen.view(True)] if self.config.flip else [seen.view(False)]
        found = [cam.explain(late, view, method=self.config.cam)[1].float() for view in views]
        return torch.stack([found[0], *(m.flip(3) for m in found[1:])]).mean(0)

    def cues(self, seen: Seen, tags: Tensor) -> Tensor:
        """Photos and their tags -> uint8 (B, h, w): 0 background, 1 ... tags, 255 none."""
        config, images = self.config, seen.images
        found = cam.normalised(enlarge(self._maps_of(seen), *cells(images)))
        if config.ground == "maps":
            ground = making.quiet(found, tags, config.ground_below)
        else:
            pixels = cam.saliency(self.classifier, images, tags)
            pixels = F.interpolate(pixels.float(), cells(images), mode="bilinear", antialias=True)
            ground = cam.least_salient(pixels, config.ground_share) | (tags.sum(1) == 0)[:, None, None, None]
        return making.cues(ground, making.foreground(found, tags, config.cue))

    def targets(self, seen: Seen, tags: Tensor) -> Tensor:
        """Photos and their tags -> what a round of self-training teaches, uint8 (B, h, w)."""
        images = seen.images
        if seen.features is None:
            scores = self.tutor(images)
        else:
            views = torch.cat([seen.view(False), seen.view(True)])
            straight, mirrored = self.tutor.rest(views, self._fixed).chunk(2)
            scores = (straight + mirrored.flip(3)) / 2
        side = [(s - 1) // 3 + 1 for s in images.shape[2:]]
        f = losses.probabilities(enlarge(scores.float(), side[0], side[1]))
        return making.own_targets(f, tags, images, cells(images), self.config.sure)

    # ------------------------------------------------------------------ masks

    def segment(self, images: Tensor) -> Tensor:
        """(B, C, H, W) in [-1, 1] -> (B, 1 + tags, H, W): the segmenter's, or before it has learned the maps'."""
        height, width = images.shape[2:]
        if self.config.masks == "gradcam" or int(self.done) == 0:
            present, found = self.maps(images)
            found = cam.normalised(enlarge(found, height, width))
            return making.as_probabilities(found, (present >= self.thresholds).float())
        f = mirrored_mean(self.learned, images) if self.config.flip else self.learned(images)
        if self.config.gate > 0:
            here = (self.presence(images) >= self.config.gate).float()
            f = f * F.pad(here, (1, 0), value=1.0)[:, :, None, None]
            f = f / f.sum(1, keepdim=True)
        return f

    def learned(self, images: Tensor) -> Tensor:
        """(B, C, H, W) in [-1, 1] -> (B, 1 + tags, H, W): the segmenter's probabilities, of each photo once."""
        return losses.probabilities(enlarge(self.segmenter(images).float(), images.shape[2], images.shape[3]))

    def score(self, images: Tensor) -> Tensor:
        """(B,): agreement of the segmenter's regions with those of the mirrored photo."""
        return flip_agreement(self.learned, images)

    def steps(self, images: Tensor, taught: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Class maps, the cues, the targets of the rounds, and the segmenter's masks before the CRF.

        Cues of photos that were not learned from are those that the maps give for the classes found; where the cues
        came from elsewhere there are none of such photos.
        """
        present, found = self.maps(images)
        here = (present >= self.thresholds).float()
        maps = making.as_probabilities(cam.normalised(enlarge(found, *images.shape[2:])), here).argmax(1)
        shown = {"class maps": maps}
        if "cues" in taught:
            shown["given cues" if self.config.cues else "cues"] = taught["cues"]
        elif not self.config.cues:
            shown["cues"] = self.cues(Seen(images, torch.arange(len(images)), None), here).long()
        shown |= {name.replace("-", " "): labels for name, labels in taught.items() if name != "cues"}
        return shown if int(self.done) == 0 else shown | {"before the CRF": self.segment(images).argmax(1)}

    @property
    def inference(self) -> tuple[str, ...]:
        """Both networks: the maps are shown beside the masks."""
        return ("classifier.", "segmenter.", "thresholds", "done")

    def samples(self, batch: Batch) -> Mapping[str, Tensor]:
        """Photos and up to six regions."""
        probs = self.segment(batch.images) * 2 - 1
        return {"photo": batch.images} | {name: probs[:, k : k + 1] for k, name in enumerate(self.regions[:6])}
