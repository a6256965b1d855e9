"""Fixtures that every test may use."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
AUDIT = str(ROOT / "tests" / "audit")
REACHING = (
    "test_packaging.py::test_a_wheel_holds_everything_that_is_read_at_run_time",  # pip fetches the build's tools
    "test_serve.py::test_only_loopback_listens",  # asks at this machine's own address, and is refused
)
"""Tests that reach beyond loopback themselves; the package never does."""


def pytest_configure(config: pytest.Config) -> None:
    """Every process of the tests, this one included, is watched: see tests/audit/sitecustomize.py."""
    if not hasattr(config, "workerinput"):
        os.environ.setdefault("DECOUPE_AUDIT", str(Path(tempfile.mkdtemp(prefix="decoupe-audit-")) / "events"))
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (AUDIT, os.environ.get("PYTHONPATH"))))
    from tests.audit import sitecustomize  # noqa: F401


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail if a process unpickled something of ours or reached beyond loopback."""
    if hasattr(session.config, "workerinput"):
        return
    events = Path(os.environ["DECOUPE_AUDIT"]).read_text(errors="replace").splitlines()
    if wrong := [line for line in events if line != "process" and not any(name in line for name in REACHING)]:
        print("\nwhat no process may do:", *wrong[:20], sep="\n  ")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Image caches go to a folder of this test run."""
    before = os.environ.get("DECOUPE_CACHE")
    os.environ["DECOUPE_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    os.environ.pop("DECOUPE_CACHE")
    if before is not None:
        os.environ["DECOUPE_CACHE"] = before


@pytest.fixture(scope="session")
def mobilenet_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a MobileNetV2 as if it had been trained elsewhere."""
    import torch
    from safetensors.torch import save_file

    from decoupe.nn.backbones import backbone

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "mobilenet_v2_some.safetensors"
    save_file({k: v.contiguous() for k, v in backbone("mobilenet_v2").body.state_dict().items()}, path)
    return path


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets beside the checkout."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}: copy the public data sets there to run this test")
    return folder.parent


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve small colour photos of a bright disc, as PNG."""
    from tests.tiny import photos as make

    folder = tmp_path_factory.mktemp("photos")
    for index, image in enumerate(make(12, size=40)):
        Image.fromarray(image.transpose(1, 2, 0)).save(folder / f"photo_{index:02d}.png")
    return folder


@pytest.fixture(scope="session")
def synth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight built-in objects with their truth, layout `synth`."""
    from decoupe.data.synthetic import write

    folder = tmp_path_factory.mktemp("synth") / "objects"
    write(folder, "objects", 8, 32, seed=3)
    return folder


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory, synth: Path) -> Path:
    """A finished run of `independence`, trained for a moment. Copy it before changing it."""
    from decoupe.fit import fit
    from tests.tiny import TINY

    folder = tmp_path_factory.mktemp("runs") / "tiny"
    with pytest.MonkeyPatch.context() as patch:  # so short a run learns nothing; its health is tested elsewhere
        patch.setattr("decoupe.engine.health.FULL", 2.0)
        fit("independence", synth / "images", run=folder, precision="fp32", **TINY["independence"])
    return folder
