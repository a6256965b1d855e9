"""`python -m decoupe`, the same as `decoupe`."""

import sys

from decoupe.cli import main

if __name__ == "__main__":
    sys.exit(main())
