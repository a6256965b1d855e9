"""`export --onnx FILE`: a run as one ONNX graph for any number and size of images, with its names inside.

    images         uint8 (batch, C, height, width), as a photo's file has them
    probabilities  float32 (batch, K, height, width), summing to 1 over K
    labels         int64 (batch, height, width), the most probable region

The metadata hold `names` (a JSON list), `room`, `bands`, `size` and `decoupe` (the version).
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from decoupe import __version__
from decoupe.engine.files import write_atomic
from decoupe.errors import Fault
from decoupe.portable import Labelled, portable

if TYPE_CHECKING:
    from decoupe.model import Model

OPSET = 18
MOST_IMAGES, LONGEST_SIDE = 4096, 1 << 16


def metadata(model: Model) -> dict[str, str]:
    """What the graph says of itself: nothing of the machine, the photos or their folders."""
    return {
        "names": json.dumps(list(model.names)),
        "room": model.room.NAME,
        "bands": str(model.spec.channels),
        "size": str(model.spec.size),
        "decoupe": __version__,
    }


@contextmanager
def quiet() -> Iterator[None]:
    """The exporter tells its authors much that users cannot act on."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "torch.export")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def graph(network: nn.Module, example: torch.Tensor, outputs: dict[str, dict[int, str]]) -> Any:
    """The ONNX program of a network of one input `images`. Fault if its method cannot be exported, or without ONNX.

    outputs: their names.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError:
        raise Fault("the packages onnx and onnxscript", "none", "pip install 'decoupe[onnx]'") from None
    try:
        with torch.no_grad(), quiet():
            return torch.onnx.export(
                exported(network, example), dynamo=True, input_names=["images"], output_names=list(outputs),
                opset_version=OPSET, verbose=False,
            )  # fmt: skip
    except Exception as error:  # noqa: BLE001 the exporter raises whatever its many layers raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:100]
        raise Fault("a method that runs as one graph", reason, "distil the run first: decoupe distill") from None


def exported(network: nn.Module, example: torch.Tensor) -> torch.export.ExportedProgram:
    """The network with the number and the sides of its images left open."""
    side = torch.export.Dim("height", min=2, max=LONGEST_SIDE), torch.export.Dim("width", min=2, max=LONGEST_SIDE)
    shapes = ({0: torch.export.Dim("batch", min=1, max=MOST_IMAGES), 2: side[0], 3: side[1]},)
    return torch.export.export(network.eval(), (example,), dynamic_shapes=shapes, strict=False)


def example(model: Model, dtype: torch.dtype = torch.uint8) -> torch.Tensor:
    """(2, C, 45, 53) noise of grey values: odd sides, so that nothing is taken for fixed."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (2, model.spec.channels, 45, 53), generator=generator, dtype=torch.uint8).to(dtype)


def export_onnx(model: Model, file: str | Path) -> Path:
    """Write the graph of a run. Fault if its method cannot be exported."""
    program = graph(Labelled(portable(model)), example(model), {"probabilities": {}, "labels": {}})
    proto = program.model_proto
    for key, value in metadata(model).items():
        proto.metadata_props.add(key=key, value=value)
    proto.doc_string = "regions of an image, found without pixel labels"
    path = Path(file)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, proto.SerializeToString())
    return path
