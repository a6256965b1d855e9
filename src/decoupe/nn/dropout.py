"""Dropout that is the same whatever the number of processes, and after a resume, on a GPU too."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn


class Dropout(nn.Dropout):
    """As torch's, but drawn for the global batch, of which each process takes its rows.

    The seed of each draw comes from torch's generator on the CPU, which all processes have alike and checkpoints keep.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(B, ...) -> same shape and dtype: in training each value is 0 with probability p, else divided by 1 - p.

        B is the same in all processes.
        """
        if not self.training or self.p == 0 or input.is_meta:
            return input
        many = dist.is_available() and dist.is_initialized()
        rank, ranks = (dist.get_rank(), dist.get_world_size()) if many else (0, 1)
        generator = torch.Generator(input.device).manual_seed(int(torch.randint(2**62, ())))
        whole = input.new_empty((ranks * len(input), *input.shape[1:]))
        kept = whole.bernoulli_(1 - self.p, generator=generator)[rank * len(input) : (rank + 1) * len(input)]
        return input * kept / max(1 - self.p, 1e-12)
