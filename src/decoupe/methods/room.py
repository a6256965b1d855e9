"""The contract of a room: what every method offers the engine and what the engine gives it back.

A room is one `nn.Module` that owns all of its networks. Training is a list of stages, a stage a list of phases
(G then D; head A then head B; one for a VAE), a phase an `nn.Module` whose `forward(batch)` returns its loss.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from decoupe.types import Image, Regions


@dataclass(frozen=True)
class DataSpec:
    """What a room must know of the data before it can be built (and all it needs to be rebuilt from a run)."""

    channels: int
    """Bands of the training images, >= 1."""
    size: int
    """Side of the square training images in pixels, >= 32."""
    tags: tuple[str, ...] = ()
    """Names of the tags that photos have, where there are any."""


def to_unit(images: Any, device: torch.device | str = "cpu") -> Tensor:
    """uint8 (B, C, H, W) in 0..255 -> float32 in [-1, 1], channels last."""
    tensor = torch.from_numpy(np.ascontiguousarray(images)).to(device)
    return tensor.to(torch.float32, memory_format=torch.channels_last).div_(127.5).sub_(1)


class Source(Protocol):
    """Random access to square images: `source[i]` with an index array gives uint8 (B, C, S, S)."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any) -> Any: ...


@dataclass(frozen=True)
class TrainingData:
    """What `fit` hands to a room."""

    images: Source
    """(N, C, S, S) uint8, memory-mapped; the photos or their box crops, resized to S x S."""
    backgrounds: Source
    """(M, C, S, S) uint8: patches without the object (a folder, or taken from the photos: the log says which)."""
    spec: DataSpec
    tags: NDArray[np.uint8] | None = None
    """(N, tags) 1 where a photo has the tag, for rooms that want them."""
    cues: Source | None = None
    """(N, S, S) uint8 cues that were made elsewhere: 0 background, 1 ... tags, 255 nothing known."""
    keys: Sequence[str] = ()
    """N unique, safe relative names of the photos, for rooms that write something about each; () where not needed."""


@dataclass(frozen=True)
class Taught:
    """Label maps that a stage learns from, to be kept in the run folder as pictures."""

    name: str
    """Folder in the run: small letters, and maybe a number ("targets-1")."""
    labels: Tensor
    """(M, h, w) uint8 on the CPU, of the first M training photos: labels of `regions`, 255 = nothing known."""


class Draw:
    """Random numbers of one step, the same whatever the number of processes.

    Drawn for the global batch on the CPU from one seed (of run and images seen), then sliced: rank r of R gets rows
    [r*b, (r+1)*b). So R processes of batch b see exactly what one process of batch R*b sees.
    """

    def __init__(
        self, seed: int, batch: int, rank: int = 0, ranks: int = 1, device: torch.device | str = "cpu"
    ) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self.batch, self._rank, self._ranks, self._device = batch, rank, ranks, device

    def _mine(self, rows: Tensor) -> Tensor:
        return rows[self._rank * self.batch : (self._rank + 1) * self.batch].to(self._device)

    @property
    def first(self) -> int:
        """Position of this process's first row in the global batch."""
        return self._rank * self.batch

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """(batch, *shape) float32 uniform in [low, high)."""
        return self._mine(torch.rand(self.batch * self._ranks, *shape, generator=self._generator)) * (high - low) + low

    def normal(self, *shape: int) -> Tensor:
        """(batch, *shape) float32 standard normal."""
        return self._mine(torch.randn(self.batch * self._ranks, *shape, generator=self._generator))

    def integers(self, high: int, *shape: int) -> Tensor:
        """(batch, *shape) int64 uniform in [0, high)."""
        return self._mine(torch.randint(high, (self.batch * self._ranks, *shape), generator=self._generator))

    def shared(self, high: int, *shape: int) -> Tensor:
        """`shape` int64 on the CPU, uniform in [0, high): one choice for the whole step, the same in every process."""
        return torch.randint(high, shape, generator=self._generator)


class Batch:
    """One step's input on one rank (not a dataclass: Fabric would copy those field by field)."""

    def __init__(
        self, indices: Tensor, images: Tensor, backgrounds: Tensor, draw: Draw, progress: float, seen: int = 0
    ) -> None:
        self.indices = indices
        """(B,) int64: positions of `images` in the training images."""
        self.images = images
        """(B, C, S, S) float32 in [-1, 1]."""
        self.backgrounds = backgrounds
        """(B, C, S, S) float32 in [-1, 1], drawn independently of `images`."""
        self.draw = draw
        """Every random number a phase uses comes from here."""
        self.progress = progress
        """Share of the stage done, in [0, 1)."""
        self.seen = seen
        """Images seen in the stage before this step, over all processes."""


class Phase(nn.Module, ABC):
    """One optimisation problem of a stage. Subclasses hold the networks they call and say which ones they train."""

    name: str
    every: int = 1
    """Run at every n-th step."""

    @abstractmethod
    def trained(self) -> Sequence[nn.Module]:
        """The modules whose parameters this phase changes; all others stay untouched."""

    @abstractmethod
    def optimiser(self) -> torch.optim.Optimizer:
        """A new optimiser over the parameters of `trained()`."""

    def rate(self, progress: float) -> float:
        """Factor on the learning rate at `progress` in [0, 1) of the stage. Default: constant."""
        return 1.0

    @abstractmethod
    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The scalar loss to minimise, and detached scalars to log (short names: `D`, `G`, `area`)."""


@dataclass(frozen=True)
class Stage:
    """A stretch of training with fixed phases."""

    name: str
    phases: Sequence[Phase]
    images: int
    """Images to see in this stage when nothing else limits it; also its share of `--minutes`."""
    averaged: Sequence[str] = ()
    """Names of the room's submodules whose exponential moving average is kept and used to segment."""
    decay: float = 0.995
    """Decay of that average per step (at the start a shorter memory is used: min(decay, (1+n)/(10+n)))."""
    candidate: bool = True
    """Whether snapshots of this stage are scored and may become the selected one (others only show what was gained)."""
    fixed: bool = False
    """Never longer than `images`, however large the budget: what is left over goes to later stages."""
    checks: int = 8
    """Checks (health, label-free score, sample grid, checkpoint) during the stage, evenly spread."""
    watched_from: float = 0.3
    """Share of the stage after which collapse of what `segment` gives restarts it (before, networks are still raw)."""
    patience: int | None = None
    """End the stage when the label-free score has not risen by more than its standard error for that many checks.

    Counted from `watched_from` on: the score of raw networks says nothing. None: never. Needs `candidate`.
    """
    settles: float = 0.0
    """Share of the stage after which its snapshots are settled; the selected one is a settled one if any is healthy.

    For stages whose learning rates fall to zero: what is on the way there is noisier, and not to be compared with it.
    """
    spare: bool = False
    """Whether its healthy end stands in for the stages after it if those end badly (`selection.stand_in`)."""


class Room(nn.Module, ABC):
    """A method. `methods/<room>/room.py` defines one subclass; `methods/__init__.py` lists them all."""

    NAME: ClassVar[str]
    REGIONS: ClassVar[tuple[str, ...]] = ()
    NEEDS_ALL: ClassVar[bool] = False
    """Whether a region that no image uses is a collapse (it is not where regions are clusters to choose from)."""

    DOUBTFUL: ClassVar[tuple[float, str] | None] = (0.8, "the masks change with a mere mirroring of the photo")
    """Mean `score` below which a run is looked at with suspicion, and why; None where it compares snapshots only."""

    REACH: ClassVar[float] = 1.0
    """Standard errors of the best `score` within which the latest snapshot is taken."""

    WHOLE: ClassVar[bool] = False
    """Whether it sees a photo at its own size, by `look`, instead of a square of it."""

    @classmethod
    def of(cls, config: Any) -> type[Room]:
        """The class for these settings; rooms with tasks that share nothing have one class for each."""
        return cls

    def __init__(self, config: Any, spec: DataSpec) -> None:
        super().__init__()
        self.config, self.spec = config, spec

    @property
    @abstractmethod
    def regions(self) -> tuple[str, ...]:
        """K names, background first where the method knows it ("background", "object", "region 2", ...)."""

    @property
    def crf(self) -> str | None:
        """Preset of the dense CRF that is the method's own last step over a whole photo; None: it has none."""
        return None

    def prepare(self, data: TrainingData) -> None:
        """Closed-form fitting before the first stage of a fresh run (k-means, averages). Default: nothing."""

    def stages(self) -> Sequence[Stage]:
        """The stages in order; an empty list for methods fitted by `prepare` alone."""
        return ()

    def enter(self, stage: int, data: TrainingData, fresh: bool) -> None:
        """Called before a stage trains: `fresh` when it begins, not `fresh` when it is resumed in its middle.

        What is no part of the state (targets computed by a teacher) is rebuilt in both cases, from the state alone.
        """

    def taught(self) -> Taught | None:
        """What the stage that was just entered learns from, where these are label maps. Default: nothing is kept."""
        return None

    @abstractmethod
    def segment(self, images: Tensor) -> Tensor:
        """(B, C, H, W) float32 in [-1, 1] -> (B, K, H, W) float32 summing to 1 over K. Any H, W >= 32."""

    def look(self, image: Image) -> Regions:
        """The regions, and instances, of a whole photo, (H, W, C) uint8, at its own size. Only where WHOLE."""
        raise NotImplementedError(type(self).__name__)

    def count(self, image: Image) -> Any:
        """The number of single things in a whole photo, and how sure it is (`count`, `spread`, `views`, `areas`).

        Only where WHOLE.
        """
        raise NotImplementedError(type(self).__name__)

    def infer_masks(self, images: Tensor, tags: Tensor | None) -> Tensor:
        """`segment` for rooms that observe tags too: (B, K) of 0, 1 or NaN = not known. Default: they do not."""
        return self.segment(images)

    @property
    def inference(self) -> tuple[str, ...]:
        """State-dict prefixes that `segment` needs; only these are stored in weights.safetensors. Default: all."""
        return ("",)

    @property
    def kept(self) -> tuple[str, ...]:
        """State-dict prefixes that `embed` needs beside `inference`; stored too, as they are when training ends."""
        return ()

    def embed(self, images: Tensor) -> Mapping[str, Tensor]:
        """(B, C, H, W) float32 in [-1, 1] -> (B, D) float32 of each kind of embedding, by name. Default: none."""
        return {}

    def score(self, images: Tensor) -> Tensor:
        """(B,): label-free quality of each image in [0, 1], used for selection. Default: agreement under flips."""
        from decoupe.engine.selection import flip_agreement

        return flip_agreement(self.segment, images)

    def steps(self, images: Tensor, taught: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """(B, C, H, W) in [-1, 1] -> label maps (B, h, w) on the way to the masks, by name, for the report.

        `taught`: what was kept of these photos when they were learned from, by folder, (B, h, w) each. Labels are those
        of `regions`, 255 where a step says nothing. Default: none.
        """
        return {}

    def samples(self, batch: Batch) -> Mapping[str, Tensor]:
        """Named rows of images (n, C, H, W) in [-1, 1] for samples/*.png. Default: photos and their masks."""
        probs = self.segment(batch.images)
        return {"photo": batch.images, "mask": probs[:, 1:2] * 2 - 1}
