"""Several processes: who this one is, how they meet without opening a port to the network, and starting them.

Ranks of one machine meet through a file; gloo's own connections stay on the loopback interface. Across machines
(torchrun or Slurm set MASTER_ADDR) the usual rendezvous is used and listens where the user told it to.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decoupe.engine.signals import handling
from decoupe.errors import Fault

STOPPED = 75
"""Exit code of a worker that saved and stopped on a signal."""
COLLAPSED = 76
"""Exit code of a worker whose training collapsed for good."""
GRACE = 120.0
"""Seconds in which workers save and stop after one of them has failed; then they are killed."""


@dataclass(frozen=True)
class World:
    """This process among its equals."""

    rank: int = 0
    local_rank: int = 0
    size: int = 1
    local_size: int = 1

    @property
    def first(self) -> bool:
        """Rank 0 writes; the others only compute."""
        return self.rank == 0

    @property
    def nodes(self) -> int:
        """Machines taking part."""
        return self.size // self.local_size


def world() -> World:
    """Read RANK, LOCAL_RANK, WORLD_SIZE and LOCAL_WORLD_SIZE (set by `spawn`, torchrun or a Slurm script)."""

    def number(name: str, default: int) -> int:
        return int(os.environ.get(name, default))

    size = number("WORLD_SIZE", 1)
    return World(number("RANK", 0), number("LOCAL_RANK", 0), size, number("LOCAL_WORLD_SIZE", size))


def join(here: World) -> None:
    """Create the process group; nothing to do for a single process."""
    import torch
    import torch.distributed as dist

    if here.size == 1 or dist.is_initialized():
        return
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    if here.nodes > 1:
        dist.init_process_group(backend)
        return
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
    os.environ.setdefault("NCCL_SOCKET_IFNAME", os.environ["GLOO_SOCKET_IFNAME"])
    meeting = os.environ.get("DECOUPE_MEETING") or _meeting_of_torchrun()
    dist.init_process_group(backend, init_method=f"file://{meeting}", rank=here.rank, world_size=here.size)


def _meeting_of_torchrun() -> str:
    """A file of this user's own, the same for all ranks of one start and for no other."""
    folder = Path(tempfile.gettempdir()) / f"decoupe-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    names = ("TORCHELASTIC_RUN_ID", "MASTER_PORT", "TORCHELASTIC_RESTART_COUNT")
    return str(folder / "-".join([str(os.getppid()), *(os.environ.get(name, "0") for name in names)]))


@contextlib.contextmanager
def first_goes_first(here: World) -> Iterator[None]:
    """Rank 0 runs the body alone; when it is through, the others do (and find its caches)."""
    import torch.distributed as dist

    if here.size > 1 and not here.first:
        dist.barrier()
    yield
    if here.size > 1 and here.first:
        dist.barrier()


def share_text(text: str, here: World) -> str:
    """Rank 0's `text` on every rank, sent as plain bytes (never pickled)."""
    import torch
    import torch.distributed as dist

    if here.size == 1:
        return text
    device = torch.device("cuda", here.local_rank) if torch.cuda.is_available() else torch.device("cpu")
    data = torch.zeros(4096, dtype=torch.uint8, device=device)
    encoded = text.encode()[:4095]
    data[: len(encoded)] = torch.tensor(list(encoded), dtype=torch.uint8)
    dist.broadcast(data, 0)
    return bytes(data.tolist()).rstrip(b"\0").decode()


def spawn(devices: int, job: dict[str, Any], talk: bool) -> int:
    """Run `decoupe.fit(**job)` in `devices` processes of this machine; returns 0, STOPPED after a signal, or COLLAPSED.

    With `talk`, rank 0 shows its progress on the console.

    Fault when a process dies; the others are ended within seconds.
    """
    with tempfile.TemporaryDirectory(prefix="decoupe-") as folder:
        (Path(folder) / "job.json").write_text(json.dumps(job))
        base = os.environ | {
            "WORLD_SIZE": str(devices),
            "LOCAL_WORLD_SIZE": str(devices),
            "DECOUPE_MEETING": f"{folder}/meeting",
        }
        base.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // devices)))
        workers = [
            _start(Path(folder) / "job.json", talk, base | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
            for rank in range(devices)
        ]
        try:
            with _forwarding(workers):
                return _watch(workers)
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()


def _start(job: Path, talk: bool, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """A worker on a job file; in a session of its own, so that signals come from this process, once."""
    command = [sys.executable, "-m", "decoupe.engine.worker", str(job), "talk" if talk else "quiet"]
    return subprocess.Popen(command, env=environment, start_new_session=True)


def spread(
    count: int,
    job: Callable[[int], dict[str, Any] | None],
    places: Sequence[dict[str, str]],
    ended: Callable[[int, int], None],
) -> bool:
    """Run `decoupe.fit(**job(index))` for `count` jobs, each in a process alone, one at a time in each of `places`.

    A place is what its process finds in its environment. `job` is asked in order, when a place is free; None: not yet,
    ask again soon (only while another job is at work). `ended(index of the job, exit code)` after each. Returns whether
    a signal stopped it: no job is begun then, and those at work save. When a process dies, the others save and stop,
    within `GRACE` seconds; then Fault.
    """
    threads = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // len(places)))}
    waiting = list(range(count))
    running: dict[int, tuple[int, subprocess.Popen[bytes]]] = {}
    workers: list[subprocess.Popen[bytes]] = []
    stopped, failed, deadline = False, 0, math.inf

    def stop(number: int, frame: Any) -> None:
        nonlocal stopped
        stopped = True
        for worker in workers:
            worker.send_signal(signal.SIGINT)

    with tempfile.TemporaryDirectory(prefix="decoupe-") as folder, handling(stop):
        try:
            while (running and time.monotonic() < deadline) or (waiting and not stopped):
                for place in range(len(places)):
                    if waiting and not stopped and place not in running and (next_one := job(waiting[0])) is not None:
                        index, file = waiting.pop(0), Path(folder) / f"{place}.json"
                        file.write_text(json.dumps(next_one))
                        workers.append(_start(file, False, threads | os.environ | places[place]))
                        running[place] = index, workers[-1]
                time.sleep(0.1)
                for place, (index, worker) in list(running.items()):
                    if (code := worker.poll()) is None:
                        continue
                    del running[place]
                    workers.remove(worker)
                    if code not in (0, STOPPED, COLLAPSED) and not stopped:
                        failed, deadline = code, time.monotonic() + GRACE
                        stop(signal.SIGINT, None)
                    stopped = stopped or code == STOPPED
                    ended(index, code)
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()
    if failed:
        told = "see the line above; the same command goes on with the others"
        raise Fault("a run to finish", f"one that ended with code {failed}", told)
    return stopped


@contextlib.contextmanager
def _forwarding(workers: list[subprocess.Popen[bytes]]) -> Iterator[None]:
    """Inside, Ctrl-C and SIGTERM go to the workers, which save and stop."""

    def forward(number: int, frame: Any) -> None:
        for worker in workers:
            worker.send_signal(signal.SIGINT)

    with handling(forward):
        yield


def _watch(workers: list[subprocess.Popen[bytes]]) -> int:
    """Wait until all have ended well; Fault naming the first that did not."""
    while True:
        codes = [worker.poll() for worker in workers]
        for rank, code in enumerate(codes):
            if code not in (None, 0, STOPPED, COLLAPSED):
                raise Fault(
                    f"{len(workers)} processes to finish",
                    f"process {rank} ended with code {code}",
                    "see the line above; --resume goes on from the last checkpoint",
                )
        if None not in codes:
            return max(code for code in codes if code is not None)
        time.sleep(0.2)
