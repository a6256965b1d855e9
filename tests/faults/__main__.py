"""Fill the table of faults in docs/reliability.md.

    python -m tests.faults rig|masks [--every N] | flips | bombs | fuzz [--minutes N] | suite [ARGUMENTS] | write

Each part measures and keeps its figures in benchmarks/results/faults.json; `write` makes the table of them. `suite`
runs the tests with every process watched (tests/audit/sitecustomize.py); what follows it goes to pytest.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FIGURES = ROOT / "benchmarks/results/faults.json"
PAGE = ROOT / "docs/reliability.md"
BEGIN, END = "<!-- faults: made by `python -m tests.faults write` -->", "<!-- end of faults -->"


def figures() -> dict[str, Any]:
    """What was measured until now, by part."""
    return dict(json.loads(FIGURES.read_text(encoding="utf-8"))) if FIGURES.exists() else {}


def keep(part: str, found: dict[str, Any]) -> None:
    """Add the figures of a part."""
    FIGURES.write_text(json.dumps(figures() | {part: found | {"date": date.today().isoformat()}}, indent=1) + "\n")


def flips() -> dict[str, Any]:
    """10,000 bits of a run that has snapshots and a checkpoint."""
    from tests.engine.rig import Rig, attempt
    from tests.faults.flips import flips as flip

    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        os.environ["DECOUPE_CACHE"] = str(home / "cache")
        if (told := attempt(photos(home), home / "run", Rig(), False)) is not None:
            raise SystemExit(told)
        return flip(home / "run")


def photos(home: Path) -> Path:
    """Twelve photos."""
    from decoupe.data.synthetic import write

    write(home / "photos", "objects", 12, 40, 0)
    return home / "photos" / "images"


def bombs() -> dict[str, Any]:
    """A thousand bombs."""
    from tests.faults.bombs import burst

    return burst()


def outside(part: str, command: list[str]) -> dict[str, Any]:
    """Run another program of the tests that writes its figures to --json FILE."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name) / "figures.json"
        done = subprocess.run([sys.executable, "-m", *command, "--json", str(place)], cwd=ROOT)
        found = dict(json.loads(place.read_text()))
    if part in ("rig", "masks"):
        bad = {told: n for told, n in found["found"].items() if told not in ("went on", "began anew", "not hit")}
        return found | {"wrong": list(bad)}
    doors = found["doors"].values()
    wrong = [f"{name}: {one['kind']}" for name, door in found["doors"].items() for one in door["findings"]]
    total = {key: round(sum(door[key] for door in doors)) for key in ("inputs", "refused", "cpu_s")}
    peak = max(door["peak_mb"] for door in doors)
    return {"doors": len(doors), **total, "peak_mb": peak, "seed": found["seed"], "wrong": wrong, "rc": done.returncode}


def suite(arguments: list[str]) -> dict[str, Any]:
    """The tests with every process watched."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name) / "audit"
        environment = os.environ | {"DECOUPE_AUDIT": str(place)}
        done = subprocess.run([sys.executable, "-m", "pytest", *arguments], cwd=ROOT, env=environment)
        lines = place.read_text(errors="replace").splitlines()
    wrong = [line for line in lines if line != "process"]
    return {"processes": lines.count("process"), "arguments": arguments, "rc": done.returncode, "wrong": wrong[:20]}


def table(found: dict[str, Any]) -> str:
    """The rows, from the figures."""
    from tests.faults.table import rows

    return "\n".join(
        ["| what happens | how often | what must hold | violated | date |", "|---|---|---|---|---|", *rows(found)]
    )


def write() -> None:
    """Put the table into the page."""
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    PAGE.write_text(f"{before}{BEGIN}\n\n{table(figures())}\n\n{END}{after}", encoding="utf-8")


def main() -> None:
    """One part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("rig", "masks", "flips", "bombs", "fuzz", "suite", "write"))
    parser.add_argument("--every", type=int, default=1, help="of rig and masks: every N-th point of the sweep")
    parser.add_argument("--minutes", type=float, default=30.0, help="of fuzz: processor time")
    given, rest = parser.parse_known_args()
    if rest and given.part != "suite":
        parser.error(f"unknown: {' '.join(rest)}")
    if given.part == "write":
        write()
        return
    found = {
        "rig": lambda: outside("rig", ["tests.engine.rig", "--every", str(given.every)]),
        "masks": lambda: outside("masks", ["tests.faults.masks", "--every", str(given.every)]),
        "fuzz": lambda: outside("fuzz", ["tests.fuzz", "--minutes", str(given.minutes)]),
        "flips": flips, "bombs": bombs, "suite": lambda: suite(rest),
    }[given.part]()  # fmt: skip
    keep(given.part, found)
    print(json.dumps(found, indent=1))
    if found["wrong"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
