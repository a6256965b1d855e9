"""A run as one network equals the run, in torch, ONNX and TorchScript, at any size; and folders to upload are clean."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from decoupe import snapping
from decoupe.cli import main
from decoupe.data.decode import resize, resize_probs
from decoupe.engine.runfolder import Run
from decoupe.engine.tensors import pack_tensors
from decoupe.errors import Fault
from decoupe.export.bioimageio import export_bioimageio, identifiers
from decoupe.export.card import model_card
from decoupe.export.hub import export_hub
from decoupe.export.onnx import export_onnx
from decoupe.hub import fetched
from decoupe.methods import ROOMS
from decoupe.model import Model, load
from decoupe.portable import Portable, _snapped, portable, resized, triangle
from tests.tiny import build

OPTIONS: dict[str, dict[str, Any]] = {"baselines": {"kind": "kmeans-1x1", "k": 3}}
LATER = {"tags"}
"""Rooms whose first stage segments by gradients, which no graph holds; a finished run of theirs has its segmenter."""
EXPORTED = [name for name in ROOMS if name not in LATER]
SIZES = [(1, 31, 77), (3, 100, 67), (2, 32, 32), (1, 64, 17)]


def run_of(folder: Path, name: str, merges: list[list[int]] | None = None) -> Path:
    """A run folder of a room with weights that were hardly trained."""
    room, data = build(name, **OPTIONS.get(name, {}))
    room.prepare(data)
    if room.stages():
        room.enter(0, data, True)
    run = Run.create(folder, name)
    run.commit(config=dataclasses.asdict(room.config), spec=dataclasses.asdict(room.spec), status="done")
    run.write_bytes("weights.safetensors", pack_tensors(room.state_dict()))
    run.set_names(room.regions, merges or [])
    return folder


def images(count: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, height, width), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize(("source", "target"), [((64, 64), (37, 91)), ((20, 33), (64, 64)), ((200, 150), (64, 60))])
def test_resizing_is_that_of_the_package(source: tuple[int, int], target: tuple[int, int]) -> None:
    probs = torch.rand(2, 3, *source, generator=torch.Generator().manual_seed(0)).softmax(1)
    found = resized(probs, *target).numpy()
    assert all(np.abs(resize_probs(p.numpy(), *target) - f).max() < 1e-5 for p, f in zip(probs, found, strict=True))
    photo = np.random.default_rng(0).integers(0, 256, (*source, 3)).astype(np.uint8)
    small = resized(torch.from_numpy(photo).permute(2, 0, 1)[None].float(), *target)[0].permute(1, 2, 0).numpy()
    assert np.abs(resize(photo, *target).astype(float) - small).max() <= 1.01, "whole grey values, twice rounded"
    assert torch.allclose(triangle(50, 7).sum(1), torch.ones(7))


def test_snapping_of_many_images_is_that_of_one() -> None:
    generator = torch.Generator().manual_seed(0)
    photos, probs = torch.rand(3, 4, 48, 40, generator=generator) * 2 - 1, torch.rand(3, 3, 48, 40, generator=generator)
    probs = probs.softmax(1)
    assert torch.allclose(_snapped(photos, probs), snapping.snap(photos, probs), atol=1e-5)


@pytest.mark.parametrize("name", EXPORTED)
def test_the_network_is_the_run(name: str, tmp_path: Path) -> None:
    model = load(run_of(tmp_path / "run", name))
    network = Portable(model).eval()
    for count, height, width in SIZES[:2]:
        batch = images(count, height, width)
        with torch.no_grad():
            found = network(batch).numpy()
        expected = model.segment_arrays([image.permute(1, 2, 0).numpy() for image in batch])
        assert found.shape == (count, len(model.names), height, width)
        assert np.allclose(found.sum(1), 1, atol=1e-5)
        # photos are not rounded to whole grey values when they are resized: hard regions may differ at single pixels
        assert np.mean([np.abs(a - b).mean() for a, b in zip(found, expected, strict=True)]) < 0.02


def test_merged_regions_are_one(tmp_path: Path) -> None:
    model = load(run_of(tmp_path / "run", "baselines", [[0, 2]]))
    with torch.no_grad():
        found = portable(model)(images(1, 40, 50))
    assert found.shape[1] == 2 and torch.allclose(found.sum(1), torch.ones(1, 40, 50), atol=1e-5)


def test_what_is_no_network_says_so(tmp_path: Path) -> None:
    room, data = build("baselines", kind="grabcut")
    folder = tmp_path / "run"
    run = Run.create(folder, "baselines")
    run.commit(config=dataclasses.asdict(room.config), spec=dataclasses.asdict(room.spec), status="done")
    run.write_bytes("weights.safetensors", pack_tensors(room.state_dict()))
    run.set_names(room.regions)
    with pytest.raises(Fault, match="distil"):
        export_onnx(load(folder), tmp_path / "a.onnx")
    assert not (tmp_path / "a.onnx").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPORTED)
def test_onnx_computes_the_same_at_odd_sizes(name: str, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install decoupe[onnx]")
    model = load(run_of(tmp_path / "run", name))
    path = export_onnx(model, tmp_path / "new" / "model.onnx")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["names"]) == list(model.names) and about["room"] == name
    assert str(tmp_path) not in path.read_bytes().decode("latin-1")
    network = Portable(model).eval()
    for size in SIZES:
        batch = images(*size, seed=3)
        probs, labels = session.run(None, {"images": batch.numpy()})
        with torch.no_grad():
            expected = network(batch).numpy()
        assert np.abs(probs - expected).max() < 1e-4
        assert np.array_equal(labels, probs.argmax(1))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", EXPORTED)
def test_the_archive_for_other_tools(name: str, tmp_path: Path) -> None:
    path = export_bioimageio(load(run_of(tmp_path / "run", name)), tmp_path / "model.zip")
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        archive.extractall(tmp_path / "open")
    about = json.loads((tmp_path / "open" / "rdf.yaml").read_text())
    assert about["type"] == "model" and set(about["weights"]) == {"onnx", "torchscript"}
    given, expected = (np.load(tmp_path / "open" / name) for name in ("input.npy", "output.npy"))
    script = torch.jit.load(tmp_path / "open" / "model.pt")
    network = portable(load(tmp_path / "run"))
    with torch.no_grad():
        assert np.abs(script(torch.from_numpy(given)).numpy() - expected).max() < 1e-4
        other = images(3, 71, 45).float()
        found, same = script(other), network(other)
    assert found.shape[0] == 3 and found.shape[2:] == (71, 45) and torch.allclose(found, same, atol=1e-4)


TESTED = """
import sys
from bioimageio.core import test_model
for kind in ("onnx", "torchscript"):
    told = test_model(sys.argv[1], weight_format=kind)
    print(kind, told.status)
    if told.status != "passed":
        print(told.display())
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", EXPORTED)
def test_the_archive_passes_the_test_of_its_format(name: str, tmp_path: Path) -> None:
    """In a process of its own: that reader leaves files open."""
    if importlib.util.find_spec("bioimageio.core" if importlib.util.find_spec("bioimageio") else "bioimageio") is None:
        pytest.skip("bioimageio.core is not installed: pip install bioimageio.core 'pydantic<2.13'")
    path = export_bioimageio(load(run_of(tmp_path / "run", name)), tmp_path / "model.zip")
    done = subprocess.run([sys.executable, "-c", TESTED, str(path)], capture_output=True, text=True, timeout=600)
    assert done.stdout.splitlines() == ["onnx passed", "torchscript passed"], done.stdout + done.stderr[-2000:]


def test_channel_names() -> None:
    assert identifiers(("background", "Ærø 1", "", "a b", "a-b", "1")) == [
        "background", "r_1", "region_2", "a_b", "a_b_4", "region_5",
    ]  # fmt: skip


SECRET = "/home/somebody/secret photos"


def secretive(tiny_run: Path, folder: Path) -> Path:
    """A run whose folder knows more than others should."""
    import shutil

    shutil.copytree(tiny_run, folder)
    run = Run.open(folder)
    run.commit(command=f"decoupe fit --images {SECRET}", settings={"images": SECRET}, hardware=SECRET)
    run.save_result("masks-secret", {
        "data": f"masks:{SECRET}", "command": SECRET, "images": [SECRET], "about": SECRET,
        "results": [{"row": "selected", "fit_on": f"masks:{SECRET}", "metrics": {"iou": 0.5}, "n_images": 3,
                     "interval": {"iou": [0.4, 0.6]}, "matching": "hungarian"}],
    })  # fmt: skip
    run.set_names(("background", "<script>alert(1)</script>|"))
    return folder


def test_a_folder_to_upload_is_a_run_and_tells_nothing_of_the_machine(tiny_run: Path, tmp_path: Path) -> None:
    source = secretive(tiny_run, tmp_path / "run")
    target = export_hub(load(source), tmp_path / "hub")
    for path in target.rglob("*"):
        if path.is_file():
            text = path.read_bytes().decode("latin-1")
            assert "somebody" not in text and str(tmp_path) not in text, path.name
    photo = images(1, 50, 40)[0].permute(1, 2, 0).numpy()
    assert np.array_equal(load(source).segment(photo).probs, load(target).segment(photo).probs)
    card = (target / "README.md").read_text()
    assert "<script" not in card and "0.500" in card and "0.400 to 0.600" in card and "## Limits" in card
    assert card.startswith("---\n") and str(load(source).run.info["data"]["fingerprint"]) in card
    assert not list(target.rglob("checkpoints"))
    with pytest.raises(Fault, match="new folder"):
        export_hub(load(source), tmp_path / "hub")
    weights = target / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    with pytest.raises(Fault, match="sha256"):
        load(target)


@pytest.mark.parametrize(
    "address",
    ["hf:a/b", "hf:a@main", "hf:a/b@", "hf:/b@1", "hf:a/b/c@1", "hf:../b@1", "hf:a/..@1", "hf:@", "hf:a/b\0@1"],
)
def test_addresses_without_owner_name_and_revision_are_refused(address: str) -> None:
    with pytest.raises(Fault, match="OWNER/NAME@REVISION"):
        fetched(address)


def test_a_model_of_the_hub_is_loaded_from_what_was_fetched(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub's own client, offline, with a cache as it lays it out."""
    hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed: pip install decoupe[hub]")
    revision = "0123456789" * 4
    snapshot = tmp_path / "cache" / "models--owner--name" / "snapshots" / revision
    snapshot.parent.mkdir(parents=True)
    export_hub(load(tiny_run), snapshot)
    real = hub.snapshot_download
    monkeypatch.setattr(
        hub, "snapshot_download", lambda *a, **k: real(*a, **k, cache_dir=tmp_path / "cache", local_files_only=True)
    )
    photo = images(1, 50, 40)[0].permute(1, 2, 0).numpy()
    found = load(f"hf:owner/name@{revision}")
    assert np.array_equal(found.segment(photo).probs, load(tiny_run).segment(photo).probs)
    with pytest.raises(Fault, match="owner/other"):
        load(f"hf:owner/other@{revision}")


def test_the_command_writes_all_three(tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(tiny_run), "--hub", str(tmp_path / "hub")]) == 0
    assert str(tmp_path / "hub") in capsys.readouterr().out and isinstance(Model, type)
    for words in (["--onnx", "a.txt"], ["--bioimageio", "a.onnx"], []):
        assert main(["export", str(tiny_run), *words]) == 2


def test_the_card_of_a_refined_run_says_so(tiny_run: Path) -> None:
    model = load(tiny_run)
    assert "without pixel labels" in model_card(model)
    model.run.info["refined"] = {"labelled": 7}
    assert "7 labelled photos" in model_card(model)
