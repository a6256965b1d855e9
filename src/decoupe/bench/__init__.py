"""`decoupe bench`: how fast the parts of this package are on this machine, beside what bounds them.

Everything is made on the spot: built-in photos, untrained networks. Figures are medians over rounds in which a part
and what it is compared with take turns. On a machine that others use, ratios can be trusted and times cannot.
"""

from __future__ import annotations

import json
import os
import platform
import shlex
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from decoupe import __version__
from decoupe.bench import parts, steps
from decoupe.engine.files import write_atomic
from decoupe.errors import Fault, UsageFault
from decoupe.methods import ROOMS

PARTS: Mapping[str, Callable[[Path, int], list[dict[str, Any]]]] = {
    "crf": parts.crf, "gradcam": parts.gradcam, "data": parts.data, "segment": parts.segment,
}  # fmt: skip
"""Name -> function of (an empty folder, rounds) that returns rows {"what", figures ...}."""


def bench(
    what: Sequence[str],
    rounds: int = 5,
    preset: str | None = None,
    json_file: str | Path | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Measure each of `what`: names of rooms or of `PARTS`; none = all parts and rooms.

    rounds: repetitions; a room takes that many steps per stage, twice. preset: of the rooms. say: told what comes next.

    Returns {"rows": [{"what", ...}], "machine", "command", "date"}, also written to `json_file`. A room whose step
    cannot be taken on built-in photos has a row with "left_out", the reason.

    Raises:
        UsageFault: an unknown name or preset.
    """
    known = (*PARTS, *ROOMS)
    for name in what:
        if name not in known:
            raise UsageFault(f"what to measure: {', '.join(known)}", repr(name), "choose among these")
    rows: list[dict[str, Any]] = []
    for name in what or known:
        say(name)
        with tempfile.TemporaryDirectory(prefix="decoupe-bench-") as folder:
            rows += PARTS[name](Path(folder), rounds) if name in PARTS else _room(name, Path(folder), rounds, preset)
    found = {"rows": rows, "machine": machine(), "command": _command(what, rounds, preset), "date": _now()}
    if json_file is not None:
        write_atomic(Path(json_file), (json.dumps(found, indent=1) + "\n").encode())
    return found


def _room(name: str, folder: Path, rounds: int, preset: str | None) -> list[dict[str, Any]]:
    try:
        return steps.room(name, folder, rounds, preset)
    except UsageFault:
        raise
    except Fault as fault:
        return [{"what": name, "left_out": str(fault)}]


def machine() -> dict[str, Any]:
    """What the figures belong to: processor or GPU, threads, versions, load of the last minute."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "device": gpu or platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2),
        "torch": torch.__version__,
        "decoupe": __version__,
    }


def _command(what: Sequence[str], rounds: int, preset: str | None) -> str:
    more = [] if preset is None else ["--preset", preset]
    return shlex.join(["decoupe", "bench", *what, "--rounds", str(rounds), *more])


def _now() -> str:
    return datetime.now(UTC).date().isoformat()
