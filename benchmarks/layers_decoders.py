"""The K + 1 decoders of the room `layer_disposal` side by side against one after the other: equal results, and time.

Forward and backward of all decoders on one batch of codes, as in a training step. Seconds are those of the process, so
that what else runs on the machine counts little.

    python benchmarks/layers_decoders.py [--size 64] [--widths 16,32] [--batch 32] [--repeats 5] [--json FILE]
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from decoupe.bench.notes import tell
from decoupe.methods.layer_disposal.networks import Decoders, Shape

K, Z, CHANNELS = 5, 64, 4


def seconds(ways: Sequence[Callable[[], Tensor]], bf16: bool, repeats: int, device: torch.device) -> list[float]:
    """Median over `repeats` of forward and backward of each way, taken in turns."""
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    found: list[list[float]] = [[] for _ in ways]
    for _ in range(repeats + 1):
        for one, times in zip(ways, found, strict=True):
            start = clock()
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                made = one()
            made.backward(torch.ones_like(made))
            if device.type == "cuda":
                torch.cuda.synchronize()
            times.append(clock() - start)
    return [statistics.median(times[1:]) for times in found]


def measure(size: int, width: int, batch: int, repeats: int, device: torch.device) -> dict[str, Any]:
    """Times and the largest difference of the two ways, in fp32 and in bf16."""
    torch.manual_seed(0)
    decoders = Decoders(Shape(Z, width, CHANNELS, size), K + 1)
    alone = torch.nn.ModuleList(decoders.alone(i) for i in range(K + 1))
    for networks in (decoders, alone):
        networks.to(device).to(memory_format=torch.channels_last)
    codes = (torch.rand(batch, Z, size // 16, size // 16) * 2 - 1).to(device)

    def loop() -> Tensor:
        return torch.cat([one(codes) for one in alone], 1)

    with torch.no_grad():
        difference = float((decoders.side_by_side(codes) - loop()).abs().max())
    result: dict[str, Any] = {"width": width, "difference_fp32": difference}
    ways = (lambda: decoders.side_by_side(codes), loop, lambda: decoders(codes))
    for name, bf16 in (("fp32", False), ("bf16", True)):
        batched, looped, used = seconds(ways, bf16, repeats, device)
        result[name] = {"side_by_side_s": batched, "loop_s": looped, "as_run_s": used, "times_faster": looped / used}
    return result


def main() -> None:
    """Measure and print; `--json` keeps the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--widths", default="16,32")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rows = [measure(given.size, int(w), given.batch, given.repeats, device) for w in given.widths.split(",")]
    about = {
        "date": date.today().isoformat(), "threads": torch.get_num_threads(), "machine": platform.machine(),
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu", "size": given.size,
        "batch": given.batch, "decoders": K + 1,
    }  # fmt: skip
    tell({"rows": rows} | about, given.json, indent=2)


if __name__ == "__main__":
    main()
