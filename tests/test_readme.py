"""Every command and every line of Python in README.md works, in order, as a newcomer would type them.

What is changed: `make ...` is only looked up in the Makefile (CI itself runs it), the folders the README speaks of are
made here, and `fit` commands get the smallest networks and the shortest stages in place of their minutes.
"""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from decoupe.cli import main
from tests.tiny import TINY

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.M | re.S)


def test_every_block_has_a_language_that_is_run() -> None:
    assert set(re.findall(r"^```(\w*)$", TEXT, re.M)) - {""} == {"bash", "python"}


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = [line.split()[1] for block in blocks("bash") for line in block.splitlines() if line.startswith("make ")]
    assert targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.M), target


def quick(words: list[str]) -> list[str]:
    """A `fit` or `distill` command with the smallest settings of its room, options of the README first."""
    room = words[1] if words[0] == "fit" else "student"
    if "--minutes" in words:
        at = words.index("--minutes")
        words = words[:at] + words[at + 2 :]
    if room == "student":
        return [*words, "--images-seen", "64", "--size", "32", "--precision", "fp32"]
    options = [f"--{key.replace('_', '-')}={value}" for key, value in TINY[room].items()]
    return [*words, *options, "--precision", "fp32"]


@pytest.fixture
def desk(tmp_path: Path, photos: Path, synth: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """photos/, new_photos/, labelled/ as the README has them."""
    shutil.copytree(photos, tmp_path / "photos")
    shutil.copytree(photos, tmp_path / "new_photos")
    for name in ("images", "masks"):
        shutil.copytree(synth / name, tmp_path / "labelled" / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_commands_and_python_of_the_readme(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = 0
    for line in (line for block in blocks("bash") for line in block.splitlines() if line.strip()):
        words = shlex.split(line)
        if words[0] == "make":
            continue
        assert words[0] == "decoupe", line
        arguments = quick(words[1:]) if words[1] in ("fit", "distill") else words[1:]
        assert main(arguments) == 0, line
        ran += 1
    assert ran >= 8
    masks = sorted((desk / "masks").glob("*.png"))
    assert masks and (desk / "masks" / "coco.json").is_file() and (desk / "masks" / "measures.csv").is_file()
    with Image.open(next(iter((desk / "photos").iterdir()))) as photo, Image.open(masks[0]) as mask:
        assert mask.size == photo.size
    assert (desk / "runs" / "mine" / "report.html").is_file() and (desk / "scores.json").is_file()
    _run_python(monkeypatch)


def _run_python(monkeypatch: pytest.MonkeyPatch) -> None:
    import decoupe

    real = decoupe.fit

    def tiny_fit(room: str, **given: Any) -> decoupe.Model:
        return real(room, **(given | {"minutes": None, "precision": "fp32"} | TINY[room]))

    monkeypatch.setattr(decoupe, "fit", tiny_fit)
    assert blocks("python")
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), {})
