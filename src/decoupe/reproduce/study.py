"""One table from its runs to its report: `reproduce` is what `decoupe reproduce TABLE` does."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

from decoupe.data.catalogue import Dataset, open_dataset
from decoupe.engine.files import dump_json, write_atomic
from decoupe.engine.progress import Reporter, Silent
from decoupe.engine.runfolder import Run
from decoupe.errors import Interrupted, UsageFault
from decoupe.evaluate.measure import Task, open_task
from decoupe.methods import ROOMS
from decoupe.reproduce import TABLES, scores
from decoupe.reproduce.runs import Fitting, training_images
from decoupe.reproduce.settings import length, original, settings
from decoupe.reproduce.table import SCALES, Row, Rows, Spread, Table, fit_and_score

Progress = Callable[[int, int], None]
Counting = Callable[[str], AbstractContextManager[Progress]]


@contextlib.contextmanager
def _uncounted(label: str) -> Any:
    yield lambda done, total: None


@dataclass
class Context:
    """What a row's `measure` may use."""

    table: Table
    row: Row
    task: Task
    """The labelled images on which runs are scored."""
    dataset: Dataset
    fitting: Fitting
    cache: Path
    """A folder of the study for what is costly to measure twice."""
    counting: Counting
    seeds: int
    """Runs of each variant."""
    labelled: int
    """Images that get a label, where rows ask nearest neighbours."""
    curves: list[dict[str, Any]]
    """Curves for the report; `remember` adds to them."""
    shared: dict[str, Any] = field(default_factory=dict)
    """Kept from row to row of one table; "about" = a sentence on what they are measured on, where rows say it."""
    seen: int = 0
    """Images seen by the last run."""
    given: Mapping[str, Any] = field(default_factory=dict)
    """What the command names beside the data, where rows need it: `photos`, `tags`, `weights`."""

    def fit(self) -> list[Run]:
        """The finished runs of the row's variants, one per seed: found, resumed, or fitted now."""
        return [self._one(number, seed) for number in range(len(self.row.variants)) for seed in range(self.seeds)]

    def _one(self, number: int, seed: int) -> Run:
        self.fitting.reporter.note(f"{self.table.name} · {self.row.name} · seed {seed} ({seed + 1} of {self.seeds})")
        run = self.fitting.run(self.row.variants[number], seed)
        self.seen = int(run.info.get("images_seen", 0))
        return run

    def score(self, run: Run) -> scores.Score:
        """Every snapshot of a run on the task."""
        total, done = len(self.task.samples) * len(run.candidates()), 0
        with self.counting("score") as progress:

            def tick() -> None:
                nonlocal done
                done += 1
                progress(done, total)

            return scores.score(run, self.task, self.cache, tick)

    def remember(self, runs: list[Run], scored: list[scores.Score]) -> None:
        """Show these runs in the report."""
        found = scores.curves(runs, scored)
        self.curves.extend({"row": self.row.name, "short": self.row.short} | curve for curve in found)


def reproduce(
    table: str | Table,
    data: str | None,
    *,
    scale: str = "cpu",
    out: str | Path | None = None,
    seeds: int | None = None,
    images_seen: int | None = None,
    size: int | None = None,
    labelled: int | None = None,
    protocol: str | None = None,
    given: Mapping[str, Any] | None = None,
    command: str | None = None,
    reporter: Reporter | None = None,
    counting: Counting = _uncounted,
) -> dict[str, Any]:
    """Fit and measure a table's rows; write OUT/<table>/results.json and report.html; return the JSON content.

    Args:
        table: a name of `TABLES`, or a table of your own.
        data: NAME:PATH of labelled images; runs are trained on its images without the val and test splits.
        scale: a name of `SCALES`.
        out: the study's folder (default runs/reproduce/<scale>); tables in one folder share their runs.
        seeds: runs of each variant; None = as many as each row of the table has.
        images_seen: length of each run; None = that of the scale's preset.
        size: side of the images in pixels; None = that of the scale's preset.
        labelled: images that get a label, in tables of nearest neighbours; None = the table's own number.
        protocol: a name of `PROTOCOLS`; None = the table's, else the layout's.
        given: {"photos", "tags", "weights"} for tables of rooms that learn from tags: other photos to train on, their
            tags, and the weights to begin with; {"weights"} for a table that looks through a network: NAME:FILE.
        command: what to say after Ctrl-C; default: the command line of these arguments.
        reporter: told of training; counting: makes a progress display for scoring.

    Raises:
        UsageFault: no such table or scale, no data. Fault: data that cannot be used.
        Interrupted: after Ctrl-C; the same call goes on with the run it was in.
    """
    chosen = _table(table)
    if scale not in SCALES:
        raise UsageFault(f"--scale {'|'.join(SCALES)}", repr(scale), "choose one of these")
    if data is None:
        raise UsageFault(
            "--data NAME:PATH",
            "none",
            "give --data flowers17:PATH or flowers102:PATH, or synth:PATH of built-in images",
        )
    if labelled is not None and chosen.labelled is None:
        with_labels = ", ".join(name for name, one in TABLES.items() if one.labelled is not None)
        raise UsageFault(f"--labelled with {with_labels}", chosen.name, "leave it out: no image gets a label there")
    chosen = _given(chosen, given or {})
    folder = Path(out) if out is not None else Path("runs/reproduce") / scale
    words = command or command_line(
        chosen.name, data,
        scale=scale, out=out, seeds=seeds, images_seen=images_seen, size=size, labelled=labelled, protocol=protocol,
        **(given or {}),
    )  # fmt: skip
    dataset, task = open_dataset(data), open_task(data, protocol or chosen.protocol, None)
    fitting = Fitting(folder, scale, training_images(dataset), images_seen, reporter or Silent(), size)
    context = Context(
        chosen,
        chosen.rows[0],
        task,
        dataset,
        fitting,
        folder / "scores",
        counting,
        1,
        labelled or chosen.labelled or 0,
        [],
        given=dict(given or {}),
    )
    results, spread = _measure(context, seeds, words)
    content = _content(context, results, spread, words)
    _write(folder, chosen, content)
    return content


def _table(table: str | Table) -> Table:
    if isinstance(table, Table):
        return table
    if table not in TABLES:
        raise UsageFault("a table", repr(table), "see decoupe reproduce --list")
    return TABLES[table]


def _given(table: Table, given: Mapping[str, Any]) -> Table:
    """The table with the network it looks through. UsageFault on photos, tags or weights that it has no use for."""
    rooms = {variant.room for row in table.rows for variant in row.variants}
    if table.wants_network:
        if set(given) != {"weights"}:
            raise UsageFault(
                f"--weights NAME:FILE alone with {table.name}",
                ", ".join(given) or "none",
                "give the network that it looks through: mobilenet_v2:FILE, resnet50:FILE, ...",
            )
        return table.through(str(given["weights"]))
    if given and not any(ROOMS[room].wants_tags for room in rooms if room in ROOMS):
        flags = ", ".join(f"--{name}" for name in given)
        raise UsageFault(f"a table of tags with {flags}", table.name, "leave these out")
    if "photos" in given and "tags" not in given:
        raise UsageFault("--tags FILE with --photos", "none", "give the tags of these photos")
    return table


def command_line(table: str, data: str, **given: Any) -> str:
    """What to type for these arguments; those that are None are left out."""
    flags = {f"--{name.replace('_', '-')}": value for name, value in given.items() if value is not None}
    parts = [part for flag, value in flags.items() for part in (flag, str(value))]
    return shlex.join(["decoupe", "reproduce", table, "--data", data, *parts])


def _measure(whole: Context, seeds: int | None, command: str) -> tuple[Rows, Spread]:
    """Result rows, and how much the first row's runs differ over seeds.

    Interrupted, with the command that goes on, after Ctrl-C.
    """
    results: Rows = []
    spread: Spread = {}
    seen = 0
    for row in whole.table.rows:
        context = replace(whole, row=row, seeds=seeds or row.seeds)
        try:
            found = row.measure(context)
            if row is whole.table.rows[0] and row.measure is fit_and_score:
                spread = scores.spread_over_seeds(context)
        except Interrupted as stop:
            raise Interrupted(stop.images, command) from None
        except KeyboardInterrupt:
            raise Interrupted(context.seen or seen, command) from None
        results += [one | {"settings": settings(whole.table, row, whole.fitting)} for one in found]
        seen = context.seen or seen
    return results, spread


def _claims(table: Table, results: Rows, spread: Spread, lasted: str) -> list[dict[str, Any]]:
    by_row: Mapping[str, Rows] = {row.name: [r for r in results if r["row"] == row.name] for row in table.rows}
    found = []
    for claim in table.claims:
        verdict = claim.check(by_row, spread)
        why = f"{verdict.why}; {lasted}" if verdict.collapse and lasted else verdict.why
        found.append({"claim": claim.words, "holds": verdict.holds, "why": why})
    return found


def _content(context: Context, results: Rows, spread: Spread, command: str) -> dict[str, Any]:
    table, task, fitting = context.table, context.task, context.fitting
    took = length(table, fitting)
    about = f"scored on {len(task.samples):,} images ({task.split}); {task.about}"
    return {
        "results": results,
        "table": table.name,
        "line": table.line,
        "source": table.source,
        "columns": list(table.columns),
        "scale": fitting.scale,
        "claims": _claims(table, results, spread, took["steps_words"]),
        "spread": {name: {"deviation": deviation, "runs": runs} for name, (deviation, runs) in spread.items()},
        "config": original(table, fitting),
        "data": task.data,
        "protocol": task.protocol.name,
        "split": task.split,
        "about": context.shared.get("about", about),
        "trained_on": context.shared.get("trained_on", fitting.images.words),
        "images_seen": took["images_seen"],
        "length": took,
        "curves": context.curves,
        "command": command,
        "date": date.today().isoformat(),
    }


def _write(folder: Path, table: Table, content: Mapping[str, Any]) -> None:
    from decoupe.report.study import page

    pictures = {curve["run"]: folder / "scores" / f"{curve['run']}.jpg" for curve in content["curves"]}
    masks = {name: place.read_bytes() for name, place in pictures.items() if place.is_file()}
    write_atomic(folder / table.name / "results.json", dump_json(content))
    write_atomic(folder / table.name / "report.html", page(content, masks).encode())
