"""What the program prints, kept as text files beside this one.

A file is a list of blocks `$ command`, its output, `exit N`. To accept new words: UPDATE_SNAPSHOTS=1 make test, then
read the difference.
"""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = Path(__file__).resolve().parent


def read(name: str) -> dict[str, str]:
    """Blocks of snapshots/<name>.txt by their command."""
    path = FOLDER / f"{name}.txt"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    blocks = [block for block in text.split("$ decoupe ") if block.strip()]
    return {block.split("\n", 1)[0]: block.split("\n", 1)[1].strip() for block in blocks}


def check(name: str, command: str, output: str, code: int) -> None:
    """Compare one block; with UPDATE_SNAPSHOTS=1 write it instead (one process: -n 0)."""
    found, kept = f"{output.strip()}\nexit {code}".strip(), read(name)
    if os.environ.get("UPDATE_SNAPSHOTS") == "1":
        kept[command] = found
        text = "\n\n".join(f"$ decoupe {key}\n{value}" for key, value in sorted(kept.items()))
        (FOLDER / f"{name}.txt").write_text(text + "\n", encoding="utf-8")
        return
    assert command in kept, f"no snapshot of: decoupe {command}"
    assert found == kept[command]
