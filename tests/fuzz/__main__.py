"""python -m tests.fuzz [--minutes N | --seconds N] [--seed N] [--found DIR] [--json FILE] [DOOR ...]"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import warnings
from pathlib import Path


def main() -> None:
    """Fuzz, print the table, and end with 1 if anything was found."""
    from tests.fuzz.doors import DOORS
    from tests.fuzz.harness import Tally, as_json, drill, report

    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Damaged files through every door.")
    parser.add_argument("doors", nargs="*", metavar="DOOR", help=f"{', '.join(DOORS)} (default: all)")
    parser.add_argument("--minutes", type=float, default=5.0, help="of processor time, all doors together")
    parser.add_argument("--seconds", type=float, help="of processor time for each door, instead of --minutes")
    parser.add_argument("--seed", type=int, default=0, help="the same seed damages in the same way")
    parser.add_argument("--found", type=Path, help="folder for inputs that something is wrong with")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if unknown := set(given.doors) - set(DOORS):
        parser.error(f"no door {', '.join(sorted(unknown))}")
    doors = given.doors or list(DOORS)
    warnings.simplefilter("ignore")
    tallies: dict[str, Tally] = {}
    with tempfile.TemporaryDirectory(prefix="decoupe-fuzz-") as name:
        home = given.found or Path(name)
        home.mkdir(parents=True, exist_ok=True)
        for door in doors:
            tallies[door] = drill(door, home, given.seed, given.seconds or 60 * given.minutes / len(doors))
            print(report({door: tallies[door]}), file=sys.stderr, flush=True)
    print(report(tallies))
    if given.json:
        given.json.write_text(json.dumps({"seed": given.seed, "doors": as_json(tallies)}, indent=1))
    if any(tally.findings for tally in tallies.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
