"""Step time of the room `redraw` against a naive port of the same step, in one process, with equal losses.

The naive port is what one writes from the paper: every region generator runs over the whole batch and the sampled
region is picked afterwards, the discriminator step masks and redraws once more, real and redrawn images pass through
the discriminator apart, everything is fp32 and contiguous, with PyTorch's own instance normalisation and padding.

    python benchmarks/redraw_step.py [--size 64] [--width 32] [--steps 10] [--json benchmarks/results/redraw_step.json]
"""

from __future__ import annotations

import argparse
import copy
import platform
import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from decoupe.bench.notes import tell
from decoupe.methods.redraw import losses
from decoupe.methods.redraw.config import Config
from decoupe.methods.redraw.networks import Reflect
from decoupe.methods.redraw.room import Redraw
from decoupe.methods.room import Batch, DataSpec, Draw, Phase, to_unit
from decoupe.nn.instance import ConditionalInstanceNorm2d, InstanceNorm2d
from decoupe.snapping import reduce_to


class NaiveConditional(nn.Module):
    """Conditional instance normalisation out of PyTorch's own."""

    def __init__(self, own: ConditionalInstanceNorm2d) -> None:
        super().__init__()
        self.gain, self.offset = own.gain, own.offset

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        """(B, C, h, w), (B, z) -> (B, C, h, w)."""
        return nn.functional.instance_norm(x) * self.gain(z)[..., None, None] + self.offset(z)[..., None, None]


def naive_layers(network: nn.Module) -> None:
    """Replace decoupe's own layers in `network` by PyTorch's, with the same parameters."""
    for name, child in network.named_children():
        if isinstance(child, InstanceNorm2d):
            other = nn.InstanceNorm2d(len(child.weight), affine=True)
            other.weight, other.bias = child.weight, child.bias
            setattr(network, name, other)
        elif isinstance(child, ConditionalInstanceNorm2d):
            setattr(network, name, NaiveConditional(child))
        elif isinstance(child, Reflect):
            setattr(network, name, nn.ReflectionPad2d(3))
        else:
            naive_layers(child)


class Naive:
    """The paper's step, one pass per region."""

    def __init__(self, room: Redraw) -> None:
        naive_layers(room)
        self.room = room.to(memory_format=torch.contiguous_format)
        stage = room.stages()[0]
        self.optimisers = [phase.optimiser() for phase in stage.phases]

    def fakes(self, images: Tensor, latents: Tensor, turn: int) -> tuple[Tensor, Tensor]:
        """Redrawn images and the region of each: every generator over the whole batch, then a choice."""
        room = self.room
        masks = reduce_to(room.masks(images), room.redraw_size)
        photos = reduce_to(images, room.redraw_size)
        region = (torch.arange(len(images)) + turn) % room.config.k
        made = [
            losses.redraw_region(photos, masks[:, i : i + 1], generator(masks[:, i : i + 1], latents[:, i]))
            for i, generator in enumerate(room.generators)
        ]
        return torch.stack(made, 1)[torch.arange(len(images)), region], region

    def step(self, images: Tensor, latents: Tensor, turn: int, update: bool = True) -> tuple[float, float]:
        """One step of G and one of D; their losses."""
        room, config = self.room, self.room.config
        room.requires_grad_(True).discriminator.requires_grad_(False)
        made, region = self.fakes(images, latents, turn)
        score, _ = room.discriminator(made)
        found = room.reader(made) if room.reader is not None else latents
        rows = torch.arange(len(images))
        first = losses.generator_hinge(score) + config.information_weight * losses.information(
            found[rows, region], latents[rows, region]
        )
        first.backward()
        if update:
            self.optimisers[0].step()
        room.zero_grad()
        room.requires_grad_(False).discriminator.requires_grad_(True)
        with torch.no_grad():
            made, _ = self.fakes(images, latents, turn)
        real, _ = room.discriminator(reduce_to(images, room.redraw_size))
        fake, _ = room.discriminator(made)
        second = losses.discriminator_hinge(real, fake)
        second.backward()
        if update:
            self.optimisers[1].step()
        room.zero_grad()
        return float(first.detach()), float(second.detach())


class Ours:
    """The room's own phases, as the engine's loop runs them."""

    def __init__(self, room: Redraw, precision: str) -> None:
        self.room, self.bf16 = room.to(memory_format=torch.channels_last), precision == "bf16"  # type: ignore[call-overload]
        self.phases: Sequence[Phase] = room.stages()[0].phases
        self.optimisers = [phase.optimiser() for phase in self.phases]

    def step(self, batch: Batch, update: bool = True) -> tuple[float, ...]:
        """One step of G and one of D; their losses."""
        found = []
        for phase, optimiser in zip(self.phases, self.optimisers, strict=True):
            self.room.requires_grad_(False)
            for module in phase.trained():
                module.requires_grad_(True)
            with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
                loss, _ = phase(batch)
            loss.backward()
            if update:
                optimiser.step()
            optimiser.zero_grad()
            found.append(float(loss.detach()))
        return tuple(found)


def median_seconds(once: Callable[[], Any], steps: int) -> float:
    """Median wall time of `once` over `steps` calls, after two to warm up."""
    times = []
    for _ in range(steps + 2):
        start = time.perf_counter()
        once()
        times.append(time.perf_counter() - start)
    return float(np.median(times[2:]))


def measure(config: Config, steps: int) -> dict[str, Any]:
    """Losses of both in fp32 at the same weights, then step times of the naive port (fp32) and of ours (bf16, fp32)."""
    torch.manual_seed(0)
    room = Redraw(config, DataSpec(3, config.size))
    photos = np.random.default_rng(0).integers(0, 255, (config.batch, 3, config.size, config.size), np.uint8)
    images = to_unit(photos)

    def batch() -> Batch:
        return Batch(torch.arange(config.batch), images, images, Draw(1, config.batch), 0.5)

    draw = Draw(1, config.batch)
    latents, turn = draw.normal(config.k, config.z), int(draw.shared(config.k, 1))
    copies = [copy.deepcopy(room.state_dict()) for _ in range(3)]
    rooms = [Redraw(config, DataSpec(3, config.size)) for _ in copies]
    for other, state in zip(rooms, copies, strict=True):
        other.load_state_dict(state)
        other.eval()  # one estimate of the spectral norms for both; power iterations are timed below
    naive, exact, fast = Naive(rooms[0]), Ours(rooms[1], "fp32"), Ours(rooms[2], "bf16")
    theirs = naive.step(images.contiguous(), latents, turn, update=False)
    ours = exact.step(batch(), update=False)
    for other in rooms:
        other.train()
    plain = images.contiguous()
    seconds = {
        "naive fp32": median_seconds(lambda: naive.step(plain, latents, turn), steps),
        "fp32 channels_last": median_seconds(lambda: exact.step(batch()), steps),
        "bf16 channels_last": median_seconds(lambda: fast.step(batch()), steps),
    }
    return {
        "config": {"size": config.size, "redraw_size": config.redraw_size, "batch": config.batch,
                   "widths": [config.mask_width, config.generator_width, config.discriminator_width]},
        "losses": {"naive": theirs, "ours": ours, "difference": float(np.abs(np.subtract(theirs, ours)).max())},
        "seconds_per_step": seconds,
        "times_faster": {name: seconds["naive fp32"] / value for name, value in seconds.items()},
    }  # fmt: skip


def main() -> None:
    """Measure and print; `--json` keeps the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    width = given.width
    config = Config(
        size=given.size, redraw_size=None, coarse=1, mask_width=width, generator_width=width, discriminator_width=width,
        mirror=False, augment=False,
    )  # fmt: skip
    result = measure(config, given.steps)
    about = {"date": date.today().isoformat(), "threads": torch.get_num_threads(), "machine": platform.machine()}
    tell(result | about, given.json, indent=2)


if __name__ == "__main__":
    main()
