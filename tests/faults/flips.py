"""Single bits of a finished run, flipped one at a time: all must be found."""

from __future__ import annotations

from pathlib import Path
from random import Random

from decoupe.engine.runfolder import Run
from decoupe.errors import Fault


def flips(folder: Path, count: int = 10_000, seed: int = 0) -> dict[str, object]:
    """Flip `count` random bits of the files that a run consists of; what `Run.open` and `Run.verify` do not find."""
    random, run = Random(seed), Run.open(folder)
    names = [*sorted(run.info["files"]), "run.json"]
    whole = {name: (folder / name).read_bytes() for name in names}
    missed = []
    for number in range(count):
        name = names[number % len(names)]
        data, bit = bytearray(whole[name]), random.randrange(8 * len(whole[name]))
        data[bit // 8] ^= 1 << bit % 8
        (folder / name).write_bytes(data)
        try:
            opened = Run.open(folder)
            if name != "run.json":
                opened.verify(name)
            missed.append(f"{name}, bit {bit}")
        except Fault as fault:
            if "\n" in str(fault):
                missed.append(f"{name}: more than a line")
        (folder / name).write_bytes(whole[name])
    return {"flips": count, "found": count - len(missed), "files": len(names), "wrong": missed[:20]}
