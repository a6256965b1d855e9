"""A tiny study from the command line to the report: shared runs, Ctrl-C, collapse, results, page."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
import shlex
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from decoupe import console
from decoupe.cli import main
from decoupe.data.catalogue import open_dataset
from decoupe.engine.progress import Silent
from decoupe.engine.runfolder import Run
from decoupe.errors import Fault
from decoupe.reproduce import TABLES
from decoupe.reproduce.claims import below, collapses, student
from decoupe.reproduce.runs import Fitting, folder_name, training_images
from decoupe.reproduce.scores import chosen
from decoupe.reproduce.settings import length, settings
from decoupe.reproduce.sheet import _changes
from decoupe.reproduce.study import reproduce
from decoupe.reproduce.table import Claim, Row, Table, Variant
from tests.report.test_report import Reader
from tests.tiny import TINY

HOSTILE = "<script>alert(1)</script>"
SEEN = 48


def variant(**options: Any) -> tuple[Variant, ...]:
    tiny = {name: value for name, value in TINY["redraw"].items() if name not in ("train_images", "size")}
    return (Variant("redraw", {"cpu": "study", "paper": "study"}, tiny | options),)


PLAIN = Row("Plain", "plain", {"iou": 0.7, "accuracy": 0.8}, variant(), seeds=2)
FIRST = Table(
    "first", "what the first asks", "a text, Table I",
    (PLAIN, Row("Bare", "bare", {"iou": "collapsed"}, variant(information="none"))),
    (Claim("bare is worse", below("Bare", "Plain")),), ("iou", "accuracy", "collapse_rate"), length="many steps",
)  # fmt: skip
SECOND = Table(
    "second", f"what the {HOSTILE} asks", f"a text, {HOSTILE}",
    (PLAIN, Row(HOSTILE, "<b>all</b>", {"iou": 0.6}, variant(step="all"), note=HOSTILE)),
    (Claim(f"it collapses {HOSTILE}", collapses(HOSTILE)),), ("iou", "accuracy", "collapse_rate"),
)  # fmt: skip


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, synth: Path) -> Path:
    """A folder with both tables done; in the second, what was not yet there has collapsed."""
    folder = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        shutil.copytree(synth, folder / "data")
        patch.setitem(TABLES, "first", FIRST)
        patch.setitem(TABLES, "second", SECOND)
        _without_collapse(patch)
        assert main(f"reproduce first --data synth:data --images-seen {SEEN} --json first.json".split()) == 0
        patch.setattr("decoupe.engine.health.FULL", 0.1)
        patch.setattr("decoupe.engine.keeper.PATIENCE", 0)
        assert main(f"reproduce second --data synth:data --images-seen {SEEN} --json second.json".split()) == 0
    return folder


def _without_collapse(patch: pytest.MonkeyPatch) -> None:
    """So short a run learns nothing; what collapse is has its tests elsewhere."""
    patch.setattr("decoupe.engine.health.FULL", 2.0)
    patch.setattr("decoupe.engine.health.SAME", -1.0)


def load(study: Path, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((study / f"{name}.json").read_text())
    return content


def test_json_has_every_row_selection_and_matching_with_the_texts_figures(study: Path) -> None:
    content = load(study, "first")
    assert content == json.loads((study / "runs/reproduce/cpu/first/results.json").read_text())
    rows = content["results"]
    assert [(r["row"], r["matching"], r["selection"]) for r in rows] == [
        (row, matching, selection)
        for row in ("Plain", "Bare")
        for matching in ("hungarian", "per-image-flip")
        for selection in ("last", "selected", "oracle")
    ]
    for row in rows:
        assert row["observed"] == ["image"] and row["n_images"] == 8 and row["status"] == "done"
        assert {"iou", "accuracy", "miou", "collapse_rate"} <= set(row["metrics"])
        assert row["uses_labels"] == (row["selection"] == "oracle" or row["matching"] == "per-image-flip")
        assert row["text"] == ({"iou": 0.7, "accuracy": 0.8} if row["row"] == "Plain" else {"iou": "collapsed"})
    assert {"source", "scale", "data", "split", "trained_on", "about", "command", "date", "claims"} <= set(content)
    assert "8 images" in content["trained_on"] and "no splits" in content["trained_on"]
    assert shlex.split(content["command"])[:3] == ["decoupe", "reproduce", "first"]


def test_figures_are_means_over_seeds_of_what_evaluate_says(study: Path) -> None:
    from decoupe.evaluate.run import evaluate

    rows = [r for r in load(study, "first")["results"] if r["row"] == "Plain"]
    runs = [study / "runs/reproduce/cpu" / seed["run"] for seed in rows[0]["seeds"]]
    assert len(runs) == 2 and [Run.open(run).info["seed"] for run in runs] == [0, 1]
    for matching in ("hungarian", "per-image-flip"):
        truth = [evaluate(run, f"synth:{study / 'data'}", matching=matching)["results"] for run in runs]
        for number, selection in enumerate(("last", "selected", "oracle")):
            row = next(r for r in rows if r["matching"] == matching and r["selection"] == selection)
            for name in ("iou", "accuracy", "miou"):
                values = [one[number]["metrics"][name] for one in truth]
                assert row["metrics"][name] == pytest.approx(sum(values) / 2, abs=2e-6)
                deviation = abs(values[0] - values[1]) / math.sqrt(2)
                assert row["spread"][name] == pytest.approx(deviation, abs=2e-6)


def test_settings_and_length_are_stated(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = load(study, "first")
    runs = study / "runs/reproduce/cpu"
    config = content["config"]
    assert (config["row"], config["room"], config["preset"]) == ("Plain", "redraw", "study")
    for row in content["results"]:
        (said,) = row["settings"]
        for seed in row["seeds"]:
            info = Run.open(runs / seed["run"]).info
            assert info["config"] == config["settings"] | said["changes"]
            assert info["images_seen"] == said["images_seen"] == SEEN
            assert said["steps"] == -(-SEEN // info["config"]["batch"])
        assert set(said["changes"]) == (set() if row["row"] == "Plain" else {"information"})
    assert content["images_seen"] == SEEN and content["length"]["size"] == config["settings"]["size"]
    from decoupe.cli.reproduce import show

    show(content)
    steps = content["length"]["steps"]
    words = (
        f"our runs: {SEEN} images, {steps} steps of {config['settings']['batch']}, images of 32 px; the text's: many"
    )
    page = "".join(Reader((runs / "first/report.html").read_text()).text)
    for text in (capsys.readouterr().out, page):
        assert words in text and "Bare ran with information none" in text
    assert f"mask_width {config['settings']['mask_width']}" in page


def test_the_length_is_the_presets_where_none_is_given(synth: Path) -> None:
    fitting = Fitting(Path("nowhere"), "paper", training_images(open_dataset(f"synth:{synth}")), None, Silent())
    table = TABLES["redraw-regularisers"]
    found = length(table, fitting)
    assert (found["images_seen"], found["steps"], found["size"]) == (600_000, 30_000, 128)
    assert "30,000 steps of 20" in found["words"] and "20,000 to 40,000 steps" in found["words"]
    (hybrid,) = settings(table, table.rows[-1], fitting)
    assert hybrid["changes"] == {"regulariser": "concrete", "regulariser_weight": 30.0, "regulariser_images": 100_000}
    assert "regulariser_images 100000 (5,000 steps)" in _changes(hybrid)


def test_the_first_rows_seeds_in_the_folder_tell_how_seeds_differ(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two are there; with a third, rows of one run are compared by their spread."""
    content = load(study, "first")
    values = [seed["metrics"]["iou"] for seed in row_of(content, "Plain")["seeds"]]
    deviation = abs(values[0] - values[1]) / math.sqrt(2)
    assert content["spread"]["iou"] == {"deviation": pytest.approx(deviation, abs=2e-6), "runs": 2}
    assert row_of(content, "Plain")["uncertainty"]["iou"] == pytest.approx(12.7062 * deviation / math.sqrt(2), rel=1e-3)
    assert row_of(content, "Bare")["uncertainty"]["iou"] is None and "too few" in content["claims"][0]["why"]
    copy = Path(shutil.copytree(study, tmp_path / "copy", symlinks=True))
    monkeypatch.chdir(copy)
    _without_collapse(monkeypatch)
    fitting = Fitting(Path("runs/reproduce/cpu"), "cpu", training_images(open_dataset("synth:data")), SEEN, Silent())
    fitting.run(PLAIN.variants[0], 2)
    short = dataclasses.replace(FIRST, rows=(dataclasses.replace(PLAIN, seeds=1), FIRST.rows[1]))
    again = reproduce(short, "synth:data", images_seen=SEEN)
    assert again["spread"]["iou"]["runs"] == 3 and len(row_of(again, "Plain")["seeds"]) == 1
    reach = student(3) * again["spread"]["iou"]["deviation"] * math.sqrt(2)
    assert f"±{reach:.3f} as far as 3 seeds of the first row differ" in again["claims"][0]["why"]


def row_of(content: dict[str, Any], name: str) -> dict[str, Any]:
    """The row that claims are about."""
    return next(
        r for r in content["results"] if (r["row"], r["selection"], r["matching"]) == (name, "selected", "hungarian")
    )


def test_each_matching_has_its_own_oracle() -> None:
    points = [
        {"images": n, "hungarian": {"metrics": {"iou": a}}, "per-image-flip": {"metrics": {"iou": b}}}
        for n, a, b in ((1, 0.5, 0.9), (2, 0.6, 0.7), (3, 0.4, 0.8))
    ]
    run: Any = SimpleNamespace(info={"status": "done"})
    found = [chosen(run, {"curve": points}, "oracle", "iou", one) for one in ("hungarian", "per-image-flip")]
    assert [point and point["images"] for point in found] == [2, 1]


def test_runs_are_shared_between_tables(study: Path) -> None:
    runs = sorted(p.name for p in (study / "runs/reproduce/cpu/runs").iterdir() if not p.is_symlink())
    assert len(runs) == 2 + 1 + 1  # plain twice, bare, and all redrawn
    seeds = [row["seeds"] for row in load(study, "second")["results"] if row["row"] == "Plain"]
    assert seeds[0] == [row["seeds"] for row in load(study, "first")["results"] if row["row"] == "Plain"][0]
    infos = [Run.open(study / "runs/reproduce/cpu/runs" / name).info for name in runs]
    assert all(info["settings"]["restarts"] == 0 for info in infos)
    assert len({info["precision"] for info in infos}) == 1


def test_a_collapse_is_a_result_and_says_when(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = load(study, "second")
    lost = [row for row in content["results"] if row["row"] == HOSTILE]
    assert lost and all(row["status"] == "collapsed" and row["metrics"]["iou"] is None for row in lost)
    counted = lost[0]["collapsed"]
    assert counted["n"] == counted["of"] == 1 and 0 < counted["at"][0] <= SEEN and counted["rate"] == 1.0
    assert counted["interval"][0] == pytest.approx(0.2065, abs=1e-3)  # Wilson, 1 of 1
    assert not lost[0]["seeds"][0]["metrics"] and lost[0]["seeds"][0]["status"] == "collapsed"
    kept = [row for row in content["results"] if row["row"] == "Plain"]
    assert all(row["status"] == "done" for row in kept)
    why = f"{HOSTILE}: 1 of 1 run collapsed; our runs last {content['length']['steps']} steps"
    assert content["claims"] == [{"claim": f"it collapses {HOSTILE}", "holds": None, "why": why}]
    from decoupe.cli.reproduce import show

    show(content)
    text = capsys.readouterr().out
    assert f"runs collapsed, at image {counted['at'][0]:,}" in text and "not decided" in text and why in text
    lines = text.splitlines()
    assert sum(line.startswith("  Plain ") for line in lines) == 1  # its other selections stand below it
    own = [line.split()[1:3] for line in lines if line.startswith(f"  {HOSTILE} ")]
    assert own == [["collapsed", "collapsed"], ["ran", "with"]]


def test_curves_are_those_of_the_snapshots(study: Path) -> None:
    content = load(study, "first")
    for curve in content["curves"]:
        run = Run.open(study / "runs/reproduce/cpu/runs" / curve["run"])
        assert [point["images"] for point in curve["points"]] == [c.images for c in run.candidates()]
        assert all(0 <= point["iou"] <= 1 and 0 <= point["accuracy"] <= 1 for point in curve["points"])
        assert curve["areas"] and all(abs(sum(check["hard"]) - 1) < 1e-6 for check in curve["areas"])


def test_a_repeat_costs_nothing(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = Path(shutil.copytree(study, tmp_path / "copy", symlinks=True))
    monkeypatch.chdir(copy)
    monkeypatch.setitem(TABLES, "first", FIRST)

    def never(*arguments: Any, **options: Any) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr("decoupe.reproduce.runs.fit", never)
    monkeypatch.setattr("decoupe.reproduce.scores.segment_all", never)
    assert main(f"reproduce first --data synth:data --images-seen {SEEN} --json again.json".split()) == 0
    assert load(copy, "again")["results"] == load(copy, "first")["results"]
    assert "look   runs/reproduce/cpu/first/report.html" in capsys.readouterr().out


@pytest.mark.slow
def test_ctrl_c_stops_in_a_run_and_the_printed_command_goes_on(
    synth: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A real signal in the second run; then the command that was printed; the same figures as without it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(TABLES, "first", FIRST)
    _without_collapse(monkeypatch)
    stages: list[str] = []

    class Impatient(console.Plain):
        def stage(self, name: str, total_images: int | None, minutes: float | None) -> None:
            stages.append(name)
            if len(stages) == 2:
                os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(console, "reporter", Impatient)
    command = f"reproduce first --data synth:{synth} --images-seen {SEEN} --size 48 --out study --json scores.json"
    assert main(command.split()) == 1
    last = capsys.readouterr().err.strip().splitlines()[-1]
    found = re.fullmatch(r"\^C saved at image (\d+)\. Resume: decoupe (.*)", last)
    assert found and 0 < int(found[1]) < SEEN and not Path("scores.json").exists()
    runs = Path("study/runs")
    begun = {p.name: Run.open(p).info["status"] for p in runs.iterdir() if not p.is_symlink()}
    assert sorted(begun.values()) == ["done", "training"]
    assert main(shlex.split(found[2])) == 0
    assert len(stages) == 4  # the first run was not fitted again
    interrupted = json.loads(Path("scores.json").read_text())
    Path("other").mkdir()
    shutil.copy("study/study.json", "other/study.json")  # the faster precision is measured: it may be another
    assert main(command.replace("study", "other").replace("scores.json", "other.json").split()) == 0
    assert {Run.open(p).info["config"]["size"] for p in runs.iterdir() if not p.is_symlink()} == {48}
    straight = json.loads(Path("other.json").read_text())
    assert [r["metrics"] for r in interrupted["results"]] == [r["metrics"] for r in straight["results"]]


def test_a_run_stopped_before_it_began_is_begun_anew_and_trouble_is_no_collapse(synth: Path, tmp_path: Path) -> None:
    images = training_images(open_dataset(f"synth:{synth}"))
    fitting = Fitting(tmp_path, "cpu", images, 16, Silent())
    one = PLAIN.variants[0]
    Run.create(tmp_path / "runs" / folder_name(one, "cpu", images, 16, 0), "redraw")
    assert fitting.run(one, 0).info["status"] == "done"
    assert json.loads((tmp_path / "study.json").read_text())["precision"] in ("bf16", "fp32")
    with pytest.raises(Fault, match="minutes between"):
        fitting.run(dataclasses.replace(one, settings={"minutes": -1.0}), 0)


def test_the_page_is_one_quiet_file_deaf_to_hostile_names(study: Path) -> None:
    pages = {}
    for name in ("first", "second"):
        page = study / "runs/reproduce/cpu" / name / "report.html"
        assert page.stat().st_size < 2_000_000
        pages[name] = reader = Reader(page.read_text(encoding="utf-8"))
        assert not reader.all("script") and not any("style" in attributes for _, attributes in reader.found)
        policy = next(m["content"] for m in reader.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
        assert "default-src 'none'" in policy and "unsafe" not in policy
        for _, attributes in reader.found:
            assert not [key for key in attributes if key.startswith("on")]
            for key in ("src", "href"):
                assert attributes.get(key, "data:").startswith("data:")
    text = "".join(pages["second"].text)
    assert HOSTILE in text and "<b>all</b>" in text and "collapsed at image" in text
    assert str(study) not in text
    assert len(pages["first"].all("img")) == 3  # one sheet of masks per run
    assert "Our figures beside the text's" in "".join(pages["first"].text)
