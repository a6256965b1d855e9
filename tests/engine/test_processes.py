"""Several processes give what one gives, and none of them listens on the network."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image

from decoupe.engine.runfolder import Run
from decoupe.engine.tensors import load_tensors
from tests.tiny import photos

TOLERANCE = 2e-4
"""Largest difference of any weight after 24 fp32 steps of Adam; sums are taken in another order."""
OPTIONS = (
    "--members 1 --member-images 96 --rounds 1 --student-images 96 --batch 8 --size 32 --width 8 "
    "--discriminator-width 8 --teacher-depth 3 --student-depth 3 --lr-mask 1e-4 --lr-discriminator 1e-4 "
    "--lr-student 1e-4 --precision fp32"
).split()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 small photos."""
    folder = tmp_path_factory.mktemp("photos")
    for i, image in enumerate(photos(24, size=40)):
        Image.fromarray(image.transpose(1, 2, 0)).save(folder / f"{i}.png")
    return folder


def _start(folder: Path, run: Path, *extra: str, launcher: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    command = [sys.executable, *(launcher or ("-m", "decoupe")), "fit", "independence"]
    command += ["--images", str(folder), "--run", str(run), *OPTIONS, *extra]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "DECOUPE_CACHE": str(run.parent / "cache")}
    return subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )


def _weights(process: subprocess.Popen[str], run: Path) -> dict[str, torch.Tensor]:
    said, _ = process.communicate(timeout=240)
    assert process.returncode == 0, said[-3000:]
    return load_tensors(Run.open(run).verify("weights.safetensors"))[0]


def _difference(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    return max(float((a[k].double() - b[k].double()).abs().max()) for k in a)


def _family(pid: int) -> Iterator[int]:
    yield pid
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            yield from _family(int(child))


def _listeners(pid: int) -> set[str]:
    """Addresses (hex, as in /proc/net/tcp) on which a process of the family of `pid` listens."""
    sockets = set()
    for member in _family(pid):
        for handle in Path(f"/proc/{member}/fd").glob("*"):
            try:
                sockets.add(os.readlink(handle))
            except OSError:
                continue
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and f"socket:[{words[9]}]" in sockets:
                found.add(words[1].split(":")[0])
    return found


LOOPBACK = {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["group", "batch"])
def test_two_processes_equal_one(folder: Path, tmp_path: Path, norm: str) -> None:
    one = _weights(_start(folder, tmp_path / "one", "--norm", norm), tmp_path / "one")
    process = _start(folder, tmp_path / "two", "--norm", norm, "--devices", "2")
    seen: set[str] = set()
    while process.poll() is None:
        try:
            seen |= _listeners(process.pid)
        except OSError:
            pass
        if (tmp_path / "two" / "weights.safetensors").exists():
            break
        time.sleep(0.05)
    two = _weights(process, tmp_path / "two")
    assert seen - LOOPBACK == set()
    assert seen, "gloo's own loopback listeners were not seen: the look is blind"
    assert _difference(one, two) < TOLERANCE


@pytest.mark.slow
def test_torchrun_equals_one_process(folder: Path, tmp_path: Path) -> None:
    one = _weights(_start(folder, tmp_path / "one", "--norm", "group"), tmp_path / "one")
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "--", "decoupe")
    process = _start(folder, tmp_path / "two", "--norm", "group", launcher=launcher)
    assert _difference(one, _weights(process, tmp_path / "two")) < TOLERANCE


@pytest.mark.slow
def test_a_killed_rank_ends_the_others_and_says_so(folder: Path, tmp_path: Path) -> None:
    process = _start(folder, tmp_path / "run", "--member-images", "80000", "--devices", "2")
    began = time.monotonic()
    while not (tmp_path / "run" / "metrics.jsonl").exists() and time.monotonic() - began < 90:
        time.sleep(0.1)
    workers = [pid for pid in _family(process.pid) if pid != process.pid]
    os.kill(workers[-1], signal.SIGKILL)
    killed = time.monotonic()
    said, _ = process.communicate(timeout=60)
    assert time.monotonic() - killed < 60
    assert process.returncode == 1 and "process 1 ended with code -9" in said and "--resume" in said
    assert all(not Path(f"/proc/{pid}").exists() for pid in workers)


@pytest.mark.slow
def test_a_collapse_of_two_processes_is_told_once_and_the_run_is_whole(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights of 1e30 give a loss that is no number."""
    options = " ".join(OPTIONS).replace("--lr-mask 1e-4", "--lr-mask 1e30").split()
    monkeypatch.setattr("tests.engine.test_processes.OPTIONS", options)
    process = _start(folder, tmp_path / "run", "--devices", "2", "--restarts", "0")
    said, _ = process.communicate(timeout=240)
    assert process.returncode == 1
    assert said.count("error: ") == said.count("expected training to stay healthy, got a loss was not a finite") == 1
    run = Run.open(tmp_path / "run")
    assert run.info["status"] == "collapsed" and run.info["health"]["collapsed_at"] > 0
    assert (run.path / "report.html").is_file()


@pytest.mark.slow
def test_torchrun_starts_again_after_a_rank_died_and_the_run_ends_as_if_nothing_had_happened(
    folder: Path, tmp_path: Path
) -> None:
    longer = ("--norm", "group", "--member-images", "960")
    one = _weights(_start(folder, tmp_path / "one", *longer), tmp_path / "one")
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--max-restarts", "1")
    process = _start(folder, tmp_path / "two", *longer, launcher=(*launcher, "-m", "--", "decoupe"))
    began, marker = time.monotonic(), tmp_path / "two" / "run.json"
    while time.monotonic() - began < 120:
        name = json.loads(marker.read_text()).get("checkpoint", "x/0-") if marker.exists() else "x/0-"
        if int(name.split("/")[1].split("-")[0]) > 0:
            break
        time.sleep(0.02)
    workers = [pid for pid in _family(process.pid) if "decoupe" in Path(f"/proc/{pid}/cmdline").read_text()]
    os.kill(max(workers), signal.SIGKILL)
    two = _weights(process, tmp_path / "two")
    events = [row for row in Run.open(tmp_path / "two").metrics() if row.get("event") == "restart"]
    assert _difference(one, two) < TOLERANCE and not events
