"""The smallest configuration of every room that still runs all of its stages, and data to run it on."""

from __future__ import annotations

import atexit
import dataclasses
import functools
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from decoupe.engine.launch import World
from decoupe.engine.loop import Loop
from decoupe.engine.progress import Silent
from decoupe.engine.runfolder import Run
from decoupe.engine.tensors import pack_tensors
from decoupe.methods import ROOMS
from decoupe.methods.config import read_config
from decoupe.methods.room import DataSpec, Room, TrainingData

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


def build(name: str, channels: int = 3, seed: int = 0, **options: Any) -> tuple[Room, TrainingData]:
    """A room with weights from `seed`, and 40 photos."""
    if name == "student":
        options = {"teacher": teacher(channels)} | options
    config = ROOMS[name].complete(read_config(ROOMS[name].config(), TINY[name] | options, "the test"))
    size = int(getattr(config, "size", 32))
    data = TrainingData(photos(40, channels, size), photos(16, channels, size, seed=9) // 2, DataSpec(channels, size))
    torch.manual_seed(seed)
    return ROOMS[name].room()(config, data.spec), data


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
