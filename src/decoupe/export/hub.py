"""`export --hub DIR`: a run as a folder to upload: weights, configuration, names, and a model card.

The folder is a run that `decoupe.load` opens. It holds nothing of the machine it was made on: no command, no paths, no
names of photos, no checkpoints. `config.json` repeats the configuration for other tools.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from decoupe.engine.files import dump_json, write_atomic
from decoupe.engine.runfolder import Run
from decoupe.errors import Fault
from decoupe.export.card import model_card
from decoupe.hub import PREFIX
from decoupe.methods import ROOMS

if TYPE_CHECKING:
    from decoupe.model import Model

KEPT = ("room", "config", "spec", "precision", "seed", "versions", "selection", "images_seen", "refined")
"""What of run.json others may know; `health`, `data` and configurations are cleaned further."""
DATA = ("n", "fingerprint", "skipped")
PATHS = ("teacher", "labels", "weights", "cues", "file")
"""Settings of rooms that name files: loading never needs them."""


def export_hub(model: Model, folder: str | Path) -> Path:
    """Write the folder. Fault if it has content."""
    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise Fault(f"--hub to be a new folder, not {target}", "one with content", "choose another name")
    source = model.run
    about: dict[str, Any] = {key: source.info[key] for key in KEPT if key in source.info}
    about["config"] = public(source.info["config"], ROOMS[source.info["room"]].config())
    about["data"] = {key: value for key, value in (source.info.get("data") or {}).items() if key in DATA}
    health = source.info.get("health") or {}
    about["health"] = {key: health[key] for key in ("healthy", "sentence", "collapsed_at") if key in health}
    if "refined" in about:
        about["refined"] = {"labelled": about["refined"].get("labelled")}
    run = Run.create(target, source.info["room"])
    run.commit(**about, status="done")
    run.write_bytes("weights.safetensors", source.verify("weights.safetensors").read_bytes())
    run.set_names(source.names, source.merges, source.colours)
    for number, (_, content) in enumerate(source.results(), start=1):
        rows = [{key: row[key] for key in row if key not in ("fit_on", "confusions")} for row in content["results"]]
        lean = {key: content[key] for key in ("protocol", "split", "date") if key in content}
        data = str(content.get("data", "")).partition(":")[0]
        run.save_result(f"result-{number}", lean | {"data": data, "results": rows})
    write_atomic(target / "config.json", dump_json({key: run.info[key] for key in ("room", "config", "spec")}))
    write_atomic(target / "README.md", (FRONT + model_card(model)).encode())
    return target


FRONT = """---
library_name: decoupe
pipeline_tag: image-segmentation
tags: [image-segmentation, unsupervised]
---

"""


def public(config: dict[str, Any], kind: type[Any]) -> dict[str, Any]:
    """A configuration without the folders in it.

    Addresses stay: hf: as it is, http(s) without user, password, query and fragment. A path that the room's Config,
    `kind`, has as None by itself becomes that again, any other a file's bare name: what was given decides how networks
    are built.
    """
    usual = {field.name: field.default for field in dataclasses.fields(kind)}

    def bare(key: str, value: Any) -> Any:
        if key not in PATHS or not isinstance(value, str):
            return value
        if value.startswith(PREFIX):
            return value
        if re.match(r"https?://", value, re.IGNORECASE):
            scheme, _, rest = value.partition("://")
            host, slash, path = re.split(r"[?#]", rest)[0].partition("/")
            return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"
        return None if usual[key] is None else re.split(r"[/\\]", value.rstrip("/\\"))[-1]

    return {key: bare(key, value) for key, value in config.items()}
