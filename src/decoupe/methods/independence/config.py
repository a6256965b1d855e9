"""Settings of the room `independence` and its presets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from decoupe.methods.config import in_range
from decoupe.methods.independence.cluster.settings import ClusterSettings


@dataclass(frozen=True)
class Config(ClusterSettings):
    """Independence prior: an object's mask is right when the object can be pasted anywhere and still looks real."""

    task: Literal["foreground", "cluster"] = "foreground"
    """foreground: one object per photo (or per box). cluster: many alike things in ONE image, found and counted."""
    size: int = 64
    """Side of the square images that the student network sees, in pixels (32 to 512)."""
    batch: int | None = None
    """Images per step, over all processes; None = 32, and 16 for task cluster."""

    members: int = 3
    """Adversarial runs from different seeds whose masks are averaged; 1 is the paper's single run."""
    member_images: int = 9_600
    """Images each adversarial run sees; it is stopped there because such training drifts when it goes on."""
    teacher_size: int | None = 32
    """Side in pixels at which the adversarial runs work; None = `size`."""
    width: int = 32
    """Channels of the mask networks' first level (the paper: 64)."""
    teacher_depth: int = 4
    """Halvings of resolution in the adversarial mask network (the paper: 6)."""
    coarse: int = 4
    """The teachers' masks vary on a grid of this many pixels (1 = every pixel); students see every pixel."""
    norm: Literal["batch", "group"] = "batch"
    """Normalisation of the mask networks; batch statistics are those of the global batch."""
    deconvolution: bool = False
    """Enlarge by transposed convolutions as the paper does; bilinear otherwise, which leaves no checkerboards."""
    discriminator_width: int = 64
    """Channels of the discriminator's first layer."""
    pools: tuple[int, ...] = (2,)
    """The discriminator sees the teacher's composites averaged over p x p pixels, one network for each p."""

    adversarial: Literal["hinge", "nonsaturating", "paper"] = "hinge"
    """Form of Eq. 6 and 7; `paper` is the printed one (D = P(fake), saturating)."""
    area: float = 0.25
    """Target share of the image that the object covers (a below Eq. 7)."""
    area_spread: float = 0.05
    """The members' own targets run evenly from area - area_spread to area + area_spread."""
    area_margin: float = 0.10
    """Areas of single masks within area +- margin are not punished; 0 = the printed formula."""
    area_weight: float = 50.0
    """Weight of the penalty on single masks (lambda of Eq. 7; the paper: 1000)."""
    batch_area_margin: float = 0.03
    """The mean area of a batch may differ from `area` by this much unpunished."""
    batch_area_weight: float = 0.0
    """Weight of the penalty on the mean area of a batch."""
    area_one_sided: bool = False
    """Punish only masks that are too large."""
    lr_discriminator: float = 8e-4
    """Adam's learning rate of the discriminator (the paper: 2e-4)."""
    lr_mask: float = 4e-4
    """Adam's learning rate of the mask network (as the paper's)."""
    average: float = 0.99
    """Decay of the mask networks' moving average per step (0 = none, as in the paper)."""

    zoom: float = 1.25
    """Photos and backgrounds are seen through random crops of 1/zoom to all of a side, mirrored half of the time."""
    shift: float = 0.25
    """The pasted layer is shifted by up to this share of half a side (0 = the paper's identity layout)."""
    jitter: float = 0.4
    """Colour jitter of everything the discriminator sees, real or composite."""
    translation: bool = True
    """Random shifts of everything the discriminator sees."""

    distill: bool = True
    """Train a student on carved foregrounds over random backgrounds with the teachers' masks as targets (Eq. 8)."""
    rounds: int = 4
    """Rounds of distillation: the first learns from the teachers, each later one from the student so far."""
    snap: bool = True
    """Draw the targets to the edges of their photos before a student learns them (no labels; see snapping.py)."""
    target_images: int = 4096
    """Photos for which targets are computed; of larger collections a random part."""
    student_images: int = 9_600
    """Images the student sees in each round by default."""
    student_depth: int = 5
    """Halvings of resolution in the student."""
    lr_student: float = 2e-3
    """Highest AdamW learning rate of the student (one cycle)."""
    recomposed: float = 0.5
    """Share of the student's images that are composites; the rest are photos as they are."""
    sharpen: float = 1.5
    """Contrast of the targets about one half: t = clip((m - 1/2) sharpen + 1/2, 0, 1)."""

    def __post_init__(self) -> None:
        in_range("size", self.size, 32, 512)
        in_range("batch", self.batch, 2, 4096)
        batch = self.batch or 2
        in_range("members", self.members, 1, 32)
        in_range("member_images", self.member_images, batch, 1e9)
        in_range("rounds", self.rounds, 1, 16)
        in_range("target_images", self.target_images, 8, 1e6)
        in_range("student_images", self.student_images, batch, 1e9)
        in_range("teacher_size", self.teacher_size, 16, self.size)
        in_range("width", self.width, 4, 256)
        in_range("discriminator_width", self.discriminator_width, 4, 256)
        in_range("coarse", self.coarse, 1, 2**self.teacher_depth)
        in_range("teacher_depth", self.teacher_depth, 2, 6)
        in_range("student_depth", self.student_depth, 2, 6)
        in_range("area", self.area, 0.05, 0.9)
        in_range("area_spread", self.area_spread, 0, min(self.area, 1 - self.area))
        in_range("zoom", self.zoom, 1, 4)
        in_range("shift", self.shift, 0, 1)
        for pool in self.pools:
            in_range("pools", pool, 1, (self.teacher_size or self.size) // 8)
        self.check_cluster()


def complete(config: Config) -> Config:
    """The settings of a new run: a batch that suits the task, where none was chosen."""
    return config if config.batch is not None else replace(config, batch=32 if config.task == "foreground" else 16)


_GAME: dict[str, Any] = {
    "adversarial": "nonsaturating", "area_spread": 0.0, "area_margin": 0.0, "area_weight": 1000.0,
    "lr_discriminator": 2e-4, "lr_mask": 4e-4, "average": 0.0,
}  # fmt: skip
"""The adversarial game as the paper plays it, in both tasks."""

_PAPER = Config(
    size=128,
    members=1,
    member_images=400_000,
    teacher_size=None,
    width=64,
    teacher_depth=6,
    coarse=1,
    deconvolution=True,
    pools=(1,),
    **_GAME,
    zoom=1.0,
    shift=0.0,
    jitter=0.0,
    translation=False,
    rounds=1,
    snap=False,
    student_images=400_000,
    student_depth=6,
    lr_student=4e-4,
    recomposed=1.0,
    sharpen=1.0,
)

_CROWD = Config(
    task="cluster",
    source="provider",
    layers=8,
    latent=6,
    area=0.1,
    pad=30,
    upright=True,
    generator_width=64,
    generator_images=640_000,
    **_GAME,
)

PRESETS: dict[str, Config] = {
    "cpu": Config(),
    "paper-birds": _PAPER,
    "paper-faces": _PAPER,
    "crowd": _CROWD,
    "fruit": replace(_CROWD, layers=10, latent=5, area=0.25, pad=32, upright=False),
    "seeds": replace(_CROWD, layers=12, latent=2, area=0.25, pad=26, upright=False),
}
"""`cpu` is the default. Of task foreground the paper's two tables of hyper-parameters are equal (Table 3), only the
data differ; `crowd`, `fruit` and `seeds` are its three of task cluster (Table 4)."""
