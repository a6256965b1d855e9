"""`decoupe doctor`: a block that anyone may paste, and the traps it knows."""

from __future__ import annotations

from pathlib import Path

import pytest

from decoupe import __version__, doctor
from decoupe.cli import main


def test_the_block_names_what_matters_and_nothing_private(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["doctor"]) == 0
    seen = capsys.readouterr().out
    for word in (__version__, "python", "cores", "torch", "threads", "gpu", "bf16", "disk here", "disk cache", "times"):
        assert word in seen, word
    assert str(Path.home()) not in seen and str(Path.cwd()) not in seen
    assert seen.splitlines()[-1].startswith(("nothing to mend", "1 to mend", "2 to mend"))


@pytest.mark.parametrize(
    ("installed", "words"),
    [
        ({"torch": "2.13.0+cpu", "torchvision": "0.28.0+cu130"}, "built for CUDA"),
        ({"torch": "2.9.1+cpu"}, "2.10 or newer"),
        ({"torch": "2.13.0", "lightning-fabric": "2.6.2"}, "withdrawn"),
        ({"torch": "2.13.0", "opencv-python": "4", "opencv-python-headless": "4"}, "overwrite each other"),
        ({"torch": "2.13.0", "lightning": "2.6", "pytorch-lightning": "2.6"}, "twice"),
        ({"torch": "2.13.0+cpu", "torchvision": "0.28.0+cpu"}, ""),
        ({}, ""),
    ],
)
def test_traps(installed: dict[str, str], words: str) -> None:
    found = doctor.traps(installed.get, lambda name: object() if name == "cv2" else None)
    assert [words in trap for trap in found] == ([True] if words else [])


def test_steps_are_timed_in_both_precisions() -> None:
    assert 0 < doctor.step_seconds("float32", 1) < 60 and 0 < doctor.step_seconds("bfloat16", 1) < 60


def test_a_missing_package_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "NEEDED", ("no-such-package",))
    assert ("no-such-package", "missing") in list(doctor.rows())
