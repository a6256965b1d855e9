"""What an installation brings with it, and what it must not."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
UNWANTED = ("torchvision", "opencv-python", "opencv-python-headless", "matplotlib", "lightning", "pytorch-lightning")
MODULES = ("torchvision", "cv2", "matplotlib", "lightning", "pytorch_lightning")


def closure(requirements: list[str]) -> set[str]:
    """Names of everything that `requirements` bring in here, extras left out."""
    seen: set[str] = set()
    waiting = list(requirements)
    while waiting:
        text = waiting.pop()
        if "extra ==" in text:
            continue
        name = re.split(r"[\s;<>=!~\[(]", text, maxsplit=1)[0].lower().replace("_", "-")
        if name in seen:
            continue
        seen.add(name)
        try:
            waiting += importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
    return seen


def test_we_install_neither_torchvision_nor_opencv_nor_matplotlib() -> None:
    ours = closure(PROJECT["dependencies"])
    assert {"torch", "numpy", "jinja2", "typing-extensions"} <= ours, "the closure was not followed"
    assert not ours & set(UNWANTED)
    everything = closure(
        PROJECT["dependencies"] + [r for extra in PROJECT["optional-dependencies"].values() for r in extra]
    )
    assert "pytest" in everything and not everything & set(UNWANTED)


@pytest.mark.parametrize("module", MODULES)
def test_it_is_not_here_either(module: str) -> None:
    """The environment that `make test` prepares holds what we install and nothing else."""
    assert importlib.util.find_spec(module) is None


def test_scikit_learn_is_for_tests_only() -> None:
    assert "scikit-learn" not in closure(PROJECT["dependencies"])
    for path in (ROOT / "src").rglob("*.py"):
        text = path.read_text("utf-8")
        if path.name == "estimator.py":  # `__sklearn_tags__` is only ever called by scikit-learn itself
            before, _, asked = text.partition("    def __sklearn_tags__(self)")
            text = before + asked.replace("        from sklearn.utils import InputTags, Tags, TargetTags", "", 1)
        assert not re.search(r"^\s*(import|from) (sklearn|cv2|torchvision|matplotlib)\b", text, re.M), path


def test_versions_agree() -> None:
    import decoupe

    assert decoupe.__version__ == PROJECT["version"] == importlib.metadata.version("decoupe")


def test_floors_that_matter_for_safety() -> None:
    wanted = " ".join(PROJECT["dependencies"])
    assert "torch>=2.10" in wanted and "!=2.6.2,!=2.6.3" in wanted


@pytest.mark.slow
def test_public_names_are_functions_even_when_their_modules_were_imported_first() -> None:
    code = (
        "import decoupe.fit, decoupe.segment, decoupe.model\n"
        "import decoupe\n"
        "assert callable(decoupe.fit) and callable(decoupe.segment) and callable(decoupe.load)\n"
        "from decoupe import fit, segment, load, Regions, ROOMS\n"
        "assert callable(fit) and callable(segment) and 'independence' in ROOMS\n"
        "assert set(decoupe.__all__) <= set(dir(decoupe))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_import_is_light_and_unknown_names_are_attribute_errors() -> None:
    code = (
        "import sys, decoupe\n"
        "assert not {'torch', 'numpy'} & set(sys.modules)\n"
        "try:\n    decoupe.train\n"
        "except AttributeError as e:\n    assert 'train' in str(e)\n"
        "else:\n    raise SystemExit(1)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_package_is_marked_as_typed_and_licensed() -> None:
    assert (ROOT / "src/decoupe/py.typed").is_file()
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8") and PROJECT["license"] == "Apache-2.0"


def test_no_file_names_a_package_registry_or_a_machine() -> None:
    """Installing is left to pip's own settings; nothing leads to one person's machine."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    words = re.compile(r"\b(index-url|pypi\.org|files\.pythonhosted|download\.pytorch\.org|/home/\w+/|/opt/wheels)")
    for name in done.stdout.split("\0"):
        path = ROOT / name
        if (
            name
            and path.suffix in (".py", ".md", ".toml", ".yml", ".yaml", "")
            and path.is_file()
            and path != Path(__file__)
        ):
            assert not words.search(path.read_text(encoding="utf-8", errors="replace")), name


@pytest.mark.slow
def test_a_wheel_holds_everything_that_is_read_at_run_time(tmp_path: Path) -> None:
    """Templates, the typing marker and the rooms' pages are inside."""
    import zipfile

    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "-w", str(tmp_path), str(ROOT)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    names = set(zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist())
    wanted = {
        str(path.relative_to(ROOT / "src"))
        for path in (ROOT / "src").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert "decoupe/py.typed" in wanted and wanted <= names
