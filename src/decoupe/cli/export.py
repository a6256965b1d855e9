"""`decoupe export RUN --onnx FILE | --bioimageio FILE.zip | --hub DIR`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from decoupe import console
from decoupe.cli.parser import Parser, Verb, filled
from decoupe.errors import UsageFault


def ending(flag: str, suffix: str) -> Callable[[str], str]:
    """Reader of a file name with a fixed ending."""

    def read(text: str) -> str:
        if not filled(flag)(text).lower().endswith(suffix):
            raise UsageFault(f"{flag} FILE{suffix}", repr(text), f"give it the ending {suffix}")
        return text

    return read


def flags(parser: Parser) -> None:
    """Arguments of `export`."""
    add = parser.add_argument
    add("run", metavar="RUN", type=filled("RUN"), help="run folder with masks")
    add("--onnx", metavar="FILE", type=ending("--onnx", ".onnx"), help="one ONNX graph: pixels in, regions out")
    add(
        "--bioimageio",
        metavar="FILE",
        type=ending("--bioimageio", ".zip"),
        help="an archive for ilastik, deepImageJ, QuPath and the BioImage Model Zoo",
    )
    add("--hub", metavar="DIR", type=filled("--hub"), help="a folder to upload: weights, configuration, model card")


def run(given: argparse.Namespace) -> None:
    """Write what was asked for."""
    wanted = [name for name in ("onnx", "bioimageio", "hub") if getattr(given, name) is not None]
    if not wanted:
        raise UsageFault(
            "--onnx FILE, --bioimageio FILE or --hub DIR", "none", "write decoupe export RUN --onnx a.onnx"
        )
    from decoupe.export.bioimageio import export_bioimageio
    from decoupe.export.hub import export_hub
    from decoupe.export.onnx import export_onnx
    from decoupe.model import load

    writers: dict[str, Callable[[Any, str], Any]] = {
        "onnx": export_onnx, "bioimageio": export_bioimageio, "hub": export_hub,
    }  # fmt: skip
    model = load(given.run, device="cpu")
    for name in wanted:
        console.line(f"{name:<11}{writers[name](model, getattr(given, name))}")


VERB = Verb(
    "export", "a run for other programs: ONNX, BioImage.IO, the Hugging Face Hub",
    "RUN --onnx FILE | --bioimageio FILE.zip | --hub DIR", flags, run,
)  # fmt: skip
