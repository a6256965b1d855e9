"""Dropout: its share and scale, the same in several processes, and from torch's saved generator."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from decoupe.nn.dropout import Dropout


def test_values_are_dropped_or_scaled() -> None:
    x = torch.rand(8, 500, generator=torch.Generator().manual_seed(0)) + 1
    torch.manual_seed(0)
    out = Dropout(0.3)(x)
    kept = out != 0
    assert 0.67 < float(kept.float().mean()) < 0.73
    assert torch.allclose(out[kept], x[kept] / 0.7)
    assert torch.equal(Dropout(0.3).eval()(x), x) and torch.equal(Dropout(0.0)(x), x)
    assert float(Dropout(1.0)(x).abs().max()) == 0
    assert Dropout(0.3)(x.bfloat16()).dtype == torch.bfloat16


def test_a_saved_generator_brings_back_the_same_draws() -> None:
    x, dropout = torch.ones(4, 64), Dropout(0.5)
    torch.manual_seed(3)
    dropout(x)
    state = torch.get_rng_state()
    second = dropout(x)
    assert not torch.equal(second, dropout(x))
    torch.set_rng_state(state)
    assert torch.equal(second, dropout(x))


SCRIPT = """
import sys
import torch
import torch.distributed as dist
from decoupe.nn.dropout import Dropout

rank, folder = int(sys.argv[1]), sys.argv[2]
dropout, x = Dropout(0.5), torch.rand(6, 9, generator=torch.Generator().manual_seed(0))
torch.manual_seed(7)
whole = [dropout(x), dropout(x)]
dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
torch.manual_seed(7)
mine = slice(3 * rank, 3 * rank + 3)
for one in whole:
    assert torch.equal(dropout(x[mine]), one[mine])
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_drop_what_one_does(tmp_path: Path) -> None:
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
