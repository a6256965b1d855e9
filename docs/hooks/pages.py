"""Pages of the site that are made from what they describe, so that they cannot be out of date.

README.md -> index, the rooms' README.md -> rooms/, the table of verbs -> cli, docstrings and signatures -> api,
examples/*.py -> examples, CONTRIBUTING, CHANGELOG and SECURITY as they are.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from decoupe.cli import VERBS
from decoupe.cli import distill as distill_verb
from decoupe.cli import fit as fit_verb
from decoupe.methods import ROOMS

ROOT = Path(__file__).resolve().parents[2]
MOVED = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md", "SECURITY.md": "security.md"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    pages = {
        "index.md": site_text("README.md"),
        "cli.md": cli_page(),
        "api.md": api_page(),
        "examples.md": examples_page(),
    }
    pages |= {target: site_text(source) for source, target in MOVED.items()}
    pages["rooms/index.md"] = rooms_page()
    pages |= {f"rooms/{name}.md": room_page(name) for name in ROOMS}
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def site_text(name: str) -> str:
    """A file of the repository's root with its links turned to the site's pages."""
    text = (ROOT / name).read_text(encoding="utf-8").replace("](docs/", "](")
    for source, target in MOVED.items():
        text = text.replace(f"]({source})", f"]({target})")
    return re.sub(r"\]\(src/decoupe/methods/(\w+)/README\.md", r"](rooms/\1.md", text)


def fenced(text: str, language: str = "text") -> str:
    """`text` as a block of code."""
    return f"```{language}\n{text.rstrip()}\n```\n"


def cli_page() -> str:
    """Every verb with its help."""
    parts = [
        "# Command line\n",
        "Exit codes: 0 done, 1 failed or stopped, 2 wrong usage. Errors are one line on standard error.\n",
    ]
    for verb in VERBS.values():
        parts += [f"## decoupe {verb.name}\n", fenced(verb.parser().format_help())]
        if verb.name == "fit":
            for room in ROOMS:
                presets = ", ".join(ROOMS[room].presets()) or "none"
                parts += [f"### decoupe fit {room}\n", f"Presets: {presets}.\n", fenced(fit_verb.room_help(room))]
        if verb.name == "distill":
            parts += ["### Options of the student\n", fenced(distill_verb.student_help())]
    return "\n".join(parts)


def rooms_page() -> str:
    """The table of rooms."""
    head = [
        "# Methods\n",
        "Each method is a room of the same house: same commands, same results.\n",
        "| room | what it does | needs | gives |",
        "|---|---|---|---|",
    ]
    rows = [f"| [{e.name}]({e.name}.md) | {e.line} | {e.needs} | {e.gives} |" for e in ROOMS.values()]
    return "\n".join([*head, *rows, ""])


def room_page(name: str) -> str:
    """The room's own README; its links to source files become plain text."""
    text = (ROOT / "src" / "decoupe" / "methods" / name / "README.md").read_text(encoding="utf-8")
    text = text.replace("](../../../../docs/", "](../")
    return re.sub(r"(?<!!)\[([^\]]+)\]\((?!https?:|#)[^)]*\)", r"\1", text)


def examples_page() -> str:
    """The examples, whole."""
    parts = ["# Examples\n"]
    for path in sorted((ROOT / "examples").glob("[0-9]*.py")):
        parts += [
            f"## {path.stem[3:].replace('_', ' ').capitalize()}\n",
            fenced(path.read_text(encoding="utf-8"), "python"),
        ]
    return "\n".join(parts)


def api_page() -> str:
    """Signatures and docstrings of what `import decoupe` offers."""
    import decoupe
    from decoupe.methods import RoomEntry

    text = inspect.getdoc(decoupe) or ""
    parts = ["# Python\n", text, ""]
    for name in ("fit", "load", "segment"):
        parts += _function(f"decoupe.{name}", getattr(decoupe, name))
    for kind in (decoupe.Model, decoupe.Regions, decoupe.Instance, RoomEntry):
        parts += _class(kind)
    parts += [
        "## decoupe.ROOMS\n",
        "Name of a room -> its `RoomEntry`: " + ", ".join(f"`{name}`" for name in ROOMS) + ".\n",
    ]
    return "\n".join(parts)


def _function(title: str, function: Any, level: str = "##") -> list[str]:
    """Title, signature (one argument per line if it is long), docstring."""
    signature = re.sub(r"(: |-> )'([^']*)'", r"\1\2", str(inspect.signature(function)))
    shown = title.rsplit(".", 1)[-1] + signature
    if len(shown) > 100:
        inside, _, after = signature[1:].rpartition(")")
        arguments = re.split(r", (?![^\[(]*[\])])", inside)
        shown = title.rsplit(".", 1)[-1] + "(\n" + "".join(f"    {text},\n" for text in arguments) + ")" + after
    return [f"{level} {title}\n", fenced(shown, "python"), inspect.getdoc(function) or "", ""]


def _class(kind: type[Any]) -> list[str]:
    parts = [f"## {kind.__name__}\n", inspect.getdoc(kind) or "", ""]
    source = inspect.getsource(kind)
    fields = re.findall(r'^    (\w+): ([^\n=]+?)(?: = [^\n]+)?\n    """(.*?)"""', source, re.M | re.S)
    parts += [f"- `{name}`: `{annotation}`. {' '.join(words.split())}" for name, annotation, words in fields]
    parts.append("")
    for name, member in vars(kind).items():
        if name.startswith("_"):
            continue
        if isinstance(member, property):
            parts += [f"### {kind.__name__}.{name}\n", inspect.getdoc(member) or "", ""]
        elif inspect.isfunction(member):
            parts += _function(f"{kind.__name__}.{name}", member, "###")
    return parts
