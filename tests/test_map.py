"""The map agrees with the land: rooms, their pages, tests, recipes, and every link."""

from __future__ import annotations

import dataclasses
import re
import sys
from pathlib import Path

import pytest

from decoupe.cli import GROUPS, VERBS
from decoupe.methods import ROOMS

ROOT = Path(__file__).resolve().parents[1]
METHODS = ROOT / "src" / "decoupe" / "methods"
PAGES = [path for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *METHODS.rglob("*.md"))]


def test_every_folder_of_a_room_is_in_the_table_and_the_reverse() -> None:
    assert {path.parent.name for path in METHODS.glob("*/room.py")} == set(ROOMS)


@pytest.mark.parametrize("name", list(ROOMS))
def test_a_room_has_its_files_and_loads(name: str) -> None:
    from decoupe.methods.room import Room

    for file in ("README.md", "config.py", "room.py"):
        assert (METHODS / name / file).is_file(), file
    entry = ROOMS[name]
    assert entry.name == name and entry.line and entry.needs and entry.gives
    assert dataclasses.is_dataclass(entry.config()) and entry.config().__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert issubclass(entry.room(), Room) and entry.room().NAME == name


@pytest.mark.parametrize("name", list(ROOMS))
def test_every_setting_of_a_room_is_described(name: str) -> None:
    """A docstring under each field: it is the help text of `decoupe fit ROOM --help`."""
    kind = ROOMS[name].config()
    files = [sys.modules[base.__module__].__file__ for base in kind.__mro__ if base.__module__.startswith("decoupe")]
    source = "\n".join(Path(str(file)).read_text(encoding="utf-8") for file in files)
    for field in dataclasses.fields(ROOMS[name].config()):
        assert re.search(rf'^    {field.name}: [^\n]+\n    """\w', source, re.M), field.name


@pytest.mark.parametrize("name", list(ROOMS))
def test_a_room_is_named_where_people_look(name: str) -> None:
    assert f"| `{name}` |" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"rooms/{name}.md" in (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert (ROOT / "tests" / "methods" / name).is_dir()


def test_a_room_page_names_functions_that_exist() -> None:
    """`file.py:function` in a room's README is there."""
    found = 0
    for name in ROOMS:
        for file, function in re.findall(r"`([\w/]+\.py):(\w+)`", (METHODS / name / "README.md").read_text("utf-8")):
            path = next((p for p in (METHODS / name / file, ROOT / "src/decoupe" / file) if p.is_file()), None)
            assert path is not None, f"{name}: {file}"
            assert re.search(rf"^\s*(def|class) {function}\b|^{function}\b", path.read_text("utf-8"), re.M), (
                f"{file}:{function}"
            )
            found += 1
    assert found > 0


def test_recipes_belong_to_rooms_and_say_how_they_were_measured() -> None:
    for path in (ROOT / "recipes").glob("*.py"):
        assert any(path.name.startswith(f"{name}_") for name in ROOMS), path.name
        head = path.read_text(encoding="utf-8")[:2000].lower()
        for word in ("command", "hardware", "score", "date"):
            assert word in head, f"{path.name}: {word}"


def test_tests_mirror_the_package() -> None:
    """Every folder of tests is a folder of the package, but for those that are about all of it."""
    for folder in (path for path in (ROOT / "tests").rglob("*") if path.is_dir()):
        relative = folder.relative_to(ROOT / "tests")
        if (
            relative.parts[0] in ("snapshots", "__pycache__", "audit", "faults", "fuzz")
            or "__pycache__" in relative.parts
        ):
            continue
        assert (ROOT / "src" / "decoupe" / relative).is_dir(), relative


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Files and images that a page links to exist; pages made by the site's hook count."""
    rooms = {f"rooms/{name}.md" for name in ROOMS}
    made = {"index.md", "cli.md", "api.md", "examples.md", "contributing.md", "changelog.md", "security.md"}
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
        if "://" in target or target.startswith("mailto:"):
            continue
        assert (page.parent / target).exists() or Path(target).name in made or target in rooms, f"{page.name}: {target}"


def test_commands_in_the_pages_exist() -> None:
    """Each `decoupe VERB` in any page is a verb, and each of its long options is known."""
    for page in PAGES:
        for words in re.findall(r"`decoupe ([a-z][^`\n]*)`", page.read_text(encoding="utf-8")):
            name = " ".join(words.split()[: 2 if words.split()[0] in GROUPS else 1])
            assert name in VERBS, f"{page.name}: decoupe {words}"


def test_the_tables_of_what_exists_agree() -> None:
    """Names that the light command line repeats are those of the modules that own them."""
    from decoupe.cli import crf, data, evaluate, segment
    from decoupe.crf.learning import WEIGHTS, WIDTHS
    from decoupe.crf.settings import PRESETS
    from decoupe.data.synthetic import KINDS
    from decoupe.evaluate.matching import MATCHINGS
    from decoupe.export import FORMATS

    assert data.KINDS == KINDS
    assert crf.FIELDS == WEIGHTS[:1] + WIDTHS[:2] + WEIGHTS[1:] + WIDTHS[2:] and set(segment.CRFS[1:]) == set(PRESETS)
    assert segment.FORMATS == tuple(FORMATS)
    assert set(evaluate.MATCHING) == set(MATCHINGS)
