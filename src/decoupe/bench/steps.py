"""The training step of a room: the loop of `fit` itself on built-in photos, timed and then profiled.

The bound of a step is what its networks compute: the share that their kernels (convolutions, matrix products, their
normalisation, pooling, activation, resizing, and the derivatives of these) have in the time of the steps. The rest
is optimisers, random numbers, losses, conversions, and Python.
"""

from __future__ import annotations

import dataclasses
import re
import time
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from decoupe.data import prepare
from decoupe.data.synthetic import write
from decoupe.engine.launch import World
from decoupe.engine.loop import Loop
from decoupe.engine.progress import Silent
from decoupe.engine.runfolder import Run
from decoupe.engine.schedule import Plan
from decoupe.errors import Interrupted, UsageFault
from decoupe.methods import ROOMS
from decoupe.methods.config import read_config
from decoupe.methods.room import Stage
from decoupe.model import build_room

PHOTOS = 64
KERNELS = re.compile(
    r"^(aten|mkldnn|cudnn|c10d)::.*(conv|mm|linear|matmul|norm|pool|upsample|interpolate|grid_sampler|relu|threshold|"
    r"elu|sigmoid|tanh|softmax|softplus|attention|pad)|^_Normalise(Backward)?$"
)
"""Names of operators that count, with all that they call, as a network's own; the last is `nn.instance`."""


class Timed(Loop):
    """The loop of `fit`, kept from looking and writing: a stage is a few steps, first timed and then profiled."""

    rows: list[dict[str, Any]]
    rounds: int
    seen: set[tuple[str, ...]]

    def _check(self, stage: Stage, target: Plan) -> None:
        """No checks."""

    def _save(self, optimisers: Any) -> None:
        """No checkpoints."""

    def _train(self, stage: Stage, target: Plan) -> None:
        """Three steps to warm up, `rounds` timed ones, `rounds` profiled ones; a stage like one before has none."""
        kind = re.sub(r"\d+", "", stage.name), *(type(phase).__name__ for phase in stage.phases)
        if kind in self.seen:
            return
        self.seen.add(kind)
        self._steps(stage, 3)
        seconds = []
        for _ in range(self.rounds):
            start = time.perf_counter()
            self._steps(stage, 1)
            seconds.append(time.perf_counter() - start)
        share, top = self._profiled(stage)
        median = sorted(seconds)[len(seconds) // 2]
        self.rows.append(
            {
                "what": f"{self.room.NAME} {stage.name}", "ms": round(1000 * median, 2), "batch": self.batch,
                "images_per_s": round(self.batch / median, 1), "network_share": round(share, 3), "kernels": top,
                "precision": self.run.info.get("precision"), "peak_mb": peak(self.device),
            }
        )  # fmt: skip

    def _steps(self, stage: Stage, count: int) -> None:
        """`count` real steps, wherever in the stage they fall."""
        self.counters.stage_images = 0
        super()._train(stage, Plan(count * self.batch, None, 1))
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def _profiled(self, stage: Stage) -> tuple[float, dict[str, float]]:
        """Share of the networks' kernels in the time of the steps, and the operators that take most of it."""
        cuda = self.device.type == "cuda"
        kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
        with profile(activities=kinds) as found:
            start = time.perf_counter()
            self._steps(stage, self.rounds)
            whole = 1e6 * (time.perf_counter() - start)
        own = "self_device_time_total" if cuda else "self_cpu_time_total"
        spent = {event.key: float(getattr(event, own)) for event in found.key_averages()}
        network = sum(float(getattr(event, own)) for event in found.events() or () if of_network(event))
        most = sorted(spent, key=lambda name: -spent[name])[:8]
        return min(1.0, network / whole), {name: round(spent[name] / whole, 3) for name in most}


def of_network(event: Any) -> bool:
    """Whether a profiled event is one of `KERNELS`, or was called by one."""
    while event is not None:
        if KERNELS.search(event.name):
            return True
        event = event.cpu_parent
    return False


def peak(device: torch.device) -> float:
    """Largest memory so far in MB: of the GPU's allocator, or of this process."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated() / 2**20, 1)
    import resource

    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10, 1)


def room(name: str, folder: Path, rounds: int, preset: str | None = None) -> list[dict[str, Any]]:
    """One row per kind of stage of the room. UsageFault on an unknown preset, Fault where built-in photos do not do."""
    entry, presets = ROOMS[name], ROOMS[name].presets()
    if preset is not None and preset not in presets:
        raise UsageFault(f"a preset of {name} ({', '.join(presets) or 'none'})", repr(preset), "choose one of these")
    given = dataclasses.asdict(presets[preset] if preset is not None else entry.config()())
    size = int(given.get("size", 64))
    photos = folder / "photos"
    write(photos, "objects", PHOTOS, size=max(64, size), seed=0)
    config = entry.complete(read_config(entry.config(), given | _more(name, photos, folder, size), "the settings"))
    settings: dict[str, Any] = {"images": str(photos / "images"), "seed": 0}
    settings |= dict.fromkeys(("boxes", "backgrounds", "split", "max_pixels", "tags"))
    if entry.wants_tags:
        settings["tags"] = str(photos / "tags.csv")
    data = prepare.training_data(settings, config, Silent(), entry.wants_backgrounds, entry.wants_tags).training
    run = Run.create(folder / "run", name)
    about = {"config": dataclasses.asdict(config), "spec": dataclasses.asdict(data.spec)}
    run.commit(**about)
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    loop = Timed(
        build_room(name, about["config"], about["spec"], "the benchmark"), data, run, Silent(), World(),
        batch=int(getattr(config, "batch", 1)), seed=0, budget=(None, None), started=time.monotonic(), device=device,
    )  # fmt: skip
    loop.rows, loop.rounds, loop.seen = [], rounds, set()
    try:
        loop.train(resume=False)
    except Interrupted:  # there is nothing to resume
        raise KeyboardInterrupt from None
    return loop.rows or [{"what": name, "left_out": "fitted in closed form, not by steps"}]


def _more(name: str, photos: Path, folder: Path, size: int) -> dict[str, Any]:
    """What a room needs beside photos: a teacher, some masks."""
    if name == "student":
        from decoupe.fit import fit

        run = fit("baselines", str(photos / "images"), run=folder / "teacher", size=size, kind="kmeans-lab").run
        return {"teacher": str(run.path)}
    return {"masks": str(photos / "masks")} if name == "scene_vae" else {}
