"""Write requirements.lock: every package of this environment with its version and the hashes of its files.

    .venv/bin/python .ci/lock.py            (make lock)

torch is installed first and by itself, because which build of it fits is a matter of the machine; it is not in the
file. All others are: what is in the environment is taken, pip says which file that is and its SHA-256, and

    pip install --no-deps --require-hashes -r requirements.lock

installs these files and no others.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements.lock"
APART = ("torch", "triton", "decoupe", "pip", "setuptools", "wheel")
HEAD = f"""\
# Made by `make lock` for Python {sys.version_info.major}.{sys.version_info.minor} on {sys.platform}; torch comes first,
# by itself.
# pip install --no-deps --require-hashes -r requirements.lock
"""


def plain(name: str) -> str:
    """A name as packages are compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


def needed(roots: list[str]) -> set[str]:
    """Installed packages that `roots` (requirements) bring in, extras included where they are asked for."""
    from packaging.requirements import Requirement

    seen: set[tuple[str, str]] = set()
    waiting = [Requirement(text) for text in roots]
    found: set[str] = set()
    while waiting:
        one = waiting.pop()
        for extra in ("", *one.extras):
            if (plain(one.name), extra) in seen:
                continue
            seen.add((plain(one.name), extra))
            try:
                texts = importlib.metadata.requires(one.name) or []
            except importlib.metadata.PackageNotFoundError:
                continue
            found.add(plain(one.name))
            below = [Requirement(text) for text in texts]
            waiting += [r for r in below if r.marker is None or r.marker.evaluate({"extra": extra})]
    return found


def files(pins: list[str]) -> list[tuple[str, str, str]]:
    """(name, version, sha256) of the file that pip would install for each pin."""
    with tempfile.TemporaryDirectory() as folder:
        wanted, report = Path(folder) / "pins.txt", Path(folder) / "report.json"
        wanted.write_text("\n".join(pins))
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--no-deps"]
        subprocess.run([*command, "--report", str(report), "-r", str(wanted)], check=True)
        told = json.loads(report.read_text())["install"]
    return [
        (
            plain(one["metadata"]["name"]),
            one["metadata"]["version"],
            one["download_info"]["archive_info"]["hashes"]["sha256"],
        )
        for one in told
    ]


def kept() -> dict[tuple[str, str], str]:
    """SHA-256 by name and version, as locked before."""
    if not LOCK.exists():
        return {}
    rows = re.findall(r"^(\S+)==(\S+) --hash=sha256:([0-9a-f]{64})$", LOCK.read_text(encoding="utf-8"), re.M)
    return {(name, version): digest for name, version, digest in rows}


def stated(extras: bool) -> list[str]:
    """What pyproject.toml asks for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    more = [text for texts in project["optional-dependencies"].values() for text in texts]
    return list(project["dependencies"]) + (more if extras else [])


def main() -> None:
    """Write the file; pip is only asked about what was not in it."""
    names = sorted(name for name in needed(stated(True)) - set(APART) if not name.startswith("nvidia-"))
    wanted = {(name, importlib.metadata.version(name)) for name in names}
    known = {pair: digest for pair, digest in kept().items() if pair in wanted}
    if new := sorted(wanted - set(known)):
        known |= {(name, version): digest for name, version, digest in files([f"{n}=={v}" for n, v in new])}
    lines = [f"{name}=={version} --hash=sha256:{digest}" for (name, version), digest in sorted(known.items())]
    LOCK.write_text(HEAD + "\n".join(lines) + "\n")
    print(f"{LOCK.name}: {len(lines)} packages")


if __name__ == "__main__":
    main()
