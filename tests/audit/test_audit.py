"""The watch itself: what it must see, it sees, in processes that tests start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import AUDIT

LISTEN = "import socket; socket.socket().bind(('0.0.0.0', 0))"
ASK = "import socket; s = socket.socket(); s.settimeout(0.01)\ntry: s.connect(('192.0.2.1', 9))\nexcept OSError: pass"
NEAR = "import socket as k; s = k.socket(); s.bind(('127.0.0.1', 0)); s.listen(); k.create_connection(s.getsockname())"
SAFE = "import json, pickle; pickle.loads(pickle.dumps(json.JSONDecoder))"
UNPICKLE = """
import pickle
exec(compile("import json, pickle; pickle.loads(pickle.dumps(json.JSONDecoder))", "/x/src/decoupe/evil.py", "exec"))
"""


@pytest.mark.parametrize(
    "code, expected",
    [(LISTEN, "socket.bind"), (ASK, "socket.connect"), (UNPICKLE, "pickle.find_class"), (NEAR, ""), (SAFE, "")],
)
def test_what_no_process_may_do_is_seen(tmp_path: Path, code: str, expected: str) -> None:
    environment = os.environ | {"DECOUPE_AUDIT": str(tmp_path / "events"), "PYTHONPATH": AUDIT}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    first, *events = (tmp_path / "events").read_text().splitlines()
    assert first == "process" and len(events) == bool(expected)
    assert not expected or events[0].startswith(expected)


def test_this_process_is_watched() -> None:
    assert getattr(sys, "_decoupe_audited", False)
