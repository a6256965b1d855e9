"""Two processes with unlike halves of a batch have the penalties, and the gradients, of one with the whole."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import sys
import torch
import torch.distributed as dist
from decoupe.methods.layer_disposal.losses import overlap, too_small
from decoupe.nn.norm import global_sum

rank, folder = int(sys.argv[1]), sys.argv[2]
masks = torch.rand(4, 3, 1, 5, 6, generator=torch.Generator().manual_seed(0))
masks[:2, 0] *= 0.1  # a layer that is small in one half, and one in the other
masks[2:, 1] *= 0.2


def both(part):
    found = []
    for loss in (overlap, lambda m: too_small(m, 0.4)):
        given = masks[part].clone().requires_grad_()
        value = loss(given)
        value.backward()
        found.append((value.detach(), given.grad))
    return found


def slope(part):
    # gradient of |gradient of (sum of x cubed)|^2, as R1 takes it through statistics of the batch
    x = masks[part].double().clone().requires_grad_()
    (first,) = torch.autograd.grad(global_sum(x.pow(3).sum()).square(), x, create_graph=True)
    first.square().sum().backward()
    return first.detach(), x.grad


whole, twice = both(slice(None)), slope(slice(None))
dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
half = slice(2 * rank, 2 * rank + 2)
for (value, gradient), (wanted, of_whole) in zip(both(half), whole):
    assert torch.allclose(value, wanted, atol=1e-6), (value, wanted)
    # the processes' gradients are averaged, so each has twice its share of the whole
    assert torch.allclose(gradient / 2, of_whole[half], atol=1e-7)
first, second = slope(half)
assert torch.allclose(first / 2, twice[0][half])
assert torch.allclose(second / 4, twice[1][half])  # the square of a gradient that is twice its share
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_are_one(tmp_path: Path) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(rank), str(tmp_path)], env=environment, text=True, stderr=subprocess.PIPE
        )
        for rank in (0, 1)
    ]
    for worker in workers:
        said = worker.communicate(timeout=120)[1]
        assert worker.returncode == 0, said[-2000:]
