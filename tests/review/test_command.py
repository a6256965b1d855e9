"""`decoupe review` as it is typed: it prints the link, serves, ends with Ctrl-C, and says what is wrong in one line."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from decoupe.cli import main


@pytest.mark.slow
def test_the_link_works_until_ctrl_c(run: Callable[[str], Path], pictures: Path) -> None:
    command = [sys.executable, "-m", "decoupe", "review", str(run("two")), "--images", str(pictures)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    with process, process.stdout as out:
        link = re.search(r"http://127\.0\.0\.1:\d+/\?token=\S{40,}", out.readline())
        assert link is not None and "this machine only" in out.readline()
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor())
        with opener.open(link[0], timeout=30) as page:
            assert page.url.endswith("/") and b"Your review" in page.read()
        process.send_signal(signal.SIGINT)
        assert "go on later with the same command" in out.read()
    assert process.returncode == 0


def test_what_is_wrong_is_said_in_one_line(
    run: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run("two")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        cases = [
            ["review", str(tmp_path / "none")], ["review", str(path), "--images", str(tmp_path / "none")],
            ["review", str(path), "--port", str(port)], ["review", str(path), "--port", "0"], ["review"],
        ]  # fmt: skip
        for words in cases:
            assert main(words) in (1, 2)
            said = capsys.readouterr().err
            assert said.startswith("error: expected ") and said.count("\n") == 1
