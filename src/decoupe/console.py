"""The one place that prints. Results go to standard output, progress and trouble to standard error.

On a terminal progress is a bar; otherwise a plain line every few seconds. Text from outside (file names, region names,
names in a run) is cleaned of control characters and never read as markup.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from decoupe.engine.progress import Reporter

PLAIN_EVERY_S = 5.0
"""Seconds between plain progress lines."""


def clean(text: object) -> str:
    """`text` on one line without control, format or surrogate characters (no escape sequence survives)."""
    kept = (c if unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp") else " " for c in str(text))
    return "".join(kept)


def following(*words: object, note: str = "") -> None:
    """The command to type next, quoted for a shell, and a remark."""
    line(f"next   {shlex.join(['decoupe', *map(str, words)])}{note and f' ({note})'}")


def line(text: object = "", to: TextIO | None = None) -> None:
    """Print one line of results; characters the terminal cannot show become `?`."""
    stream = sys.stdout if to is None else to
    shown = clean(text).rstrip()
    try:
        stream.write(shown + "\n")
    except UnicodeEncodeError:
        encoding = stream.encoding or "ascii"
        stream.write(shown.encode(encoding, "replace").decode(encoding) + "\n")
    stream.flush()


def error(text: object) -> None:
    """Print one `error: ...` line to standard error."""
    with contextlib.suppress(OSError, ValueError):
        line(f"error: {text}", sys.stderr)


def raw(text: str) -> None:
    """Print a text of several lines that decoupe itself made (help, tables)."""
    for part in text.splitlines():
        line(part)


def table(rows: Sequence[Sequence[object]], indent: int = 2) -> None:
    """Print `rows` in columns; numbers are aligned as they come, the last column is ragged."""
    cells = [[clean(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in cells if i < len(row)) for i in range(max(map(len, cells), default=0))]
    for row in cells:
        padded = [cell.ljust(widths[i]) for i, cell in enumerate(row)]
        line(" " * indent + "  ".join(padded))


def score_table(rows: Sequence[Mapping[str, Any]], titles: Sequence[str], corner: str) -> list[tuple[str, ...]]:
    """One line per row: object IoU with its interval, accuracy, mean IoU, and how regions were matched."""
    lines: list[tuple[str, ...]] = [(corner, "IoU", "95 % interval", "accuracy", "mIoU", "matched")]
    for row, title in zip(rows, titles, strict=True):
        metrics = row["metrics"]
        note = " (uses labels)" if row.get("uses_labels") else ""
        cells = (metrics.get("iou"), interval(row.get("interval")), metrics.get("accuracy"), metrics.get("miou"))
        texts = [cell if isinstance(cell, str) else share(cell) for cell in cells]
        lines.append((title + note, *texts, str(row.get("matching", ""))))
    return lines


def share(value: Any) -> str:
    """.83 as printed in tables; empty where there is none."""
    return "" if value is None else f"{float(value):.3f}".removeprefix("0")


def interval(scores: Mapping[str, Any] | None) -> str:
    """`.810 - .850`: the interval of the object's IoU, else of mIoU; empty where there is none."""
    pair = next((scores[name] for name in ("iou", "miou") if name in scores), None) if scores else None
    return "" if pair is None or None in pair else f"{share(pair[0])} - {share(pair[1])}"


def clock(seconds: float | None) -> str:
    """`0:31`, `12:05`, `1:02:40`; empty for None."""
    if seconds is None:
        return ""
    whole = max(0, round(seconds))
    hours, minutes = whole // 3600, whole % 3600 // 60
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


def is_terminal() -> bool:
    """Whether standard error is a terminal that can redraw a line."""
    return sys.stderr.isatty() and os.environ.get("TERM", "") not in ("", "dumb")


def reporter() -> Reporter:
    """Progress of training: a bar on a terminal, plain lines otherwise."""
    return Bars() if is_terminal() else Plain()


def _scalars(scalars: Mapping[str, float], areas: Sequence[float] | None) -> str:
    parts = [f"{name} {value:.3g}" for name, value in scalars.items()]
    if areas:
        parts.append("areas " + "/".join(f"{100 * area:.0f}" for area in areas) + " %")
    return "  ".join(parts)


class Plain:
    """A `Reporter` for logs and pipes: a line every few seconds, nothing that redraws."""

    def __init__(self, every_s: float = PLAIN_EVERY_S, now: Callable[[], float] = time.monotonic) -> None:
        self._every, self._now = every_s, now
        self._name, self._start, self._last = "", now(), now()
        self._total: int | None = None

    def header(self, *lines: str) -> None:
        """What runs, on what, where it is written."""
        for text in lines:
            line(text, sys.stderr)

    def stage(self, name: str, total_images: int | None, minutes: float | None) -> None:
        """A stage begins."""
        self._name, self._total, self._start, self._last = name, total_images, self._now(), self._now()
        limits = [f"{total_images:,} images" if total_images else "", f"{minutes:.1f} minutes" if minutes else ""]
        line(f"  {name}: {' or '.join(part for part in limits if part) or 'to its end'}", sys.stderr)

    def update(
        self,
        images: int,
        images_per_s: float,
        eta_s: float | None,
        scalars: Mapping[str, float],
        areas: Sequence[float] | None = None,
    ) -> None:
        """Progress, at most every few seconds."""
        if self._now() - self._last < self._every:
            return
        self._last = self._now()
        share = _share(images, self._total, self._now() - self._start, eta_s)
        left = f"{clock(eta_s)} left" if eta_s is not None else ""
        parts = (f"{share:4.0%}", f"{images:,} images", f"{images_per_s:.0f} images/s", left, _scalars(scalars, areas))
        line(f"  {self._name:<9} " + "  ".join(part for part in parts if part), sys.stderr)

    def note(self, text: str) -> None:
        """Something worth knowing."""
        line(f"  {text}", sys.stderr)

    def warn(self, text: str) -> None:
        """Something that went wrong and was dealt with."""
        line(f"! {text}", sys.stderr)

    def done(self, summary: str) -> None:
        """The last line."""
        line(f"  {summary}", sys.stderr)


def _share(images: int, total: int | None, seconds: float, eta_s: float | None) -> float:
    """Share of a stage that is done, in [0, 1]: by time where time limits it, else by images."""
    by_images = images / total if total else 0.0
    by_time = seconds / (seconds + eta_s) if eta_s is not None and seconds + eta_s > 0 else 0.0
    return min(1.0, max(by_images, by_time))


class Bars(Plain):
    """A `Reporter` for terminals: one bar per stage with speed, time left, losses and region areas."""

    def __init__(self) -> None:
        super().__init__(every_s=0.0)
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def stage(self, name: str, total_images: int | None, minutes: float | None) -> None:
        """A stage begins: the bar of the one before is filled."""
        self._fill()
        self._name, self._total, self._start = name, total_images, self._now()
        if self._progress is None:
            self._progress = _bar()
            self._progress.start()
        self._task = self._progress.add_task(clean(name), total=1.0, tail="")

    def update(
        self,
        images: int,
        images_per_s: float,
        eta_s: float | None,
        scalars: Mapping[str, float],
        areas: Sequence[float] | None = None,
    ) -> None:
        """Move the bar."""
        if self._progress is None or self._task is None:
            return
        left = f"{clock(eta_s)} left" if eta_s is not None else ""
        parts = (f"{images_per_s:.0f} images/s", left, _scalars(scalars, areas))
        share = _share(images, self._total, self._now() - self._start, eta_s)
        self._progress.update(self._task, completed=share, tail=clean("  ".join(part for part in parts if part)))

    def note(self, text: str) -> None:
        """A line above the bar."""
        self._above(f"  {text}")

    def warn(self, text: str) -> None:
        """A line above the bar that begins with `!`."""
        self._above(f"! {text}")

    def done(self, summary: str) -> None:
        """The last line; the bar is left as it stands."""
        self._fill()
        self.close()
        super().done(summary)

    def close(self) -> None:
        """Give the terminal back (also after an error)."""
        if self._progress is not None:
            self._progress.stop()
        self._progress = self._task = None

    def _fill(self) -> None:
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=1.0, tail="")
            self._task = None

    def _above(self, text: str) -> None:
        if self._progress is None:
            line(text, sys.stderr)
        else:
            from rich.text import Text

            self._progress.console.print(Text(clean(text)), soft_wrap=True)


def _bar() -> Progress:
    """A bar on standard error that shows texts as they are (no markup, no highlighting)."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    screen = Console(stderr=True, markup=False, highlight=False, emoji=False)
    columns = (
        TextColumn("  {task.description:<9}", markup=False),
        BarColumn(bar_width=28),
        TaskProgressColumn(text_format="{task.percentage:>3.0f} %", markup=False),
        TextColumn("{task.fields[tail]}", markup=False),
    )
    return Progress(*columns, console=screen, refresh_per_second=4)


@contextlib.contextmanager
def counting(label: str) -> Iterator[Callable[[int, int], None]]:
    """A progress display for countable work; yields `progress(done, total)`, which any thread may call."""
    start = time.monotonic()
    if not is_terminal():
        yield _plain_counter(label, start)
        return
    bar = _bar()
    task = bar.add_task(clean(label), total=None, tail="")

    def show(done: int, total: int) -> None:
        speed = done / max(time.monotonic() - start, 1e-9)
        bar.update(task, completed=done, total=total, tail=f"{done:,} of {total:,}  {speed:.0f}/s")

    with bar:
        yield show


def _plain_counter(label: str, start: float) -> Callable[[int, int], None]:
    last = [start]

    def show(done: int, total: int) -> None:
        now = time.monotonic()
        if now - last[0] >= PLAIN_EVERY_S:
            last[0] = now
            line(f"  {label} {done:,} of {total:,}  {done / (now - start):.0f}/s", sys.stderr)

    return show
