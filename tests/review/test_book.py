"""The review's memory: atomic after every action, safe under two tabs, two processes and kill -9."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from decoupe.engine.files import parse_json
from decoupe.errors import Fault
from decoupe.review.book import Book, Entry, Stale, entries, mask_path, read_state


@pytest.fixture
def book(tmp_path: Path):
    with Book(tmp_path, "/photos") as opened:
        yield opened


def test_verdicts_are_there_after_a_restart(tmp_path: Path) -> None:
    with Book(tmp_path, "/photos") as book:
        book.judge("a", "a.jpg", "accepted", "one", b"mask of a")
        book.judge("x/b", "x/b.jpg", "rejected", "one")
        book.judge("c", "c.jpg", "flagged", "one")
        book.judge("c", "c.jpg", None, "one")
    with Book(tmp_path, "/photos") as book:
        assert [book.get(key).verdict for key in ("a", "x/b", "c", "d")] == ["accepted", "rejected", None, None]
        assert book.get("a").kept and not book.get("x/b").kept and book.revision == 4
    assert (tmp_path / "review/masks/a.png").read_bytes() == b"mask of a"
    content = json.loads((tmp_path / "review/state.json").read_text())
    assert content["format"] == 1 and content["images"] == "/photos" and content["photos"]["a"]["verdict"] == "accepted"


def test_undo_takes_back_this_tabs_verdicts_in_turn_even_after_a_restart(tmp_path: Path) -> None:
    with Book(tmp_path, "/photos") as book:
        for key, verdict in (("a", "accepted"), ("b", "rejected"), ("a", "flagged")):
            book.judge(key, key, verdict, "one", b"m" if verdict == "accepted" else None)
        book.judge("c", "c", "accepted", "other", b"m")
    with Book(tmp_path, "/photos") as book:
        assert [book.undo("one")[0] for _ in range(3)] == ["a", "b", "a"]  # type: ignore[index]
        assert book.undo("one") is None
        assert [book.get(key).verdict for key in "abc"] == [None, None, "accepted"]
        assert not mask_path(tmp_path, "a").exists() and mask_path(tmp_path, "c").exists()


def test_undo_never_undoes_what_another_tab_did_since(book: Book) -> None:
    book.judge("a", "a.jpg", "accepted", "one", b"m")
    book.judge("a", "a.jpg", "rejected", "two")
    with pytest.raises(Stale, match="newer state"):
        book.undo("one")
    assert book.get("a").verdict == "rejected"


def test_a_correction_that_has_not_seen_another_tabs_is_refused(book: Book) -> None:
    seen = book.correct("a", "a.jpg", b"first", 0, "one").revision
    with pytest.raises(Stale):
        book.correct("a", "a.jpg", b"second", 0, "two")
    assert mask_path(book.run, "a").read_bytes() == b"first"
    book.correct("a", "a.jpg", b"second", seen, "two")
    assert mask_path(book.run, "a").read_bytes() == b"second" and book.get("a").kept
    assert not book.restore("a", "a.jpg", book.get("a").revision, "two").mask and not mask_path(book.run, "a").exists()


def test_an_acceptance_never_replaces_a_persons_mask(book: Book) -> None:
    book.correct("a", "a.jpg", b"by hand", 0, "one")
    book.judge("a", "a.jpg", "accepted", "one", b"of the model")
    assert mask_path(book.run, "a").read_bytes() == b"by hand" and book.get("a").corrected


def test_threads_lose_nothing(book: Book) -> None:
    def work(name: str) -> None:
        for number in range(25):
            book.judge(f"{name}{number}", "f", "accepted", name, b"m")

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stored = entries(read_state(book.run), "state")
    assert len(stored) == 100 and book.revision == 100
    assert sorted(entry.revision for entry in stored.values()) == list(range(1, 101))


def test_a_second_process_is_refused_by_name(book: Book) -> None:
    code = "import sys, pathlib\nfrom decoupe.review.book import Book\nwith Book(pathlib.Path(sys.argv[1]), '/p'): pass"
    done = subprocess.run([sys.executable, "-c", code, str(book.run)], capture_output=True, text=True)
    assert done.returncode == 1 and f"in use by process {os.getpid()}" in done.stderr


WORK = """
import sys
from pathlib import Path
from decoupe.review.book import Book
with Book(Path(sys.argv[1]), "/photos") as book:
    print("open", flush=True)
    for n in range(100_000):
        book.judge(f"k{n % 50}", "f", ("accepted", "rejected", "flagged")[n % 3], "t", b"mask %d" % n)
        print(n, flush=True)
"""


def test_kill_9_at_any_moment_leaves_the_state_before_or_after(tmp_path: Path) -> None:
    told = -1
    for turn in range(6):
        process = subprocess.Popen([sys.executable, "-c", WORK, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None and process.stdout.readline() == "open\n"
        time.sleep(0.05 + 0.04 * turn)
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().split()
        process.wait()
        process.stdout.close()
        before, told = told, len(rest)
        content = parse_json((tmp_path / "review/state.json").read_bytes(), "state.json")
        stored = entries(content, "state.json")
        assert content["revision"] >= told and before >= -1
        for key, entry in stored.items():
            assert not entry.mask or mask_path(tmp_path, key).read_bytes().startswith(b"mask ")
    with Book(tmp_path, "/photos") as book:  # the lock of the dead is free
        assert book.revision >= told > 0


def test_a_disk_that_refuses_changes_nothing(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    book.judge("a", "a.jpg", "rejected", "one")

    def full(path: Path, data: bytes) -> str:
        raise Fault(f"to write {path}", "No space left on device", "free space")

    monkeypatch.setattr("decoupe.review.book.write_atomic", full)
    with pytest.raises(Fault, match="No space left"):
        book.judge("a", "a.jpg", "accepted", "one", b"m")
    with pytest.raises(Fault, match="No space left"):
        book.undo("one")
    assert book.get("a").verdict == "rejected" and book.revision == 1
    monkeypatch.undo()
    assert book.undo("one") == ("a", Entry(revision=2))
    assert book.judge("a", "a.jpg", "flagged", "one").revision == 3


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{", '{"format": 2, "photos": {}}', '{"format": 1, "photos": []}',
        '{"format": 1, "photos": {"a": 1}}',
        '{"format": 1, "photos": {"a": {"verdict": "good"}}}', '{"format": 1, "photos": {"a": {"more": 1}}}',
        '{"format": 1, "photos": {"a": {"mask": "yes"}}}', '{"format": 1, "photos": {"a": {"revision": NaN}}}',
    ],
)  # fmt: skip
def test_a_state_that_is_not_ours_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "review").mkdir()
    (tmp_path / "review/state.json").write_text(text)
    with pytest.raises(Fault) as caught, Book(tmp_path, "/photos"):
        pass
    assert "\n" not in str(caught.value)


HOSTILE = [
    "../../x",
    "/etc/passwd",
    "a/../../../b",
    "a\0b",
    "x" * 4096,
    "../review-secret/x",
    "masks/../../../run",
]


@pytest.mark.parametrize("key", HOSTILE)
def test_no_key_leads_out_of_the_folder_of_masks(tmp_path: Path, key: str) -> None:
    run = tmp_path / "deep" / "run"
    run.mkdir(parents=True)
    with Book(run, "/photos") as book:
        before = {path for path in tmp_path.rglob("*") if "masks" not in path.parts}
        with pytest.raises(Fault):
            book.judge(key, "f", "accepted", "t", b"out")
        assert {path for path in tmp_path.rglob("*") if "masks" not in path.parts} == before
        assert book.revision == 0


@pytest.mark.parametrize("place", ["review", "review/masks", "review/masks/sub"])
def test_links_that_lead_out_are_refused(tmp_path: Path, place: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    run = tmp_path / "run"
    (run / place).parent.mkdir(parents=True)
    (run / place).symlink_to(outside)
    with pytest.raises(Fault), Book(run, "/photos") as book:
        book.judge("sub/a", "f", "accepted", "t", b"out")
    assert list(outside.rglob("*.png")) == []
