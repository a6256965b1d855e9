"""One rank of `--devices N`: reads its job and fits. Started by `launch.spawn`, never by hand."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from decoupe.engine.launch import COLLAPSED, STOPPED
from decoupe.errors import Collapsed, Fault, Interrupted


def main() -> int:
    """Exit code of this rank."""
    from decoupe import console
    from decoupe.fit import fit

    try:
        fit(**json.loads(Path(sys.argv[1]).read_text()), reporter=console.reporter() if sys.argv[2] == "talk" else None)
    except Interrupted:
        return STOPPED
    except Collapsed:  # the process that started this one says so, once
        return COLLAPSED
    except Fault as fault:
        print(f"error: {fault}", file=sys.stderr)
        return fault.code
    return 0


if __name__ == "__main__":
    sys.exit(main())
