"""Small turns of phrase: numbers, lists, paths."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any


def number(value: Any) -> float | None:
    """A finite float, else None."""
    fine = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if fine else None


def figure(value: Any) -> str:
    """.83, or a dash."""
    found = number(value)
    return "–" if found is None else f"{found:.2f}".replace("0.", ".", 1) if 0 <= found < 0.995 else f"{found:.2f}"


def listed(words: Sequence[str]) -> str:
    """a, b and c."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else "nothing"


def without_folders(text: str) -> str:
    """`text` with absolute paths cut to their last part, so that a shared page tells nothing of this machine."""
    text = re.sub(r"""(['"])([\w-]*:)?/[^'"]*?([^/'"]*)/?\1""", r"\1\2…/\3\1", text)
    return re.sub(r"""(?<![\w.…/])/(?:[^\s/'"]+/)*([^\s/'",;)]+)""", r"…/\1", text)
