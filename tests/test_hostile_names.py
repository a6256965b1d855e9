"""500 hostile file names: every photo gets its outputs, and not a byte lies outside --out."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from decoupe.segment import segment
from tests.bright import Bright
from tests.test_segment import digests

PIECES = (
    "..", "%2e%2e", "..%2f", "%00", "\\..\\", "C:", "con", "nul", "-rf", "~", "$HOME", "`id`", "$(id)", ";ls", "|cat",
    "&", "<script>alert(1)<!--", "'", '"', "=1+1", "+1", "@x", "\n", "\r", "\t", "\x1b[31m", "\x7f", "\u202e",
    "\u200b", "\ufeff", "e\u0301", "é", "İ", "ß", "𝒳", "名", "a" * 90, " ", ".", "#", "?", "*", ":", "|",
)  # fmt: skip
"""Parts of names that some program somewhere took for something else."""


def names() -> list[str]:
    """500 file names that the file system takes, none hidden."""
    joined = (first + second for first, second in itertools.product(PIECES, PIECES))
    usable = (name for name in joined if not name.startswith(".") and len(name.encode()) < 200)
    return list(dict.fromkeys(usable))[:500]


def test_every_name_has_outputs_of_its_own_inside(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "in").mkdir(parents=True)
    (home / "secret").write_text("not yours")
    photo = home / "in" / "t.png"
    pixels = np.zeros((24, 24, 3), np.uint8)
    pixels[8:16, 8:16] = 220
    Pillow.fromarray(pixels).save(photo)
    content = photo.read_bytes()
    photo.unlink()
    for name in names():
        (home / "in" / f"{name}.png").write_bytes(content)
    assert len(names()) == 500 == len(list((home / "in").iterdir()))
    before = digests(home, hidden=True)
    done = segment(Bright(), home / "in", home / "out", ("png", "csv", "voc", "coco-panoptic"))
    assert done["problems"] == [] and done["written"] == 500
    after = digests(home, hidden=True)
    assert {name: after[name] for name in before} == before
    assert all(name.startswith("out/") for name in set(after) - set(before))
    out = home / "out"
    own = [p for p in out.rglob("*.png") if p.relative_to(out).parts[0] not in ("dataset.voc", "coco.panoptic")]
    assert len({str(path).casefold() for path in own}) == 500
    lines = (home / "out" / "measures.csv").read_text(encoding="utf-8").splitlines()
    assert not any(line.startswith(("=", "+", "-", "@")) for line in lines)
