"""What the user is told when something is wrong: one line, `expected X, got Y; do Z`."""

from __future__ import annotations

LONGEST = 600
"""Characters of what was found that are shown: a damaged file may hold a name of any length."""


class Fault(Exception):
    """Work cannot go on (exit code 1).

    `expected` and `got` name the thing in the user's words, `do` is the remedy; the three make one line.
    """

    code = 1

    def __init__(self, expected: str, got: str, do: str) -> None:
        got = got if len(got) <= LONGEST else f"{got[:LONGEST]}..."
        self.expected, self.got, self.do = expected, got, do
        super().__init__(" ".join(f"expected {expected}, got {got}; {do}".split()))


class Collapsed(Fault):
    """Training collapsed for good; the run folder is complete and says how."""


class UsageFault(Fault):
    """The command itself was wrong (exit code 2)."""

    code = 2


class Interrupted(Exception):
    """Ctrl-C or SIGTERM: everything is saved at `images`; `command` goes on from there."""

    def __init__(self, images: int, command: str) -> None:
        self.images, self.command = images, command
        super().__init__(f"saved at image {images:,}. Resume: {command}")
