"""Two processes with half of a batch each have the loss and the gradient of one with the whole."""

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
from decoupe.losses.information import contrastive_bound, displaced_information

rank, folder = int(sys.argv[1]), sys.argv[2]
generator = torch.Generator().manual_seed(0)
logits = torch.randn(4, 3, 6, 5, dtype=torch.float64, generator=generator)
other = torch.randn(4, 3, 6, 5, dtype=torch.float64, generator=generator).softmax(1)
rows, keys = (torch.randn(8, 5, dtype=torch.float64, generator=generator) for _ in range(2))
counts = torch.tensor([1, 1, 0, 1, 1, 0, 0, 1], dtype=torch.bool)


def both(part, few):
    x, r = logits[part].clone().requires_grad_(), rows[few].clone().requires_grad_()
    loss = displaced_information(x.softmax(1), other[part], 1) + contrastive_bound(r, keys[few], 0.3, counts[few])
    loss.backward()
    return loss.detach(), x.grad, r.grad


whole = both(slice(None), slice(None))
dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
half, few = slice(2 * rank, 2 * rank + 2), slice(4 * rank, 4 * rank + 4)
loss, images, features = both(half, few)
assert torch.allclose(loss, whole[0], atol=1e-12), (loss, whole[0])
# the processes' gradients are averaged, so each has twice its share of the whole
assert torch.allclose(images / 2, whole[1][half], atol=1e-12)
assert torch.allclose(features / 2, whole[2][few], atol=1e-12)
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
