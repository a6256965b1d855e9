"""One table from its runs to its report: `reproduce` is what `decoupe reproduce TABLE` does."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from decoupe.data.catalogue import Dataset, open_dataset
from decoupe.engine.files import dump_json, write_atomic
from decoupe.engine.progress import Reporter, Silent
from decoupe.engine.runfolder import Run
from decoupe.errors import Interrupted, UsageFault
from decoupe.evaluate.measure import Task, open_task
from decoupe.reproduce import TABLES, scores
from decoupe.reproduce.runs import Fitting, training_images
from decoupe.reproduce.table import SCALES, Row, Rows, Table

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
    curves: list[dict[str, Any]]
    """Curves for the report; `remember` adds to them."""
    shared: dict[str, Any] = field(default_factory=dict)
    """Kept from row to row of one table; "about" = a sentence on what they are measured on, where rows say it."""
    seen: int = 0
    """Images seen by the last run."""

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
    folder = Path(out) if out is not None else Path("runs/reproduce") / scale
    words = command or _command(chosen.name, data, scale, out, seeds, images_seen)
    dataset, task = open_dataset(data), open_task(data, chosen.protocol, None)
    fitting = Fitting(folder, scale, training_images(dataset), images_seen, reporter or Silent())
    results, curves, about = _measure(chosen, task, dataset, fitting, counting, seeds, words)
    content = _content(chosen, results, curves, task, fitting, words) | about
    _write(folder, chosen, content)
    return content


def _table(table: str | Table) -> Table:
    if isinstance(table, Table):
        return table
    if table not in TABLES:
        raise UsageFault("a table", repr(table), "see decoupe reproduce --list")
    return TABLES[table]


def _command(table: str, data: str, scale: str, out: Any, seeds: int | None, images_seen: int | None) -> str:
    given = {"--scale": scale, "--out": out, "--seeds": seeds, "--images-seen": images_seen}
    parts = [part for flag, value in given.items() if value is not None for part in (flag, str(value))]
    return shlex.join(["decoupe", "reproduce", table, "--data", data, *parts])


def _measure(
    table: Table, task: Task, dataset: Dataset, fitting: Fitting, counting: Counting, seeds: int | None, command: str
) -> tuple[Rows, list[dict[str, Any]], dict[str, str]]:
    """Result rows, curves, and {"about": ...} where rows say it themselves.

    Interrupted, with the command that goes on, after Ctrl-C.
    """
    results: Rows = []
    curves: list[dict[str, Any]] = []
    shared: dict[str, Any] = {}
    seen = 0
    for row in table.rows:
        context = Context(
            table, row, task, dataset, fitting, fitting.out / "scores", counting, seeds or row.seeds, curves, shared
        )
        try:
            results += row.measure(context)
        except Interrupted as stop:
            raise Interrupted(stop.images, command) from None
        except KeyboardInterrupt:
            raise Interrupted(context.seen or seen, command) from None
        seen = context.seen or seen
    return results, curves, {"about": shared["about"]} if "about" in shared else {}


def _content(
    table: Table, results: Rows, curves: list[dict[str, Any]], task: Task, fitting: Fitting, command: str
) -> dict[str, Any]:
    by_row: Mapping[str, Rows] = {row.name: [r for r in results if r["row"] == row.name] for row in table.rows}
    return {
        "results": results,
        "table": table.name,
        "line": table.line,
        "source": table.source,
        "columns": list(table.columns),
        "scale": fitting.scale,
        "claims": [{"claim": claim.words, "holds": claim.check(by_row)} for claim in table.claims],
        "data": task.data,
        "protocol": task.protocol.name,
        "split": task.split,
        "about": f"scored on {len(task.samples):,} images ({task.split}); {task.about}",
        "trained_on": fitting.images.words,
        "images_seen": fitting.images_seen,
        "curves": curves,
        "command": command,
        "date": date.today().isoformat(),
    }


def _write(folder: Path, table: Table, content: Mapping[str, Any]) -> None:
    from decoupe.report.study import page

    pictures = {curve["run"]: folder / "scores" / f"{curve['run']}.jpg" for curve in content["curves"]}
    masks = {name: place.read_bytes() for name, place in pictures.items() if place.is_file()}
    write_atomic(folder / table.name / "results.json", dump_json(content))
    write_atomic(folder / table.name / "report.html", page(content, masks).encode())
