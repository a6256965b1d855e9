"""What is printed, on a terminal and off it."""

from __future__ import annotations

import io
import shlex

import pytest

from decoupe import console


def test_text_from_outside_cannot_steer_the_terminal() -> None:
    assert console.clean("a\x1b[2Jb\nc\u202ed\u200b\x07\x9b1m") == "a [2Jb c d   1m"
    assert console.clean("[red]häst 馬[/red]") == "[red]häst 馬[/red]"


def test_a_line_is_one_line_and_survives_a_narrow_encoding() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    console.line("caf\u00e9\nnoir", stream)
    stream.seek(0)
    assert stream.read() == "caf? noir\n"


def test_tables_align_their_columns(capsys: pytest.CaptureFixture[str]) -> None:
    console.table([("a", "1"), ("long", "22")])
    assert capsys.readouterr().out == "  a     1\n  long  22\n"


def test_clock() -> None:
    assert [console.clock(s) for s in (None, 0, 31, 725, 3760)] == ["", "0:00", "0:31", "12:05", "1:02:40"]


def test_plain_lines_come_every_few_seconds_only(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    plain = console.Plain(every_s=5, now=lambda: now[0])
    plain.stage("distil", 1000, None)
    for step in range(11):
        now[0] = float(step)
        plain.update(step * 100, 100.0, 10.0 - step, {"D": 0.6123, "G": 0.74}, [0.69, 0.31])
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert lines[1].split() == "distil 50% 500 images 100 images/s 0:05 left D 0.612 G 0.74 areas 69/31 %".split()


def test_warnings_begin_with_an_exclamation_mark(capsys: pytest.CaptureFixture[str]) -> None:
    console.Plain().warn("region 2 covers 99 %\x1b[1m")
    assert capsys.readouterr().err == "! region 2 covers 99 % [1m\n"


def test_the_bar_shows_texts_as_they_are_and_gives_the_terminal_back(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    screen = Console(file=io.StringIO(), force_terminal=True, width=160, markup=False, highlight=False, emoji=False)
    real = console._bar

    def bar() -> object:
        progress = real()
        progress.live.console = screen
        return progress

    monkeypatch.setattr(console, "_bar", bar)
    bars = console.Bars()
    bars.stage("[bold]fit[/bold]", 100, None)
    bars.update(50, 412.0, 31.0, {"D": 0.61}, [0.69, 0.31])
    bars.note("seen [red]once[/red]")
    assert bars._progress is not None
    bars._progress.refresh()
    bars.close()
    shown = screen.file.getvalue()  # type: ignore[attr-defined]
    assert (
        "[bold]fit[/bold]" in shown and "[red]once[/red]" in shown and "0:31 left" in shown and "areas 69/31 %" in shown
    )
    assert bars._progress is None


def test_score_table_marks_the_row_that_used_labels() -> None:
    row = {"uses_labels": True, "matching": "hungarian", "interval": {"iou": [0.8, 0.9]}, "metrics": {"iou": 0.85}}
    table = console.score_table([row], ["oracle"], "here")
    assert table[1] == ("oracle (uses labels)", ".850", ".800 - .900", "", "", "hungarian")


def test_the_next_command_can_be_typed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    console.following("segment", "my runs/a", "NEW_PHOTOS", note="b is not needed")
    printed = capsys.readouterr().out
    assert printed.startswith("next   decoupe segment ") and printed.endswith(" (b is not needed)\n")
    assert shlex.split(printed)[1:5] == ["decoupe", "segment", "my runs/a", "NEW_PHOTOS"]
