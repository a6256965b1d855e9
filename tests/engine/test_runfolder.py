"""Run folders: atomic, sealed, locked; every flipped bit is found."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from decoupe.engine.files import parse_json, write_atomic
from decoupe.engine.runfolder import Run
from decoupe.errors import Fault


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run.create(tmp_path / "run", "independence")
    run.write_bytes("weights.safetensors", bytes(range(256)) * 8)
    run.set_names(["background", "object"])
    return run


def test_default_folders_count_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = [Run.create(None, "redraw").path.name for _ in range(3)]
    assert names == ["redraw-1", "redraw-2", "redraw-3"]
    assert Path("runs/latest").resolve().name == "redraw-3"


def test_a_folder_with_content_is_not_overwritten(run: Run, tmp_path: Path) -> None:
    with pytest.raises(Fault, match="already has content"):
        Run.create(run.path, "independence")
    assert Run.open(run.path).names == ("background", "object")


def test_every_flipped_bit_is_found(run: Run) -> None:
    rng = random.Random(0)
    for name in ("weights.safetensors", "names.json", "run.json"):
        whole = (run.path / name).read_bytes()
        for _ in range(60):
            damaged = bytearray(whole)
            damaged[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
            (run.path / name).write_bytes(damaged)
            with pytest.raises(Fault):
                Run.open(run.path)
        (run.path / name).write_bytes(whole[:-1] if name != "run.json" else whole[:-2])
        with pytest.raises(Fault):
            Run.open(run.path)
        (run.path / name).write_bytes(whole)
    Run.open(run.path)


def test_a_bit_that_changes_no_number_is_found_too(run: Run) -> None:
    run.commit(score=1e-07)
    text = (run.path / "run.json").read_bytes()
    (run.path / "run.json").write_bytes(text.replace(b"1e-07", b"1E-07"))
    with pytest.raises(Fault, match="changed or damaged"):
        Run.open(run.path)


def test_a_crash_between_file_and_manifest_leaves_a_valid_run(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import decoupe.engine.runfolder as module

    writes = 0

    def failing(path: Path, data: bytes) -> str:
        nonlocal writes
        writes += 1
        if writes == stop_at:
            raise Fault("to write", "No space left on device", "free space")
        return write_atomic(path, data)

    for stop_at in (1, 2, 3):
        writes = 0
        before = Run.open(run.path).names
        monkeypatch.setattr(module, "write_atomic", failing)
        with pytest.raises(Fault, match="No space left"):
            Run.open(run.path).set_names([f"sky {stop_at}", "ground"])
        monkeypatch.undo()
        assert Run.open(run.path).names in (before, (f"sky {stop_at}", "ground"))


def test_run_json_that_is_too_deep_or_not_a_number_is_refused() -> None:
    for text in (b"[" * 100_000, b'{"a": NaN}', b"[1]", b"{", b'{"a": ' * 100_000):
        with pytest.raises(Fault, match="JSON object"):
            parse_json(text, "run.json")


def test_two_processes_cannot_hold_one_run(run: Run) -> None:
    code = f"""
from decoupe.engine.runfolder import Run
from decoupe.errors import Fault
try:
    with Run.open({str(run.path)!r}).lock(): print("held")
except Fault as fault: print(fault)
"""
    with run.lock():
        told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "in use by process" in told and "choose another --run" in told
    free = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert free == "held\n"


def test_metrics_survive_a_cut_line(run: Run) -> None:
    for n in range(3):
        run.log({"images": n})
    with (run.path / "metrics.jsonl").open("ab") as file:
        file.write(json.dumps({"images": 3}).encode()[:5])
    assert [row["images"] for row in run.metrics()] == [0, 1, 2]
    run.keep_metrics(2)
    assert [row["images"] for row in run.metrics()] == [0, 1]


@pytest.mark.parametrize(
    "name",
    ["checkpoints/../../victim/x", "../weights.safetensors", "/etc/passwd", "candidates/1.pth", "results/../../x.json"],
)
def test_a_manifest_that_names_other_files_is_refused(run: Run, name: str) -> None:
    victim = run.path.parent / "victim"
    victim.mkdir()
    for changes in ({"files": {name: "0"}}, {"checkpoint": name}, {"candidates": [{"file": name}]}, {"files": [name]}):
        forged = Run.open(run.path)
        forged.commit(**changes)
        with pytest.raises(Fault, match="run.json"):
            Run.open(run.path)
        (run.path / "run.json").unlink()
        restored = Run(run.path, {"room": "x", "status": "new", "files": {}, "pending": {}, "candidates": []})
        restored.commit()
    assert victim.is_dir()
