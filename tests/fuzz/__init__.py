"""Fuzzing of every door through which a file of somebody else comes in: `python -m tests.fuzz --help`."""
