"""What is installed is locked and listed, and nothing is asked of the network that nobody asked for."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from tests.test_packaging import PROJECT, ROOT

APART = {"torch", "triton", "decoupe"}
ROW = re.compile(r"([a-z0-9-]+)==(\S+) --hash=sha256:([0-9a-f]{64})")


@pytest.fixture(scope="module")
def locked() -> dict[str, str]:
    """Versions by name; every line but the remarks is a package with a hash."""
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    rows = [ROW.fullmatch(line) for line in lines if not line.startswith("#")]
    assert all(rows) and len(rows) > 60
    found = {row[1]: row[2] for row in rows if row}
    assert len(found) == len(rows) == len({row[3] for row in rows if row})
    return found


def test_everything_we_name_is_locked_in_a_version_that_we_allow(locked: dict[str, str]) -> None:
    extras = [text for name, texts in PROJECT["optional-dependencies"].items() for text in texts]
    for text in PROJECT["dependencies"] + extras:
        one = Requirement(text)
        name = re.sub(r"[-_.]+", "-", one.name).lower()
        if name not in APART:
            assert one.specifier.contains(locked[name]), text
    assert not APART & set(locked) and not any(name.startswith("nvidia") for name in locked)


def test_hashes_are_of_the_form_that_pip_checks(tmp_path: Path) -> None:
    """pip itself reads the file; without an index it stops at the first package, and not at the file's form."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-deps", "--require-hashes", "--no-index"]
    done = subprocess.run(
        [*command, "--isolated", "--ignore-installed", "-r", str(ROOT / "requirements.lock")],
        capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert "No matching distribution found" in done.stderr and "hash" not in done.stderr.lower()


@pytest.fixture(scope="module")
def bill(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The document, written twice."""
    places = [tmp_path_factory.mktemp("bill") / f"{turn}.json" for turn in range(2)]
    for place in places:
        subprocess.run([sys.executable, ".ci/sbom.py", str(place)], cwd=ROOT, check=True)
    assert places[0].read_bytes() == places[1].read_bytes()
    return dict(json.loads(places[0].read_bytes()))


def test_the_bill_of_materials_has_the_fields_of_cyclonedx(bill: dict[str, Any]) -> None:
    """The required fields of bom-1.6.schema.json, and the forms it prescribes."""
    assert bill["bomFormat"] == "CycloneDX" and bill["specVersion"] == "1.6" and bill["version"] == 1
    assert re.fullmatch(r"urn:uuid:[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}", bill["serialNumber"])
    assert set(bill) == {
        "bomFormat", "specVersion", "serialNumber", "version", "metadata", "components", "dependencies",
    }  # fmt: skip
    every = [bill["metadata"]["component"], *bill["components"]]
    for one in every:
        assert one["type"] in ("library", "application") and one["name"] and one["version"]
        assert re.fullmatch(r"pkg:pypi/[a-z0-9-]+@[^@+\s]+", one["purl"])
        assert set(one) <= {"type", "bom-ref", "name", "version", "purl", "licenses", "hashes"}
        for licence in one.get("licenses", []):
            assert set(licence) in ({"expression"}, {"license"})
        for digest in one.get("hashes", []):
            assert digest["alg"] == "SHA-256" and re.fullmatch("[0-9a-f]{64}", digest["content"])
    refs = [one["bom-ref"] for one in every]
    assert len(set(refs)) == len(refs)
    assert {edge["ref"] for edge in bill["dependencies"]} == set(refs)
    assert all(below in refs for edge in bill["dependencies"] for below in edge["dependsOn"])


def test_the_bill_holds_what_an_installation_brings(bill: dict[str, Any], locked: dict[str, str]) -> None:
    from tests.test_packaging import closure

    names = {one["name"] for one in bill["components"]}
    assert {"torch", "numpy", "pillow", "lightning-fabric", "markupsafe"} <= names
    assert "pytest" not in names and "decoupe" not in names
    assert names <= {re.sub(r"[-_.]+", "-", name) for name in closure(["decoupe"])} | names & set(locked)
    licensed = [one for one in bill["components"] if one.get("licenses")]
    assert len(licensed) >= 0.9 * len(bill["components"])
    own = next(edge for edge in bill["dependencies"] if edge["ref"].startswith("pkg:pypi/decoupe@"))
    assert len(own["dependsOn"]) == len(PROJECT["dependencies"])


SILENT = """
import sys
asked = []
def hook(event, arguments):
    if event in ("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.gethostbyname", "urllib.Request"):
        asked.append((event, arguments[1:] if event.startswith("socket") else arguments))
sys.addaudithook(hook)
from decoupe.cli import main
photos, folder, options = sys.argv[1], sys.argv[2], sys.argv[3:]
lines = (
    ["fit", "baselines", "--images", photos + "/images", "--run", folder + "/run", *options],
    ["segment", folder + "/run", photos + "/images", "--out", folder + "/masks", "--format", "png,coco,csv"],
    ["evaluate", folder + "/run", "--data", "synth:" + photos], ["report", folder + "/run"], ["methods"], ["doctor"],
)
for line in lines:
    assert main(line) == 0, line
print("asked:", asked)
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_usual_way_asks_nothing_of_the_network(synth: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", SILENT, str(synth), str(tmp_path), "--kind", "otsu", "--size", "32"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=550)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "asked: []"
