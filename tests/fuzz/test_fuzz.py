"""A moment of fuzzing at every door, and each thing that longer runs have found."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
from pathlib import Path
from random import Random
from typing import Any

import pytest
from PIL import Image

from decoupe.data.boxes import read_table
from decoupe.data.decode import BadImage
from decoupe.data.shards import members
from decoupe.data.sources import find
from decoupe.data.windows import open_windows
from decoupe.engine.files import dump_json, parse_json
from decoupe.engine.runfolder import Run, _seal
from decoupe.errors import Fault
from decoupe.export.readers import read_masks
from decoupe.methods.config import in_range
from decoupe.model import load
from tests.fuzz import mutate
from tests.fuzz.doors import DOORS, Door, each
from tests.fuzz.harness import Tally, drill, report
from tests.fuzz.seeds import MASK, coco


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_moment_at_every_door(tmp_path: Path, root: Path) -> None:
    command = [sys.executable, "-m", "tests.fuzz", "--seconds", "0.3", "--json", str(tmp_path / "found.json")]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=550)
    assert done.returncode == 0, done.stdout + done.stderr
    doors = json.loads((tmp_path / "found.json").read_text())["doors"]
    assert set(doors) == set(DOORS) and all(door["inputs"] > 10 for door in doors.values())
    assert sum(door["refused"] for door in doors.values()) > 300


def _evil(path: Path) -> str:
    data = path.read_bytes()
    if data[:1] == b"A":
        raise KeyError("not a Fault")
    if data[:1] == b"B":
        os.kill(os.getpid(), signal.SIGKILL)
    if data[:1] == b"C":
        raise Fault("x", "y" * 500, "z" * 900)
    raise Fault("a letter", data[:1].hex(), "write one")


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_the_harness_sees_what_it_looks_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def letters(random: Random, data: bytes, others: Any) -> bytes:
        return random.choice((b"A", b"C", b"D", b"D", b"D", b"B" if random.random() < 0.1 else b"D"))

    monkeypatch.setitem(DOORS, "evil", Door("input.bin", lambda: [b"D"], letters, _evil))
    tally = drill("evil", tmp_path, 0, 0.2)
    kinds = {finding["kind"] for finding in tally.findings}
    assert {"uncaught", "died", "words"} <= kinds and tally.refused > 10
    assert all((tmp_path / "found" / finding["file"]).exists() for finding in tally.findings)
    assert "KeyError" in report({"evil": tally}) and "SIGKILL" in report({"evil": tally})
    assert isinstance(tally, Tally) and tally.inputs > 10


def test_the_same_seed_damages_in_the_same_way() -> None:
    seeds = coco()
    first, second = (
        [mutate.structured(Random(f"{turn}"), seeds[0], seeds) for turn in range(40)] for _ in range(2)
    )  # fmt: skip
    assert first == second and len(set(first)) > 30


def test_seeds_are_valid(tmp_path: Path) -> None:
    for name in ("coco", "csv", "tar", "lmdb", "tiff", "cvat", "label-studio"):
        folder, door = tmp_path / name, DOORS[name]
        folder.mkdir()
        door.prepare(folder)
        (folder / door.file).parent.mkdir(exist_ok=True)
        for data in door.seeds():
            (folder / door.file).write_bytes(data)
            assert door.open(folder / door.file), name
    assert MASK.sum() == 30
    with pytest.raises(Fault):
        each(lambda: find(tmp_path / "nothing"))


# --- what was found ---------------------------------------------------------------------------------------------------


def test_headers_of_arrays_that_python_cannot_parse(tmp_path: Path) -> None:
    head = b"{'descr': '|u1', 'fortran_order': False, 'shape': (20, 20, 3".ljust(117) + b"\n"
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + bytes(1200))
    with pytest.raises(BadImage):
        open_windows(tmp_path / "a.npy")


@pytest.mark.parametrize("data", [b"II+\0\x08\0\0\0", b"MM\0+\0\x08\0\0\0\0\0\0", b"II*\0\xff\xff\xff\xff"])
def test_tiff_that_ends_in_its_header(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.raises(BadImage):
        open_windows(tmp_path / "a.tif")


def test_boxes_that_no_float_can_hold(tmp_path: Path) -> None:
    content = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "annotations": [{"image_id": 1, "bbox": [1, 1, 10**400, 2]}],
    }
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(Fault, match="OverflowError"):
        read_table(tmp_path / "a.json")


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
def test_a_tar_whose_name_claims_to_be_longer_than_memory(tmp_path: Path, kind: bytes) -> None:
    entry = tarfile.TarInfo("a.png")
    entry.type, entry.size = kind, 1 << 46
    picture = io.BytesIO()
    Image.new("L", (9, 9)).save(picture, "PNG")
    (tmp_path / "a.tar").write_bytes(entry.tobuf(tarfile.GNU_FORMAT) + picture.getvalue().ljust(2048, b"\0"))
    with pytest.raises(tarfile.TarError):
        list(members(tmp_path / "a.tar"))
    assert [item.path.name for item in find(tmp_path)] == ["a.tar"], "reading it says what is wrong"


RUN: dict[str, Any] = {
    "no config": {"config": None}, "config of text": {"config": "x"}, "no bands": {"spec": {"size": 32}},
    "files as a list": {"files": ["names.json"]}, "digests as lists": {"files": {"names.json": [1]}},
    "a snapshot without a file": {"candidates": [{"images": 3}]}, "huge": {"spec": {"size": 32, "channels": 10**400}},
    "status as a number": {"status": 3}, "candidates as text": {"candidates": "none"},
}  # fmt: skip


@pytest.mark.parametrize("case", RUN)
def test_run_json_of_another_form(tiny_run: Path, tmp_path: Path, case: str) -> None:
    import shutil

    shutil.copytree(tiny_run, tmp_path / "run")
    place = tmp_path / "run/run.json"
    info = json.loads(place.read_bytes()) | RUN[case]
    info = {key: value for key, value in info.items() if value is not None}
    place.write_bytes(dump_json(info | {"seal": _seal(info)}))
    with pytest.raises(Fault) as caught:
        load(tmp_path / "run")
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    "content",
    [{"names": ["a", "b"]}, {"names": ["a", "b"], "merge": None}, {"names": ["a", "b"], "merge": [["o"]]},
     {"names": ["a", "b"], "merge": [[0, 7]]}, {"names": ["a", "b"], "merge": [[]]}, {"names": 3, "merge": []}],
)  # fmt: skip
def test_names_json_of_another_form(tmp_path: Path, content: dict[str, Any]) -> None:
    run = Run.create(tmp_path / "run", "redraw")
    data = json.dumps(content).encode()
    (run.path / "names.json").write_bytes(data)
    run.info["files"]["names.json"] = hashlib.sha256(data).hexdigest()
    run.commit()
    with pytest.raises(Fault, match="names.json"):
        _ = Run.open(run.path).merges


def test_numbers_beyond_all_bounds() -> None:
    with pytest.raises(Fault, match="too large"):
        parse_json(b'{"a": 1e999}', "x")
    with pytest.raises(Fault, match="without bounds"):
        in_range("size", 10**400, 32, 4096)


def test_sides_that_are_truths(tmp_path: Path) -> None:
    content = json.loads(coco()[0])
    content["images"][0]["height"] = True
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(Fault, match="width and a height"):
        read_masks(tmp_path / "a.json")


def test_what_is_told_has_an_end(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(
        "<annotations><image id='0' name='" + "n" * 5000 + "' width='x' height='2'/></annotations>"
    )
    with pytest.raises(Fault) as caught:
        read_masks(tmp_path / "a.xml")
    assert len(str(caught.value)) < 1000
    assert len(str(Fault("a", "b" * 10_000, "c"))) < 1000
