"""Memory that is free goes back to the system."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import pytest

from decoupe.data.memory import MANY, give_back


def resident() -> float:
    """Resident memory of this process in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read as Linux tells it")
@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="another C library than glibc")
def test_what_lies_below_something_that_stays_is_given_back() -> None:
    many = [os.urandom(60_000) for _ in range(3_000)]
    last = many[-1]
    del many
    before = resident()
    give_back(MANY)
    assert before - resident() > 100 and len(last) == 60_000
