"""The site builds without a warning and loads nothing from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_the_site_builds_strictly_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
    )
    assert done.returncode == 0, done.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) >= 12
    loaded = re.compile(
        r"<(?:script|img|iframe|source)[^>]+src=[\"']?(?:https?:)?//|<link[^>]+href=[\"']?https?://(?![^>]*canonical)"
    )
    for page in pages:
        assert not loaded.search(page.read_text(encoding="utf-8")), page.name
    cli = (tmp_path / "site" / "cli" / "index.html").read_text(encoding="utf-8")
    assert "--images-seen" in cli and "--member-images" in cli
    student = cli[cli.index('id="options-of-the-student"') :]
    assert "--round-images" in student and "--teacher" not in student.split("<h2", 1)[0]
    api = (tmp_path / "site" / "api" / "index.html").read_text(encoding="utf-8")
    assert "decoupe.fit" in api and "Regions.labels" in api
