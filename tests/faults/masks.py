"""A disk that fails under `segment`: afterwards the same line gives what it would have given, told in a line.

python -m tests.faults.masks [--every N] [--json FILE]
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

from decoupe.errors import Fault
from decoupe.export import OF_MASKS
from decoupe.segment import segment
from tests.bright import Bright
from tests.engine.rig import KINDS, Killed, Point, Rig
from tests.test_segment import digests, save

PHOTOS = 4


def attempt(photos: Path, out: Path, rig: Rig) -> str | None:
    """One segment under the rig: None if all was written, else what was told."""
    try:
        with rig.installed():
            done = segment(Bright(), photos, out, OF_MASKS)
    except Fault as fault:
        return str(fault)
    except Killed:
        return "killed"
    return None if not done["problems"] else str(done["problems"])


def points(operations: int) -> list[Point]:
    """Every operation, every kind, once and for good; and a second fault in every third recovery."""
    sweep = itertools.product(range(1, operations + 1), KINDS, (False, True))
    return [
        Point(first, kind, for_good, 1 + first % 29 if number % 3 == 0 else 0)
        for number, (first, kind, for_good) in enumerate(sweep)
        if not (kind == "killed" and for_good)
    ]


def verdict(photos: Path, out: Path, point: Point, expected: dict[str, str]) -> str:
    """What became of a segment hit at `point`: "went on", "not hit", or what went wrong."""
    rig = Rig(point.first, point.kind, point.for_good)
    told = [attempt(photos, out, rig)]
    if rig.seen < point.first:
        return "not hit"
    if point.second:
        told.append(attempt(photos, out, Rig(point.second, point.kind, False)))
    if any(one is not None and ("\n" in one or "Traceback" in one) for one in told):
        return f"told in more than a line: {told}"
    last = attempt(photos, out, Rig())
    if last is not None:
        return f"lost: {last}"
    return "went on" if digests(out) == expected else "a silent wrong result"


def main() -> None:
    """Run the sweep, print what became of it, and fail if something was lost or wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    found: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        for number in range(PHOTOS):
            save(home / "photos" / f"{number}.png", number, (24 + number, 24))
        rig = Rig()
        if (told := attempt(home / "photos", home / "straight", rig)) is not None:
            raise SystemExit(told)
        expected = digests(home / "straight")
        for point in points(rig.seen)[:: given.every]:
            told = verdict(home / "photos", home / "out", point, expected)
            found[told if told in ("went on", "not hit") else f"{point}: {told}"] += 1
            shutil.rmtree(home / "out", ignore_errors=True)
    for told, count in found.most_common():
        print(f"{count:6d}  {told}", flush=True)
    if given.json:
        given.json.write_text(json.dumps({"operations": rig.seen, "found": dict(found)}, indent=1))
    if set(found) - {"went on", "not hit"}:
        sys.exit(1)


if __name__ == "__main__":
    main()
