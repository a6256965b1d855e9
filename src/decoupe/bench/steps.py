"""The training step of a room: the loop of `fit` itself on built-in photos, timed and then profiled.

The bound of a step is what its networks compute: the share that operators within their forward passes, and the
derivatives of these, have in the time of the steps. Conversions and copies that no kernel asks for do not count, nor
does anything outside the networks: optimisers, random numbers, changes of photos, losses, and Python.
"""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function

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

PHOTOS, SIDE = 32, 64
"""Photos, and their side in pixels: a room that wants larger ones enlarges them, which changes nothing in its step."""
KERNELS = re.compile(
    r"^(aten|mkldnn|cudnn|c10d)::.*(conv|mm|linear|matmul|norm|pool|upsample|interpolate|grid_sampler|relu|threshold|"
    r"elu|sigmoid|tanh|softmax|softplus|attention|pad)|^_Normalise(Backward)?$"
)
"""Operators whose own copies count with them; the last is `nn.instance`."""
COPIES = frozenset(
    {"aten::to", "aten::_to_copy", "aten::copy_", "aten::contiguous", "aten::clone"}
    | {"ToCopyBackward0", "CloneBackward0"}
)
"""Operators that compute nothing."""
MARK = "decoupe: network"
ENGINE = "autograd::engine::evaluate_function"


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
        with marked(self.room), profile(activities=kinds) as found:
            start = time.perf_counter()
            self._steps(stage, self.rounds)
            whole = 1e6 * (time.perf_counter() - start)
        own = "self_device_time_total" if cuda else "self_cpu_time_total"
        spent = {event.key: float(getattr(event, own)) for event in found.key_averages()}
        network = sum(float(getattr(event, own)) for event in of_networks(found.events() or ()))
        most = sorted(spent, key=lambda name: -spent[name])[:8]
        return min(1.0, network / whole), {name: round(spent[name] / whole, 3) for name in most}


@contextmanager
def marked(room: nn.Module) -> Iterator[None]:
    """Inside, the forward passes of all modules in `room` are ranges `MARK` of a profile, the outermost alone."""
    depth, open_range = 0, record_function(MARK)

    def enter(*_: Any) -> None:
        nonlocal depth, open_range
        depth += 1
        if depth == 1:
            open_range = record_function(MARK)
            open_range.__enter__()  # type: ignore[no-untyped-call]

    def leave(*_: Any) -> None:
        nonlocal depth
        depth -= 1
        if not depth:
            open_range.__exit__(None, None, None)

    inner = [module for module in room.modules() if module is not room]
    hooks = [module.register_forward_pre_hook(enter) for module in inner]
    hooks += [module.register_forward_hook(leave, always_call=True) for module in inner]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def of_networks(events: Iterable[Any]) -> list[Any]:
    """The profiled events of `marked` forward passes and of their derivatives, without copies that no kernel made.

    A derivative has the sequence number of the operator that it belongs to: the last one that began with that number,
    since operators that need no derivative show the number of the next one that does.
    """
    ordered = sorted(events, key=lambda event: float(event.time_range.start))
    chains = [_chain(event) for event in ordered]
    made = {event.sequence_nr: chain for event, chain in zip(ordered, chains, strict=True) if _forward(event, chain)}
    found = []
    for event, chain in zip(ordered, chains, strict=True):
        place = next((i for i, one in enumerate(chain) if one.name.startswith(ENGINE)), None)
        origin = chain if place is None else made.get(chain[place].sequence_nr, [])
        if not any(one.name == MARK for one in origin) or event.name == MARK:
            continue
        names = [one.name for one in (chain if place is None else chain[:place])]
        if any(KERNELS.search(name) for name in names) or COPIES.isdisjoint(names):
            found.append(event)
    return found


def _chain(event: Any) -> list[Any]:
    """An event, what called it, and so on."""
    found = []
    while event is not None:
        found.append(event)
        event = event.cpu_parent
    return found


def _forward(event: Any, chain: Sequence[Any]) -> bool:
    return event.sequence_nr >= 0 and not any(one.name.startswith(ENGINE) for one in chain)


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
    write(photos, "objects", PHOTOS, size=SIDE, seed=0)
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
