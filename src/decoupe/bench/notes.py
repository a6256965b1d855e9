"""How a benchmark tells what it found: where and when it was measured, as JSON, on the screen and in a file."""

from __future__ import annotations

import json
import platform
import sys
from datetime import date
from pathlib import Path
from typing import Any

import torch


def where_and_when() -> dict[str, Any]:
    """Threads, hardware, version of torch, and the day."""
    return {
        "threads": torch.get_num_threads(),
        "hardware": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "date": date.today().isoformat(),
    }


def tell(found: dict[str, Any], file: Path | None, indent: int = 1) -> None:
    """Write `found` to standard output, and to `file` where there is one."""
    text = json.dumps(found, indent=indent) + "\n"
    sys.stdout.write(text)
    if file is not None:
        file.write_text(text, encoding="utf-8")
