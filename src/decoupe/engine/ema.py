"""Exponential moving averages of networks: what is trained moves fast, what segments moves slowly."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn


class Average:
    """The moving average of some of a room's submodules (their floating-point parameters and buffers)."""

    def __init__(self, room: nn.Module, names: Sequence[str], decay: float) -> None:
        self._live = {
            f"{name}.{key}": tensor
            for name in names
            for key, tensor in room.get_submodule(name).state_dict(keep_vars=True).items()
            if tensor.is_floating_point()
        }
        self._mean = {key: tensor.detach().clone() for key, tensor in self._live.items()}
        self._decay, self.steps = decay, 0

    @torch.no_grad()
    def update(self) -> None:
        """mean <- d mean + (1 - d) live, with d = min(decay, (1 + n) / (10 + n)) after n updates."""
        if self._mean:
            decay = min(self._decay, (1 + self.steps) / (10 + self.steps))
            torch._foreach_lerp_(list(self._mean.values()), list(self._live.values()), 1 - decay)
        self.steps += 1

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Inside, the room's networks carry the averaged weights; afterwards their own, bit for bit."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for key, live in self._live.items():
            live.data, self._mean[key] = self._mean[key], live.data

    def state(self) -> dict[str, Tensor]:
        """The averaged tensors by state-dict name."""
        return self._mean

    @torch.no_grad()
    def load(self, mean: dict[str, Tensor], steps: int) -> None:
        """Restore what `state` and `steps` gave."""
        for key, tensor in self._mean.items():
            tensor.copy_(mean[key])
        self.steps = steps
