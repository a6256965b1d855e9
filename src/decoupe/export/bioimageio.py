"""`export --bioimageio FILE.zip`: a run as a model of the BioImage Model Zoo, as ONNX and as TorchScript.

ilastik, deepImageJ, QuPath and others read it. The archive holds `rdf.yaml` (format 0.5), both networks, a README, and
an input with its output, by which a reader checks that it computes the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from decoupe import __version__
from decoupe.engine.files import write_atomic
from decoupe.errors import Fault
from decoupe.export.archive import pack
from decoupe.export.card import model_card
from decoupe.export.onnx import OPSET, example, graph, quiet
from decoupe.portable import Portable, portable

if TYPE_CHECKING:
    from decoupe.model import Model

FORMAT = "0.5.3"
SMALLEST = 32
"""Pixels of a side that readers may cut tiles to."""


def scripted(network: Portable, images: torch.Tensor) -> bytes:
    """TorchScript of a network by tracing; its sides and batch stay open. Fault if its method cannot be traced."""
    buffer = io.BytesIO()
    try:
        with torch.no_grad(), quiet():
            torch.jit.save(torch.jit.trace(network, images, check_trace=False), buffer)  # type: ignore[no-untyped-call]
    except (RuntimeError, TypeError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:100]
        raise Fault("a method that can be traced", reason, "distil the run first: decoupe distill") from None
    return buffer.getvalue()


def export_bioimageio(model: Model, file: str | Path) -> Path:
    """Write the archive of a run. Fault if its method cannot be exported."""
    network = portable(model)
    images = _photo(model)
    with torch.no_grad():
        probs = network(images)
    program = graph(network, example(model, torch.float32), {"probabilities": {}})
    files = {
        "model.onnx": program.model_proto.SerializeToString(),
        "input.npy": _npy(images.numpy()),
        "output.npy": _npy(probs.numpy()),
        "README.md": model_card(model).encode(),
    }
    with contextlib.suppress(Fault):  # a method that computes sizes while it runs has the ONNX graph alone
        files["model.pt"] = scripted(network, images)
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    files["rdf.yaml"] = as_yaml(description(model, sums)).encode()
    path = Path(file)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, pack(files.items()))
    return path


def description(model: Model, sums: Mapping[str, str]) -> dict[str, Any]:
    """The content of rdf.yaml; `sums`: SHA-256 of the files beside it."""
    bands = [f"band{index}" for index in range(model.spec.channels)]
    sides = {"min": SMALLEST, "step": 1}
    same = {axis: {"tensor_id": "images", "axis_id": axis} for axis in ("y", "x")}
    name = re.sub(r"[^A-Za-z0-9 ()_-]", " ", f"{model.room.NAME} regions ({len(model.names)})")
    return {
        "type": "model",
        "format_version": FORMAT,
        "name": name,
        "description": "Regions of images, found without pixel labels.",
        "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
        "authors": [{"name": "decoupe"}],
        "cite": [{"text": "Made with decoupe.", "url": "https://bioimage.io"}],
        "license": "Apache-2.0",
        "documentation": "README.md",
        "tags": ["semantic-segmentation", "unsupervised", "2d"],
        "inputs": [
            {
                "id": "images",
                "description": "pixels in 0..255",
                "axes": _axes(bands, {"y": sides, "x": sides}),
                "test_tensor": {"source": "input.npy", "sha256": sums["input.npy"]},
                "data": {"type": "float32", "range": [0, 255]},
            }
        ],
        "outputs": [
            {
                "id": "probabilities",
                "description": "probability of each region: " + ", ".join(_plain(name) for name in model.names),
                "axes": _axes(identifiers(model.names), same),
                "test_tensor": {"source": "output.npy", "sha256": sums["output.npy"]},
                "data": {"type": "float32", "range": [0, 1]},
            }
        ],
        "weights": {"onnx": {"source": "model.onnx", "sha256": sums["model.onnx"], "opset_version": OPSET}}
        | ({"torchscript": _script(sums["model.pt"])} if "model.pt" in sums else {}),
        "config": {"decoupe": {"version": __version__, "room": model.room.NAME, "names": list(model.names)}},
    }


def _script(sum_: str) -> dict[str, str]:
    version = torch.__version__.split("+")[0]
    return {"source": "model.pt", "sha256": sum_, "pytorch_version": version, "parent": "onnx"}


def identifiers(names: Sequence[str]) -> list[str]:
    """Names as the format takes them for channels: letters, digits and `_`, each once."""
    out: list[str] = []
    for index, name in enumerate(names):
        plain = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_").lower()
        plain = plain if plain.isidentifier() else f"region_{index}"
        out.append(plain if plain not in out else f"{plain}_{index}")
    return out


def _plain(name: str) -> str:
    return "".join(c if c.isprintable() else " " for c in name)[:60]


def _axes(channels: Sequence[str], sides: Mapping[str, Any]) -> list[dict[str, Any]]:
    spaces = [{"type": "space", "id": axis, "size": size} for axis, size in sides.items()]
    return [{"type": "batch"}, {"type": "channel", "channel_names": list(channels)}, *spaces]


def as_yaml(content: Any) -> str:
    """JSON, which YAML 1.2 is a superset of, kept to ASCII so that every reader takes it."""
    return json.dumps(content, indent=1, ensure_ascii=True) + "\n"


def _photo(model: Model) -> torch.Tensor:
    """(1, C, S, S) float32: smooth noise, which looks a little like a photo and belongs to nobody."""
    side = max(64, model.spec.size)
    noise = torch.rand(1, model.spec.channels, 8, 8, generator=torch.Generator().manual_seed(0))
    large = torch.nn.functional.interpolate(noise, (side, side), mode="bicubic", align_corners=False)
    return (large.clamp(0, 1) * 255).round()


def _npy(values: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(values, np.float32), allow_pickle=False)
    return buffer.getvalue()
