"""The command line: verbs, flags, one-line errors, exit codes, speed of `--help`."""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from decoupe import cli
from decoupe.cli import VERBS, fit, main
from decoupe.errors import Interrupted, UsageFault
from tests import snapshots
from tests.tiny import TINY

FLAGS = {
    "demo": {"--out", "--minutes"},
    "methods": set(),
    "data check": {"--max-pixels"},
    "data synth": {"--out", "--n", "--kind", "--size", "--seed", "--channels"},
    "data pack": {"--out", "--shard-mb"},
    "fit": {
        "--images", "--boxes", "--backgrounds", "--scribbles", "--run", "--images-seen", "--minutes", "--seed",
        "--preset",
        "--precision", "--devices", "--nodes", "--max-pixels", "--restarts", "--seeds", "--resume", "--split", "--tags",
    },
    "refine": {
        "--masks", "--scribbles", "--run", "--images", "--images-seen", "--minutes", "--keep", "--lr", "--seed",
        "--resume",
    },
    "distill": {
        "--run", "--images", "--size", "--images-seen", "--minutes", "--rounds", "--seed", "--precision", "--resume",
    },
    "segment": {"--out", "--format", "--crf", "--tile", "--overlap", "--tags", "--max-pixels"},
    "name": {"--set", "--merge", "--from-masks", "--join", "--images"},
    "crf fit": {"--data", "--out", "--grid", "--start", "--split", "--protocol", "--images", "--side"},
    "count": {"--json", "--max-pixels"},
    "remove": {"--layer", "--as-rebuilt", "--out"},
    "imagine": {"--out", "--n", "--tags", "--mask", "--from", "--walk", "--step", "--seed"},
    "evaluate": {"--data", "--protocol", "--split", "--fit-on", "--matching", "--json"},
    "compare": {"--json"},
    "embed": {"--out", "--kind", "--max-pixels"},
    "report": set(),
    "review": {"--images", "--port"},
    "export": {"--onnx", "--bioimageio", "--hub"},
    "serve": {"--images", "--port"},
    "doctor": set(),
    "bench": {"--preset", "--rounds", "--json"},
    "reproduce": {
        "--list", "--data", "--scale", "--out", "--seeds", "--images-seen", "--size", "--labelled", "--json",
        "--photos", "--protocol", "--tags", "--weights",
    },
}  # fmt: skip
"""The fixed names of the interface: changing one breaks somebody's script."""

MISUSES = [
    "fitt",
    "segmnt runs/a photos --out masks",
    "data",
    "data chek photos",
    "embed runs/a photos",
    "export runs/a",
    "export runs/a --onnx model.pt",
    "export runs/a --bioimageio model.onnx",
    "doctor --all",
    "refine",
    "refine runs/a --masks m --keep -1",
    "refine runs/none --run runs/new",
    "serve runs/a --port 70000",
    "segment runs/a photos --out masks --tile 8",
    "embed runs/a photos --out vectors.csv",
    "embd runs/a photos --out vectors.npz",
    "fit",
    "fit independnce --images photos",
    "fit independence",
    "fit independence --imges photos",
    "fit independence --images",
    "fit independence --images photos --task clustr",
    "fit independence --images photos --width wide",
    "fit independence --images photos --width 1",
    "fit independence --images photos --size 8",
    "fit independence --images photos --no-members",
    "fit independence --images photos --preset cpuu",
    "fit independence --images photos --precision fp16",
    "fit independence --images photos --minutes soon",
    "fit independence --images photos --minutes -3",
    "fit independence --images photos --minutes nan",
    "fit independence --images photos --images-seen 1.5",
    "fit independence --images photos --seed -1",
    "fit independence --images photos --restarts -1",
    "fit independence --images photos --seeds 3",
    "fit independence --images photos --run s --seeds 0",
    "fit independence --run s --seeds 3 --resume",
    "fit independence --images photos extra",
    "fit independence --images photos --nodes 3",
    "fit baselines --images photos --kind kmean",
    "fit baselines --images photos --kind otsu --k 3",
    "fit independence --resume",
    "segment",
    "segment runs/a photos",
    "segment runs/a photos --out masks --format pgn",
    "segment runs/a photos --out masks --format ,",
    "name runs/a --set sky",
    "name runs/a --merge 2=tree",
    "name runs/a --set 0=sky --set 0=sea",
    "evaluate runs/a",
    "evaluate runs/a --data photos",
    "evaluate runs/a --data masks:photos --matching best",
    "compare runs/a",
    "report",
    "demo --minutes 0",
    "demo --out full",
    "data synth --out full",
    "data synth --out new --kind object",
    "data synth --out new --n 0",
    "data synth --out new --size 16",
    "data pack photos",
    "methods --all",
]
"""Exit code 2."""

FAULTS = [
    "segment runs/none photos --out masks",
    "report runs/none",
    "evaluate runs/none --data masks:photos",
    "name runs/none",
    "refine runs/none --masks masks --run runs/new",
    "export runs/none --onnx model.onnx",
    "serve runs/none",
    "embed runs/none photos --out vectors.npz",
    "data check nothing",
    "data pack photos --out full",
    "data check nope://bucket/photos",
    "fit independence --images nothing --run runs/new",
    "fit independence --run runs/none --resume",
]
"""Exit code 1."""


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to stand in, with one that has content."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("keep me")
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("command", MISUSES)
def test_misuse_is_one_line_and_code_2(command: str, desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(command.split(" "))
    seen = capsys.readouterr()
    assert code == 2 and seen.err.count("\n") == 1 and seen.err.startswith("error: expected ")
    assert not (desk / "runs").exists() and not (desk / "masks").exists()
    snapshots.check("misuse", command, seen.err, code)


@pytest.mark.parametrize("command", FAULTS)
def test_faults_are_one_line_and_code_1(command: str, desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(command.split(" "))
    seen = capsys.readouterr()
    errors = [line for line in seen.err.splitlines() if line.startswith("error: ")]
    assert code == 1 and len(errors) == 1 and "Traceback" not in seen.err
    snapshots.check("faults", command, errors[0], code)


def test_snapshots_hold_nothing_that_is_no_longer_asked() -> None:
    assert set(snapshots.read("misuse")) == set(MISUSES)
    assert set(snapshots.read("faults")) == set(FAULTS)


def test_verbs_and_their_flags_are_the_published_ones() -> None:
    assert list(VERBS) == [
        "demo", "methods", "data check", "data synth", "data pack", "fit", "distill", "refine", "segment", "name",
        "crf fit", "count", "remove", "imagine", "evaluate", "compare", "embed", "report", "review", "export", "serve",
        "doctor", "reproduce", "bench",
    ]  # fmt: skip
    for name, verb in VERBS.items():
        assert set(verb.parser().flags) - {"--help", "--debug"} == FLAGS[name], name


@pytest.mark.parametrize("name", list(VERBS))
def test_every_verb_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*name.split(), "--help"]) == 0
    text = capsys.readouterr().out
    assert f"decoupe {name}" in text and VERBS[name].line in text


def test_help_of_a_room_shows_its_options_with_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "independence", "--help"]) == 0
    text = capsys.readouterr().out
    assert "--images PATH" in text and "--member-images INT" in text and "default: 64" in text and "paper-birds" in text


def test_presets_come_first_and_options_override_them() -> None:
    from decoupe.methods import ROOMS

    paper = ROOMS["independence"].presets()["paper-birds"]
    assert paper.width == 64 and paper.members == 1
    given = fit.read("independence --images x --preset paper-birds --width 16 --no-distill --members 1".split())
    assert given.options == {"width": 16, "distill": False} and given.preset == "paper-birds"


def test_the_room_may_stand_anywhere() -> None:
    given = fit.read(["--images", "independence", "--width", "16", "independence"])
    assert (given.room, given.images, given.options) == ("independence", "independence", {"width": 16})


def test_help_is_quick_and_imports_neither_torch_nor_numpy() -> None:
    program = Path(sys.executable).parent / "decoupe"
    times = []
    for _ in range(5):  # processor time, which is what a person waits for on a machine that is not busy
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([program, "--help"], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    assert min(times) < 0.3
    for words in (["--help"], ["fit", "independence", "--help"], ["methods"], ["fitt"]):
        code = (
            f"import sys; from decoupe.cli import main; main({words!r}); print({{'torch', 'numpy'}} & set(sys.modules))"
        )
        done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        assert done.stdout.splitlines()[-1] == "set()", words


def test_debug_shows_where_an_error_arose(desk: Path) -> None:
    with pytest.raises(UsageFault):
        main(["data", "synth", "--out", "full", "--debug"])


def test_unexpected_errors_are_one_line_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(words: list[str]) -> None:
        raise KeyError("an accident\nof two lines \x1b[31m")

    monkeypatch.setattr(cli, "run", broken)
    assert main(["methods"]) == 1
    seen = capsys.readouterr().err
    assert seen.count("\n") == 1 and "\x1b" not in seen and "--debug" in seen and "KeyError" in seen


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (Interrupted(62_400, "decoupe fit redraw --run runs/redraw-1 --resume"),
         "^C saved at image 62,400. Resume: decoupe fit redraw --run runs/redraw-1 --resume\n"),
        (KeyboardInterrupt(), "^C stopped\n"),
        (MemoryError(), "error: expected enough memory"),
        (OSError(28, "No space left on device", "masks/a.png"), "No space left on device for masks/a.png"),
    ],
)  # fmt: skip
def test_interruptions_and_the_system_refusing(
    failure: BaseException, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(arguments: list[str]) -> None:
        raise failure

    monkeypatch.setattr(cli, "run", fail)
    assert main(["methods"]) == 1
    assert words in capsys.readouterr().err


def test_a_closed_pipe_is_no_error() -> None:
    command = f"{sys.executable} -m decoupe fit independence --help | head -n 1"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True)
    assert done.stderr == "" and done.stdout.startswith("usage: decoupe fit independence")


def _stopped_at(command: str, folder: Path) -> tuple[int, str]:
    """Run `command` until it distils, send Ctrl-C; the image it says it saved at, and the command to go on."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    process = subprocess.Popen(
        f"exec {command}", shell=True, cwd=folder, stderr=subprocess.PIPE, text=True, env=environment
    )
    try:
        assert process.stderr is not None
        seen = ""
        while "  distil" not in seen:
            line = process.stderr.readline()
            assert line, f"ended early: {seen}"
            seen += line
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=60)
    finally:
        process.kill()
    last = rest.strip().splitlines()[-1]
    found = re.fullmatch(r"\^C saved at image ([\d,]+)\. Resume: (.*)", last)
    assert process.returncode == 1 and found and "Traceback" not in seen + rest, seen + rest
    return int(found[1].replace(",", "")), found[2]


@pytest.mark.slow
def test_ctrl_c_saves_and_the_printed_command_goes_on(photos: Path, tmp_path: Path) -> None:
    """A real signal to a real process; what it prints is then run as it stands, and stopped in its turn."""
    options = " ".join(f"--{name.replace('_', '-')}={value}" for name, value in TINY["independence"].items())
    command = f"decoupe fit independence --images {photos} --run runs/stopped {options} --precision fp32"
    first, again = _stopped_at(f"{command} --student-images=10000000", tmp_path)
    assert first > 0 and again == "decoupe fit independence --run runs/stopped --resume"
    second, _ = _stopped_at(again, tmp_path)
    assert second > first


def test_from_run_to_masks_names_scores_and_report(
    tiny_run: Path, synth: Path, desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = desk / "run"
    shutil.copytree(tiny_run, run)
    assert (
        main(["segment", "run", str(synth / "images"), "--out", "masks", "--format", "png,overlay,csv,coco,npz"]) == 0
    )
    assert "8 of 8 images" in capsys.readouterr().out
    assert (desk / "masks" / "coco.json").is_file() and (desk / "masks" / "measures.csv").is_file()
    assert main(["name", "run", "--set", "1=beetle"]) == 0
    assert "1  beetle" in capsys.readouterr().out
    assert main(["evaluate", "run", "--data", f"synth:{synth}", "--json", "scores.json"]) == 0
    table = capsys.readouterr().out
    assert all(word in table for word in ("selected", "last", "oracle (uses labels)", "IoU"))
    shutil.copytree(run, desk / "other")
    assert main(["compare", "run", "other", "--json", "both.json"]) == 0
    capsys.readouterr()
    assert main(["report", "run"]) == 0
    assert "look   run/report.html" in capsys.readouterr().out and (desk / "run" / "report.html").is_file()


def test_data_check_names_the_broken_file(photos: Path, desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(photos, desk / "mixed")
    (desk / "mixed" / "notes.jpg").write_text("this is no photo")
    assert main(["data", "check", "mixed"]) == 0
    seen = capsys.readouterr().out
    assert "13 images" in seen and "12 usable" in seen and "mixed/notes.jpg" in seen and "skipped" in seen


def test_data_synth_writes_what_evaluate_reads(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main("data synth --out made --n 3 --kind cluster --size 32".split()) == 0
    assert len(list((desk / "made" / "images").iterdir())) == len(list((desk / "made" / "masks").iterdir())) == 3
