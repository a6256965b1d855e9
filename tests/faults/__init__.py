"""The table of faults in docs/reliability.md, and what fills it: `python -m tests.faults --help`."""
