"""A step of autoregressive clustering with shifted 3x3 kernels against the same step with naively masked full kernels.

    python benchmarks/masked_conv.py [--size 128] [--width 32] [--batch 4] [--repeats 3] [--json FILE]

The naive form neither shifts nor crops: a kernel of (2 k - 1)^2 weights around the pixel, all but the k^2 (or fewer)
that the ordering allows set to zero. Both hold equal weights and the script fails if losses or gradients differ by more
than 1e-4 of their size. Each repeat is a forward and a backward pass with every one of the eight raster orderings.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from decoupe.bench.notes import tell, where_and_when
from decoupe.losses.information import displaced_information
from decoupe.methods.autoregressive.config import Config
from decoupe.methods.autoregressive.room import AutoregressiveRoom
from decoupe.methods.room import DataSpec
from decoupe.nn.masked_conv import RASTER, MaskedConv2d, Ordering

Forward = Callable[[MaskedConv2d, Tensor, Ordering | None], Tensor]


def naive(conv: MaskedConv2d, input: Tensor, ordering: Ordering | None = None) -> Tensor:
    """The same convolution by a full kernel around the pixel, most of it masked."""
    kernel = conv.kernel_size[0]
    if ordering is None:
        return F.conv2d(input, conv.weight, conv.bias, padding=conv.padding)
    left, _, top, _ = ordering.padding(kernel)
    wide = 2 * kernel - 1
    y, x = kernel - 1 - top, kernel - 1 - left
    full = conv.weight.new_zeros(*conv.weight.shape[:2], wide, wide)
    full[:, :, y : y + kernel, x : x + kernel] = conv.weight
    mask = torch.zeros(wide, wide, device=input.device)
    mask[y : y + kernel, x : x + kernel] = ordering.mask(kernel)
    return F.conv2d(input, full * mask, conv.bias, padding=kernel - 1)


def once(room: AutoregressiveRoom, images: Tensor, forward: Forward) -> tuple[float, list[Tensor]]:
    """Seconds of a pass with every ordering and its opposite, and the loss and the gradients of all of it."""
    before = MaskedConv2d.forward
    MaskedConv2d.forward = forward  # type: ignore[method-assign,assignment]
    room.zero_grad()
    total = torch.zeros(())
    start = time.perf_counter()
    for ordering in RASTER:
        views = [room.trunk(images, one) for one in (ordering, ordering.reflected())]
        first, second = (room.head("main")(view).softmax(1) for view in views)
        loss = -displaced_information(first, second, room.config.reach)
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
    seconds = time.perf_counter() - start
    MaskedConv2d.forward = before  # type: ignore[method-assign]
    return seconds, [total, *(p.grad.clone() for p in room.trunk.parameters() if p.grad is not None)]


def main() -> None:
    """Measure, compare, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("size", 128), ("width", 32), ("batch", 4), ("repeats", 3)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.manual_seed(0)
    config = Config(size=given.size, width=given.width, over_k=0, norm="pixel", batch=given.batch)
    room = AutoregressiveRoom(config, DataSpec(3, given.size))
    images = torch.rand(given.batch, 3, given.size, given.size) * 2 - 1
    forms: dict[str, Forward] = {"ours": MaskedConv2d.forward, "naive": naive}
    rounds = [{name: once(room, images, form) for name, form in forms.items()} for _ in range(given.repeats)]
    for ours, other in zip(rounds[0]["ours"][1], rounds[0]["naive"][1], strict=True):
        if not torch.allclose(ours, other, atol=1e-4 * float(ours.abs().max() + 1e-3)):
            raise SystemExit(f"the forms differ by {float((ours - other).abs().max()):g}")
    seconds = {name: min(one[name][0] for one in rounds) / len(RASTER) for name in forms}
    result: dict[str, Any] = {name: {"seconds_per_step": round(value, 4)} for name, value in seconds.items()} | {
        "faster": round(seconds["naive"] / seconds["ours"], 2),
        "setting": {name: getattr(given, name) for name in ("size", "width", "batch")} | {"blocks": config.blocks},
    }
    tell(result | where_and_when(), given.json)


if __name__ == "__main__":
    main()
