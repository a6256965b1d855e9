"""Write a software bill of materials (CycloneDX 1.6, JSON) of what decoupe brings with it.

    python .ci/sbom.py [FILE]            (make sbom)

Components are the installed packages that `decoupe` needs, with the versions that are here, their licences, and the
SHA-256 of the file that requirements.lock names; dependencies are those that their metadata state. Nothing of the
machine is in it, and no time and no random number: the same environment gives the same file.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
import uuid
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / ".ci"))

from lock import kept, needed, plain, stated  # noqa: E402  a neighbour, not a package


def licences(about: Any) -> list[dict[str, Any]]:
    """What a package says of its licence: an SPDX expression, else its words, else its classifiers."""
    if expression := about.get("License-Expression"):
        return [{"expression": expression}]
    words = (about.get("License") or "").strip().splitlines()
    kinds = [c.rpartition(" :: ")[2] for c in about.get_all("Classifier") or [] if c.startswith("License ::")]
    name = words[0][:120] if words and words[0] else next(iter(kinds), "")
    return [{"license": {"name": name}}] if name else []


def reference(name: str, version: str) -> str:
    """The package URL."""
    return f"pkg:pypi/{name}@{version.partition('+')[0]}"


def component(name: str, locked: dict[tuple[str, str], str]) -> dict[str, Any]:
    """One installed package."""
    about = importlib.metadata.metadata(name)
    version = about["Version"]
    url = reference(name, version)
    made: dict[str, Any] = {"type": "library", "bom-ref": url, "name": name, "version": version, "purl": url}
    if given := licences(about):
        made["licenses"] = given
    if digest := locked.get((name, version)):
        made["hashes"] = [{"alg": "SHA-256", "content": digest}]
    return made


def bill() -> dict[str, Any]:
    """The whole document."""
    names = sorted(needed(stated(False)))
    locked = kept()
    parts = [component(name, locked) for name in names]
    refs = {part["name"]: part["bom-ref"] for part in parts}
    own = importlib.metadata.version("decoupe")
    root = {"type": "application", "bom-ref": reference("decoupe", own), "name": "decoupe", "version": own,
            "purl": reference("decoupe", own), "licenses": [{"license": {"id": "Apache-2.0"}}]}  # fmt: skip
    direct = {plain(name): ref for name, ref in refs.items()}
    edges = [{"ref": root["bom-ref"], "dependsOn": below(stated(False), direct)}]
    edges += [
        {"ref": refs[name], "dependsOn": below(importlib.metadata.requires(name) or [], direct)} for name in names
    ]
    serial = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps([root, parts], sort_keys=True))
    return {
        "bomFormat": "CycloneDX", "specVersion": "1.6", "serialNumber": f"urn:uuid:{serial}", "version": 1,
        "metadata": {"component": root}, "components": parts, "dependencies": edges,
    }  # fmt: skip


def below(texts: list[str], refs: dict[str, str]) -> list[str]:
    """References of what is needed directly."""
    from packaging.requirements import Requirement

    stated = [Requirement(text) for text in texts]
    wanted = {plain(one.name) for one in stated if one.marker is None or one.marker.evaluate({"extra": ""})}
    return sorted(refs[one] for one in wanted if one in refs)


def main() -> None:
    """Print the document, or write it."""
    text = json.dumps(bill(), indent=1) + "\n"
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
