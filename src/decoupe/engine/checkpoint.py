"""One state: networks, averages, optimisers, random generator and counters, as one safetensors file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from decoupe.engine.ema import Average
from decoupe.engine.runfolder import Run
from decoupe.engine.tensors import load_tensors, save_tensors
from decoupe.errors import Fault
from decoupe.methods.room import Room


@dataclass
class Counters:
    """Where a run stands. Schedules count images, never epochs."""

    stage: int = 0
    step: int = 0
    """Steps done in this stage."""
    images: int = 0
    """Images seen since the start, over all processes."""
    stage_images: int = 0
    seconds: float = 0.0
    """Wall-clock seconds spent, earlier sessions included."""
    stage_seconds: float = 0.0
    checks: int = 0
    """Checks done in this stage."""
    seed: int = 0
    """The seed in force: the run's own, or a new one after a restart."""
    restarts: list[dict[str, Any]] = field(default_factory=list)
    rows: int = 0
    """Rows of metrics.jsonl that belong to this state."""
    healthy: str = ""
    """The checkpoint of this stage's last healthy check."""
    finished: bool = False
    best: float | None = None
    """Label-free score of this stage's last check that rose (by more than its standard error)."""
    waited: int = 0
    """Checks of this stage in a row since then."""


Optimisers = Sequence[tuple[str, torch.optim.Optimizer]]


def _pack_optimisers(optimisers: Optimisers) -> tuple[dict[str, Tensor], dict[str, Any]]:
    tensors: dict[str, Tensor] = {}
    groups: dict[str, Any] = {}
    for name, optimiser in optimisers:
        state = optimiser.state_dict()
        groups[name] = state["param_groups"]
        for index, entry in state["state"].items():
            for key, value in entry.items():
                tensors[f"optimiser/{name}/{index}/{key}"] = torch.as_tensor(value)
    return tensors, groups


def _unpack_optimisers(optimisers: Optimisers, tensors: Mapping[str, Tensor], groups: Mapping[str, Any]) -> None:
    for name, optimiser in optimisers:
        state: dict[int, dict[str, Tensor]] = {}
        for key, tensor in tensors.items():
            if key.startswith(f"optimiser/{name}/"):
                index, field_name = key.split("/")[2:]
                state.setdefault(int(index), {})[field_name] = tensor
        optimiser.load_state_dict({"state": state, "param_groups": groups[name]})
        for parameter, entry in optimiser.state.items():
            for field_name, tensor in entry.items():
                if tensor.shape == parameter.shape and tensor.dim() == 4:  # keep the parameter's memory format
                    entry[field_name] = torch.empty_like(parameter, requires_grad=False).copy_(tensor)


def name_of(counters: Counters) -> str:
    """The file a state with these counters is kept in; names sort by images, then stage."""
    entry = "-entry" if counters.step == 0 else ""
    return f"checkpoints/{counters.images:09d}-{counters.stage}{entry}/state.safetensors"


def save(
    run: Run, room: Room, average: Average, optimisers: Optimisers, counters: Counters, keep: int = 2, **commit: Any
) -> str:
    """Write checkpoints/<images>-<stage>/state.safetensors, commit it in run.json, drop older ones; returns its name.

    The newest `keep` checkpoints stay, the one at the start of the current stage, and the last healthy one.
    """
    tensors, groups = _pack_optimisers(optimisers)
    tensors |= {f"room/{key}": tensor for key, tensor in room.state_dict().items()}
    tensors |= {f"average/{key}": tensor for key, tensor in average.state().items()}
    tensors["rng"] = torch.get_rng_state()
    about = {"counters": asdict(counters), "optimisers": groups, "average_steps": average.steps}
    name = name_of(counters)
    run.info["files"][name] = save_tensors(run.path / name, tensors, about)
    run.commit(checkpoint=name, **commit)
    listed = sorted(n for n in run.info["files"] if n.startswith("checkpoints/"))
    kept = {name, counters.healthy}
    old = [n for n in listed[:-keep] if n not in kept and not n.endswith(f"-{counters.stage}-entry/state.safetensors")]
    if old:
        run.forget(old)
    return name


def load(path: Path, room: Room) -> tuple[Counters, dict[str, Tensor], dict[str, Any]]:
    """Restore the room's networks and the random generator; returns counters, all tensors, and the description."""
    tensors, about = load_tensors(path)
    try:
        counters = Counters(**about["counters"])
        room.load_state_dict({k[5:]: t for k, t in tensors.items() if k.startswith("room/")})
        torch.set_rng_state(tensors["rng"])
    except (KeyError, TypeError, RuntimeError) as error:
        reason = re.sub(r"\s+", " ", str(error))[:200]
        raise Fault(f"a checkpoint of this room and version at {path.parent}", reason, "start a new --run") from error
    return counters, tensors, about


def restore(optimisers: Optimisers, average: Average, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """The second half of `load`, once the stage's optimisers and averages exist."""
    _unpack_optimisers(optimisers, tensors, about["optimisers"])
    average.load({k[8:]: t for k, t in tensors.items() if k.startswith("average/")}, int(about["average_steps"]))
