"""The size of things: short functions, short files, everything public described."""

from __future__ import annotations

import ast
import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
ALL = sorted(
    path
    for name in ("src", "tests", "examples", "benchmarks", "docs", "recipes")
    for path in (ROOT / name).rglob("*.py")
)

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(path: Path) -> Iterator[Function]:
    """Every function and method of a file, nested ones too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, Function):
            yield node


def length(function: Function) -> int:
    """Lines from `def` to the end."""
    return (function.end_lineno or 0) - function.lineno + 1


def test_there_is_something_to_measure() -> None:
    assert len(SOURCES) > 30 and sum(1 for path in SOURCES for _ in functions(path)) > 200


@pytest.mark.parametrize("path", ALL, ids=lambda path: str(path.relative_to(ROOT)))
def test_file(path: Path) -> None:
    """Files have at most 350 lines, functions 80, `main` 60."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 350
    for function in functions(path):
        limit = 60 if function.name == "main" else 80
        assert length(function) <= limit, f"{path.name}:{function.lineno} {function.name}"


def test_nine_functions_of_ten_have_forty_lines_or_fewer() -> None:
    lengths = [length(function) for path in SOURCES for function in functions(path)]
    assert statistics.quantiles(lengths, n=10)[-1] <= 40


def test_examples_are_short() -> None:
    for path in (ROOT / "examples").glob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) < 60, path.name


def test_only_the_console_prints() -> None:
    """`print` and writes to the standard streams are in console.py (and in the worker that has no console)."""
    allowed = {"console.py", "worker.py"}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
                assert path.name in allowed, f"{path.relative_to(ROOT)}:{node.lineno}"


def test_nothing_unpickles_executes_or_asserts_on_input() -> None:
    """No pickle, exec, eval, or `assert` in the package."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            where = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
            assert not isinstance(node, ast.Assert), where
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in ("exec", "eval"), where
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name for alias in node.names} | {getattr(node, "module", "") or ""}
                assert not names & {"pickle", "marshal", "shelve", "dill"}, where


def test_only_the_loop_names_fabric() -> None:
    users = {path.name for path in SOURCES if "lightning_fabric" in path.read_text(encoding="utf-8")}
    assert users == {"loop.py"}


def test_rooms_never_import_rooms() -> None:
    rooms = [path for path in (ROOT / "src/decoupe/methods").iterdir() if (path / "room.py").exists()]
    assert rooms
    for room in rooms:
        for path in room.rglob("*.py"):
            for other in rooms:
                if other != room:
                    assert f"methods.{other.name}" not in path.read_text(encoding="utf-8"), path
