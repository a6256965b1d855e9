"""What the players of a game have in common: one makes images, another judges what was made in the same step."""

from __future__ import annotations

from abc import abstractmethod
from typing import Generic, TypeVar

import torch
from torch import nn

from decoupe.methods.room import Batch, Phase

Made = TypeVar("Made")
Shared = TypeVar("Shared", bound=nn.Module)


class Game(nn.Module, Generic[Made]):
    """What all players share; what one of them makes in a step is kept for the others."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: tuple[Batch, Made] | None = None

    @abstractmethod
    def make(self, batch: Batch) -> Made:
        """What a step is about, with its graph; it calls `keep`."""

    def keep(self, batch: Batch, made: Made) -> None:
        """Remember what was made of `batch`, without its graph."""
        self._kept = batch, made

    def made(self, batch: Batch) -> Made:
        """What was made of `batch` before its maker's update; made now where nobody has yet."""
        if self._kept is None or self._kept[0] is not batch:
            with torch.no_grad():
                self.make(batch)
        if self._kept is None:
            raise RuntimeError("make keeps what it made")
        return self._kept[1]


class Player(Phase, Generic[Shared]):
    """One phase of a game."""

    def __init__(self, game: Shared) -> None:
        super().__init__()
        self.game = game


def annealed(progress: float, share: float) -> float:
    """Factor on a learning rate at `progress` in [0, 1): 1, then down to 0 over the last `share` of the run."""
    return min(1.0, (1 - progress) / share) if share else 1.0
