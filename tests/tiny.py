"""The smallest configuration of every room that still runs all of its stages, and data to run it on."""

from __future__ import annotations

import atexit
import dataclasses
import functools
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy import ndimage

from decoupe.data.sources import find
from decoupe.engine.launch import World
from decoupe.engine.loop import Loop
from decoupe.engine.progress import Silent
from decoupe.engine.runfolder import Run
from decoupe.engine.tensors import pack_tensors
from decoupe.methods import ROOMS
from decoupe.methods.config import read_config
from decoupe.methods.room import Batch, DataSpec, Room, TrainingData


@dataclasses.dataclass(frozen=True)
class Step:
    """What one step of a phase did."""

    phase: str
    loss: torch.Tensor
    logged: dict[str, torch.Tensor]
    changed: dict[str, bool]
    """Parameters that changed, and whether the phase trains them."""


TINY: dict[str, dict[str, Any]] = {
    "independence": {
        "size": 32,
        "batch": 8,
        "members": 2,
        "member_images": 48,
        "student_images": 64,
        "width": 8,
        "discriminator_width": 8,
        "teacher_depth": 3,
        "student_depth": 3,
        "rounds": 2,
    },
    "layer_disposal": {
        "size": 32,
        "k": 3,
        "batch": 8,
        "train_images": 160,
        "z": 8,
        "width": 4,
        "encoder_width": 4,
        "discriminator_width": 8,
        "checks": 4,
        "learn_keep": True,
        "unique_weight": 1.0,
        "move": 0.1,
        "binary_weight": 0.5,
        "area": 0.3,
        "r1": 1.0,
        "r1_every": 2,
        "augment": True,
        "anneal": 0.5,
    },
    "redraw": {
        "size": 32,
        "batch": 8,
        "train_images": 160,
        "z": 4,
        "redraw_size": 16,
        "mask_width": 4,
        "generator_width": 4,
        "discriminator_width": 8,
        "checks": 4,
        "regulariser": "concrete",
        "regulariser_images": 80,
    },
    "autoregressive": {
        "size": 32,
        "batch": 8,
        "train_images": 96,
        "k": "auto",
        "stride": 2,
        "width": 8,
        "blocks": 2,
        "attention": 1,
        "attention_heads": 2,
        "orderings": "both",
        "dropout": 0.1,
        "over_k": 6,
        "jitter": 0.1,
        "flip": True,
        "rotation": 20.0,
    },
    "iic": {"size": 32, "batch": 8, "train_images": 144, "width": 4, "over_k": 6, "k": 2},
    "student": {"size": 32, "batch": 8, "width": 4, "depth": 3, "rounds": 2, "round_images": 96},
    "tags": {
        "size": 32,
        "batch": 8,
        "classifier_images": 96,
        "classifier_size": 32,
        "width": 8,
        "sec_images": 32,
        "round_images": 16,
    },
    "scene_vae": {
        "size": 32,
        "batch": 8,
        "train_images": 144,
        "width": 4,
        "latent": 4,
        "hidden": 16,
        "checks": 2,
        "diagnose": 5,
    },
    "baselines": {"size": 32},
}


def photos(n: int, channels: int = 3, size: int = 32, seed: int = 0) -> np.ndarray:
    """(n, C, S, S) uint8: a bright noisy disc at a random place on dark noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    images = rng.normal(80, 25, (n, channels, size, size))
    for image in images:
        cy, cx, r = rng.uniform(0.4, 0.6), rng.uniform(0.4, 0.6), rng.uniform(0.22, 0.32)
        image += 90 * ((y - cy) ** 2 + (x - cx) ** 2 < r * r)
    return images.clip(0, 255).astype(np.uint8)


@functools.cache
def teacher(channels: int = 3, k: int = 3) -> str:
    """A finished run for the room `student` to learn from: k-means of the pixels of `photos`, kept until the end."""
    folder = Path(tempfile.mkdtemp(prefix="decoupe-teacher-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    room, data = build("baselines", channels, kind="kmeans-1x1", k=k)
    room.prepare(data)
    run = Run.create(folder / f"kmeans-{k}", "baselines")
    run.commit(config=dataclasses.asdict(room.config), spec=dataclasses.asdict(room.spec), status="done")
    run.write_bytes("weights.safetensors", pack_tensors(room.state_dict()))
    run.set_names(room.regions)
    return str(run.path)


class Listed:
    """Images with the items that a cache keeps beside them."""

    def __init__(self, images: np.ndarray, folder: Path) -> None:
        self._images = images
        self.items = find(folder / "images")

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: Any) -> Any:
        return self._images[index]


@functools.cache
def masked(channels: int = 3, size: int = 32, count: int = 40) -> str:
    """A folder of `count` photos and the masks of every second one, kept until the end: layout `masks`."""
    folder = Path(tempfile.mkdtemp(prefix="decoupe-masks-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name in ("images", "masks"):
        (folder / name).mkdir()
    for number, image in enumerate(photos(count, channels, size)):
        np.save(folder / "images" / f"{number:03d}.npy", np.ascontiguousarray(image.transpose(1, 2, 0)))
        if number % 2 == 0:
            mask = ndimage.uniform_filter(image.mean(0), 5) > 125
            Image.fromarray(mask.astype(np.uint8)).save(folder / "masks" / f"{number:03d}.png")
    return str(folder)


def build(name: str, channels: int = 3, seed: int = 0, **options: Any) -> tuple[Room, TrainingData]:
    """A room with weights from `seed`, and 40 photos."""
    if name == "student":
        options = {"teacher": teacher(channels)} | options
    if name == "scene_vae":
        options = {"masks": f"{masked(channels, int(options.get('size', 32)))}/masks"} | options
    config = ROOMS[name].complete(read_config(ROOMS[name].config(), TINY[name] | options, "the test"))
    size = int(getattr(config, "size", 32))
    images: Any = photos(40, channels, size)
    if name == "scene_vae":
        images = Listed(images, Path(masked(channels, size)))
    data = TrainingData(images, photos(16, channels, size, seed=9) // 2, DataSpec(channels, size))
    if ROOMS[name].wants_tags:  # as if half of the discs were called bright, and a third round
        tags = np.stack([np.arange(40) % 2, np.arange(40) % 3 == 0], 1).astype(np.uint8)
        data = dataclasses.replace(data, spec=DataSpec(channels, size, ("bright", "round")), tags=tags)
    torch.manual_seed(seed)
    return ROOMS[name].room()(config, data.spec), data


def steps(room: Room, data: TrainingData, batch: Callable[[int], Batch]) -> Iterator[Step]:
    """One step of every phase of every stage, on `batch(stage)`."""
    for index in range(len(room.stages())):
        room.enter(index, data, True)
        room.train()
        for phase in room.stages()[index].phases:
            optimiser = phase.optimiser()
            room.requires_grad_(False)
            for module in phase.trained():
                module.requires_grad_(True)
            own = {id(p) for module in phase.trained() for p in module.parameters()}
            before = {key: p.detach().clone() for key, p in room.named_parameters()}
            loss, logged = phase(batch(index))
            loss.backward()
            optimiser.step()
            changed = {key: id(p) in own for key, p in room.named_parameters() if not torch.equal(p, before[key])}
            yield Step(phase.name, loss.detach(), logged, changed)


def stopping(part: Loop, images: int) -> Loop:
    """The loop, which gets a signal once it has seen so many images."""
    tick = part._tick

    def signalled() -> None:
        tick()
        part._signal = int(part.counters.images >= images)

    part._tick = signalled  # type: ignore[method-assign]
    return part


def loop(name: str, folder: Path, resume: bool = False, precision: str = "fp32", seed: int = 0, **options: Any) -> Loop:
    """A loop over a tiny room in `folder`, ready to `train`."""
    room, data = build(name, seed=seed, **options)
    run = Run.open(folder, verify=False) if resume else Run.create(folder, name)
    if not resume:
        run.commit(precision=precision)
    return Loop(
        room,
        data,
        run,
        Silent(),
        World(),
        batch=8,
        seed=seed,
        budget=(None, None),
        started=time.monotonic(),
        device=torch.device("cpu"),
    )
