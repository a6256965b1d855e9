"""The room `scene_vae`: image, tags and mask from one latent, and the latent from any of them.

One stage of one phase (objective.py). `segment` observes the image alone; `infer_masks` tags too, where they are known.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from decoupe.errors import Fault
from decoupe.losses.variational import Gaussian, reparameterise
from decoupe.methods.room import Batch, DataSpec, Room, Stage, TrainingData
from decoupe.methods.scene_vae.config import JOINT, Config
from decoupe.methods.scene_vae.diagnostics import BANK, Diagnostics
from decoupe.methods.scene_vae.imagining import draws, walk
from decoupe.methods.scene_vae.labels import describe, read_masks
from decoupe.methods.scene_vae.networks import BackboneEncoder
from decoupe.methods.scene_vae.objective import ScenePhase
from decoupe.methods.scene_vae.pool import Pool
from decoupe.methods.scene_vae.scene import Scene, Seen

SHEET = 32
"""Scenes that are made at once."""
SETTLED = 0.9
"""Share of a run after which its snapshots are settled: the learning rate is near zero."""


class SceneVae(Room):
    """See the module's docstring."""

    NAME: ClassVar[str] = "scene_vae"
    config: Config
    bank_mean: Tensor
    bank_log_variance: Tensor

    def __init__(self, config: Config, spec: DataSpec) -> None:
        super().__init__(config, spec)
        self.scene = Scene(config, spec.channels)
        rows = BANK if config.model in JOINT else 0
        shape = (rows, config.latent, self.scene.side, self.scene.side)
        self.register_buffer("bank_mean", torch.zeros(shape))
        self.register_buffer("bank_log_variance", torch.zeros(shape))
        self._pool: Pool | None = None

    @property
    def regions(self) -> tuple[str, ...]:
        """The classes of the masks."""
        return self.config.names

    @property
    def uses_labels(self) -> bool:
        """True: masks were read."""
        return True

    def prepare(self, data: TrainingData) -> None:
        """Read the masks and a backbone's weights. Fault where either does not fit."""
        self._read(data)
        if isinstance(self.scene.see, BackboneEncoder) and self.config.weights:
            self.scene.see.load(self.config.weights)

    def enter(self, stage: int, data: TrainingData, fresh: bool) -> None:
        """Read the masks. Fault if they are not those that this run began with."""
        if self._pool is None:
            self._read(data)

    def _read(self, data: TrainingData) -> None:
        if self.config.digest and describe(self.config)[1] != self.config.digest:
            raise Fault("the masks as they were when this run began", "others", "restore them, or start a new --run")
        self._pool = Pool(data, read_masks(self.config, data.images), self.config, self.bank_mean.device)

    def stages(self) -> Sequence[Stage]:
        """One stage; its last snapshots are those to choose from."""
        config = self.config
        bank = (self.bank_mean, self.bank_log_variance) if config.model in JOINT else None
        phase = ScenePhase(self.scene, self._pool, Diagnostics(config.diagnose, bank))
        stage = Stage("scene", (phase,), config.train_images, checks=config.checks, watched_from=0.5, settles=SETTLED)
        return [stage]

    # ------------------------------------------------------------------ masks

    def segment(self, images: Tensor) -> Tensor:
        """(B, C, H, W) in [-1, 1] -> (B, K, H, W); observed: the image."""
        return self.infer_masks(images, None)

    def infer_masks(self, images: Tensor, tags: Tensor | None) -> Tensor:
        """The same, with tags (B, K) of 0, 1 or NaN = not known; cvae and unet have no use for them beyond ruling out.

        Classes that the tags rule out get no share, whatever the model; tags that rule out all of them rule out none.
        """
        probs = self.masks_of(Seen(self.scene.resized(images), tags))
        if tags is not None:
            allowed = tags != 0  # unknown ones stay possible
            allowed |= ~allowed.any(1, keepdim=True)
            probs = probs * allowed[:, :, None, None]
            probs = probs / probs.sum(1, keepdim=True).clamp_min(1e-8)
        size = list(images.shape[2:])
        return probs if list(probs.shape[2:]) == size else F.interpolate(probs, size, mode="bilinear")

    def masks_of(self, seen: Seen, draws: int | None = None) -> Tensor:
        """(B, K, S, S) shares of the classes: of the mean of the latent (0 draws), or averaged over draws of it.

        `draws` None = as configured.
        """
        config, scene = self.config, self.scene
        count = config.draws if draws is None else draws
        if config.model == "unet":
            image = self._image(seen)
            logits: Tensor = scene.draw(image, scene.see(image), None)
            return logits.float().softmax(1)
        if config.model != "cvae":
            q = scene.infer(seen)
            return self._averaged(q, scene.draw, count)
        image = self._image(seen)
        maps, prior = scene.conditioned(image)
        if seen.mask is not None:
            q = scene.posterior(torch.cat([maps[-1], scene.read(seen.mask)[-1]], 1))
        elif prior is not None:
            q = prior
        else:
            zeros = torch.zeros(image.shape[0], config.latent, scene.side, scene.side, device=image.device)
            q = Gaussian(zeros, zeros)
        return self._averaged(q, partial(scene.draw, image, maps), count)

    def _image(self, seen: Seen) -> Tensor:
        if seen.image is None:
            raise Fault(f"an image for a run of {self.config.model}", "none", "give one, or train a joint model")
        return seen.image

    def _averaged(self, q: Gaussian, decode: Callable[[Tensor], Tensor], draws: int) -> Tensor:
        """Shares at the mean of q, or their mean over samples, of the same noise for every image."""
        if draws == 0:
            return decode(q.mean).float().softmax(1)
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(draws, 1, *q.mean.shape[1:], generator=generator).to(q.mean.device)
        return torch.stack([decode(reparameterise(q, one)).float().softmax(1) for one in noise]).mean(0)

    # ------------------------------------------------------------------ scenes

    def imagine(
        self, count: int, seen: Seen, start: str = "data", step: float | None = None, seed: int = 0
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """`count` new scenes: images (b, C, S, S) in [-1, 1] and shares of the classes (b, K, S, S), in batches.

        seen: what is given of them, one mask or one set of tags (B = 1); then z is drawn from its posterior. Nothing
        given: from N(0, I) (`start` "prior") or around the scenes that were learned ("data"). step: a random walk with
        this step in (0, 1] instead of draws. Fault if the model has no latent that makes images, or none was kept.
        """
        if self.config.model not in JOINT:
            kinds = ", ".join(JOINT)
            raise Fault(f"a run of scene_vae with --model {kinds}", self.config.model, "train one: it makes images too")
        q = self._around(seen, start)
        generator = torch.Generator().manual_seed(seed)
        found = draws(q, count, generator) if step is None else walk(q, count, step, generator)
        while part := list(itertools.islice(found, SHEET)):
            made = self.scene.make(torch.stack(part).to(self.bank_mean.device))
            yield made.image.float().clamp(-1, 1), made.mask.float().softmax(1)

    def _around(self, seen: Seen, start: str) -> Gaussian:
        if any(part is not None for part in seen):
            return self.scene.infer(seen)
        if start == "prior":
            zeros = torch.zeros(1, *self.bank_mean.shape[1:])
            return Gaussian(zeros, zeros)
        if not self.bank_mean.any():
            raise Fault("a run that kept the latents of its scenes", "none", "choose --from prior, or train longer")
        return Gaussian(self.bank_mean, self.bank_log_variance)

    def embed(self, images: Tensor) -> Mapping[str, Tensor]:
        """The mean of the latent of the image alone, (B, Z g g); none for `unet`."""
        if self.config.model == "unet":
            return {}
        image = self.scene.resized(images)
        if self.config.model == "cvae":
            maps, prior = self.scene.conditioned(image)
            return {"latent": maps[-1].float().mean((2, 3)) if prior is None else prior.mean.flatten(1)}
        return {"latent": self.scene.infer(Seen(image)).mean.flatten(1)}

    def samples(self, batch: Batch) -> Mapping[str, Tensor]:
        """Photos, the most probable class at each pixel as a grey value, and what the latent makes of them."""
        probs = self.segment(batch.images)
        steps = max(1, probs.shape[1] - 1)
        rows = {"photo": batch.images, "mask": probs.argmax(1, keepdim=True).float() / steps * 2 - 1}
        if self.config.model in JOINT:
            made = self.scene.make(self.scene.infer(Seen(self.scene.resized(batch.images))).mean)
            rows["again"] = made.image.float().clamp(-1, 1)
        return rows
