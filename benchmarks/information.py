"""The mutual-information loss over displacements against the obvious loop over them, forward and backward, one process.

    python benchmarks/information.py [--size 128] [--k 24] [--reach 10] [--batch 4] [--json FILE]

The loop multiplies two shifted maps for each of the (2 T + 1)^2 displacements; both work in float32 on equal numbers,
and the script fails if losses or gradients differ by more than 1e-6. `peak` is the memory torch's allocator would need
for the forward and backward pass as the process sees it: the highest resident size above that before the pass.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from decoupe.bench.notes import tell, where_and_when
from decoupe.losses.information import displaced_information, mutual_information

Loss = Callable[[Tensor, Tensor, int], Tensor]


def loop(first: Tensor, second: Tensor, reach: int) -> Tensor:
    """The same loss, displacement after displacement."""
    height, width = first.shape[2:]
    total = first.new_zeros(())
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            one = first[:, :, max(0, -dy) : height - max(0, dy), max(0, -dx) : width - max(0, dx)]
            two = second[:, :, max(0, dy) : height + min(0, dy), max(0, dx) : width + min(0, dx)]
            joint = torch.einsum("bihw,bjhw->ij", one, two)
            joint = joint / joint.sum()
            total = total + mutual_information((joint + joint.T) / 2)
    return total / (2 * reach + 1) ** 2


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def once(loss: Loss, logits: Tensor, other: Tensor, reach: int) -> tuple[float, int, Tensor, Tensor]:
    """Seconds, peak bytes, loss and gradient of one pass."""
    x = logits.clone().requires_grad_()
    before, highest, done = resident(), 0, threading.Event()

    def watch() -> None:
        nonlocal highest
        while not done.wait(0.005):
            highest = max(highest, resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    value = loss(x.softmax(1), other.softmax(1), reach)
    value.backward()  # type: ignore[no-untyped-call]
    seconds = time.perf_counter() - start
    done.set()
    watcher.join()
    if x.grad is None:
        raise RuntimeError("no gradient")
    return seconds, max(0, highest - before), value.detach(), x.grad


def main() -> None:
    """Measure, compare, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("size", 128), ("k", 24), ("reach", 10), ("batch", 4), ("repeats", 3)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    generator = torch.Generator().manual_seed(0)
    shape = (given.batch, given.k, given.size, given.size)
    logits = 4 * torch.randn(shape, generator=generator)
    other = logits + torch.randn(shape, generator=generator)
    found: dict[str, Any] = {}
    passes: list[tuple[Tensor, Tensor]] = []
    for name, loss in (("ours", displaced_information), ("loop", loop)):
        rounds = [once(loss, logits, other, given.reach) for _ in range(given.repeats)]
        found[name] = {"seconds": round(min(r[0] for r in rounds), 4), "peak_mb": round(rounds[0][1] / 2**20)}
        passes.append(rounds[0][2:])
    (a, b), (c, d) = passes
    if not (torch.allclose(a, c, atol=1e-6) and torch.allclose(b, d, atol=1e-6)):
        raise SystemExit(f"the losses differ: {float(a)} and {float(c)}")
    result = found | {
        "faster": round(found["loop"]["seconds"] / found["ours"]["seconds"], 1),
        "setting": {name: getattr(given, name) for name in ("size", "k", "reach", "batch")},
    }
    tell(result | where_and_when(), given.json)


if __name__ == "__main__":
    main()
