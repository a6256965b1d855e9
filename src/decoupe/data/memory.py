"""Memory that is no longer needed goes back to the system."""

from __future__ import annotations

import contextlib
import ctypes
import gc

MANY = 100_000
"""Photos whose names leave so much free memory behind that it is given back."""


def give_back(photos: int) -> None:
    """Return what lists of so many names have left free, where they are `MANY`: the C library of Linux would keep it.

    Does nothing where the C library cannot.
    """
    if photos < MANY:
        return
    gc.collect()
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
