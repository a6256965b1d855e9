"""bf16 or fp32: chosen by a short measurement on the room's own step, and said."""

from __future__ import annotations

import copy
import time

import torch

from decoupe.methods.room import Batch, Room

TRIALS = 3


def _seconds(room: Room, batch: Batch, bf16: bool, device: torch.device) -> float:
    phase = room.stages()[0].phases[0]
    best = float("inf")
    for _ in range(TRIALS):
        start = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            loss, _ = phase(batch)
        loss.backward()
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
        room.zero_grad(set_to_none=True)
    return best


def measure(room: Room, batch: Batch, device: torch.device) -> tuple[str, str]:
    """("bf16" or "fp32", a few words on why). The room is left exactly as it was found."""
    before, rng = copy.deepcopy(room.state_dict()), torch.get_rng_state()
    fp32, bf16 = _seconds(room, batch, False, device), _seconds(room, batch, True, device)
    room.load_state_dict(before)
    torch.set_rng_state(rng)
    if bf16 < 0.95 * fp32:
        return "bf16", f"bf16 (measured {fp32 / bf16:.1f}x over fp32)"
    return "fp32", f"fp32 (bf16 measured {fp32 / bf16:.1f}x)"
