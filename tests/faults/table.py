"""Figures of the parts to rows of the table."""

from __future__ import annotations

from typing import Any


def rows(found: dict[str, Any]) -> list[str]:
    """A row for each part that was measured, in a fixed order."""
    return [ROWS[part](found[part]) for part in ROWS if part in found]


def _row(what: str, often: str, must: str, one: dict[str, Any]) -> str:
    return f"| {what} | {often} | {must} | {len(one['wrong'])} | {one['date']} |"


def _rig(one: dict[str, Any]) -> str:
    hit = {told: count for told, count in one["found"].items() if told != "not hit"}
    ends = ", ".join(f"{count:,} {told}" for told, count in sorted(hit.items(), key=lambda pair: -pair[1]))
    often = (
        f"{sum(hit.values()):,} of {one['planned']:,} points, drawn at random, over {one['operations']:,} operations"
    )
    return _row(
        "the n-th of a fit's writes, fsyncs and renames fails (disk full, I/O error, killed on the spot; once or for"
        " good; every tenth again in its recovery)",
        f"{often} ({ends})",
        "the run goes on, or begins anew where there was none, to the very bytes of an undisturbed one; told in a line",
        one,
    )  # fmt: skip


def _masks(one: dict[str, Any]) -> str:
    return _row(
        "the n-th write, fsync or rename of a `segment` in all formats fails in the same ways; every third again in its"
        " recovery",
        f"{one['found'].get('went on', 0):,} points over {one['operations']:,} operations",
        "the same line goes on to the very files of an undisturbed one; told in a line", one,
    )  # fmt: skip


def _flips(one: dict[str, Any]) -> str:
    return _row(
        f"one bit of one of the {one['files']} files of a run is flipped",
        f"{one['found']:,} of {one['flips']:,} found", "refused by name, in a line", one,
    )  # fmt: skip


def _bombs(one: dict[str, Any]) -> str:
    ends = ", ".join(f"{count:,} {told}" for told, count in sorted(one["ended"].items(), key=lambda pair: -pair[1]))
    return _row(
        "a file unpacks to far more than it holds (PNG, TIFF, NPY, NPZ, GIF, JPEG, BMP, PPM, COCO,"
        " Label Studio, XML, JSON)",
        f"{one['bombs']:,} ({ends}); at most {one['peak_mb']:.0f} MB",
        "refused in a line, or read within the limit of pixels; memory at most the limit's and 200 MB", one,
    )  # fmt: skip


def _fuzz(one: dict[str, Any]) -> str:
    return _row(
        f"damaged files through {one['doors']} doors",
        f"{one['inputs']:,} in {one['cpu_s'] / 60:.1f} minutes of processor time; at most {one['peak_mb']:.0f} MB",
        "read, or refused in a line; no other exception, no 10 s of processor time, no 1 GB of memory", one,
    )  # fmt: skip


def _suite(one: dict[str, Any]) -> str:
    return _row(
        "the test suite, every Python process watched by an audit hook", f"{one['processes']:,} processes",
        "nothing unpickled below our code, no connection and no listener off loopback", one,
    )  # fmt: skip


ROWS = {"rig": _rig, "masks": _masks, "flips": _flips, "bombs": _bombs, "fuzz": _fuzz, "suite": _suite}
