"""A model card: what a run is, how it was made and how well it does, without anything of the machine it was made on."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from decoupe import __version__
from decoupe.methods import ROOMS

if TYPE_CHECKING:
    from decoupe.model import Model


def plain(text: object) -> str:
    """Text that is text in Markdown and HTML: no control characters, no markup, no table, at most 200 characters."""
    shown = "".join(c if c.isprintable() else " " for c in str(text))[:200]
    return re.sub(r"([\\`*_{}\[\]()#+!|~$])", r"\\\1", shown.replace("&", "&amp;").replace("<", "&lt;"))


def model_card(model: Model) -> str:
    """Markdown: use, regions, how it was trained, health, scores with intervals, limits."""
    info, entry = model.run.info, ROOMS[model.room.NAME]
    data, health = info.get("data") or {}, info.get("health") or {}
    labelled = (info.get("refined") or {}).get("labelled")
    learned = f"from images and {labelled} labelled photos" if labelled else "from images alone, without pixel labels"
    if getattr(model.room, "uses_labels", False):
        learned = "with masks"
    parts = [
        f"# {model.room.NAME}: {len(model.names)} regions",
        f"A model of decoupe {__version__} that {entry.line}. It learned {learned}.",
        "## Regions\n\n" + "\n".join(f"{index}. {plain(name)}" for index, name in enumerate(model.names)),
        '## Use\n\n```python\nimport decoupe\n\nregions = decoupe.load("FOLDER").segment("photo.jpg")\n```',
        "## How it was made\n\n" + "\n".join(f"- {key}: {value}" for key, value in _made(info, data).items()),
        f"## Health\n\n{plain(health.get('sentence', 'not recorded'))}.",
        "## Scores\n\n" + _scores(model),
        "## Limits\n\n" + _limits(model, data),
    ]
    return "\n\n".join(parts) + "\n"


def _made(info: dict[str, Any], data: dict[str, Any]) -> dict[str, str]:
    chosen = info.get("selection") or {}
    versions = info.get("versions") or {}
    made = {
        "images": f"{data['n']:,}" if "n" in data else "not recorded",
        "fingerprint of the images": f"`{str(data.get('fingerprint', 'not recorded'))[:80]}`",
        "images seen": f"{info['images_seen']:,}" if "images_seen" in info else "not recorded",
        "seed": plain(info.get("seed", "not recorded")),
        "snapshot": f"image {chosen['images']:,}, by a label-free score" if chosen.get("images") else "the last",
        "torch": plain(versions.get("torch", "not recorded")),
    }
    return made


def _scores(model: Model) -> str:
    """A table of every stored result's rows."""
    lines = [
        "| data | row | IoU | mIoU | 95 % interval | accuracy | images | matched |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for _, content in model.run.results():
        for row in content.get("results", []):
            metrics, interval = row.get("metrics") or {}, row.get("interval") or {}
            pair = interval.get("iou") or interval.get("miou") or []
            cells = [
                plain(str(content.get("data", "")).partition(":")[0]), plain(row.get("row", "")),
                _number(metrics.get("iou")), _number(metrics.get("miou")),
                " to ".join(_number(end) for end in pair), _number(metrics.get("accuracy")),
                plain(row.get("n_images", "")), plain(row.get("matching", "")),
            ]  # fmt: skip
            lines.append("| " + " | ".join(cells) + " |")
    if len(lines) == 2:
        return "None were measured."
    return "\n".join(lines) + "\n\nThe row `oracle` was chosen by these labels and only tells what choosing costs."


def _number(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, int | float) else ""


def _limits(model: Model, data: dict[str, Any]) -> str:
    spec = model.spec
    return "\n".join(
        [
            f"- Photos are seen at {spec.size} x {spec.size} pixels with {spec.channels} bands; finer things are lost.",
            "- It knows photos like those it was trained on, and gives regions for others too, without a warning.",
            "- Regions are what the method found; names were given afterwards by a person or by a few masks.",
            "- Scores hold for the data they were measured on.",
        ]
    )
