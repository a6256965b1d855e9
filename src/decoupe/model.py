"""A trained run, loaded to segment new images in their own frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from decoupe.compositing import Layered
from decoupe.data.decode import conform, read_image, resize
from decoupe.engine.runfolder import Run
from decoupe.engine.tensors import load_tensors
from decoupe.errors import Fault
from decoupe.methods import ROOMS
from decoupe.methods.config import in_range, read_config
from decoupe.methods.room import DataSpec, Room, to_unit
from decoupe.types import Image, Probabilities, Regions

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

Selection = Literal["selected", "last"] | int


def build_room(room: str, config: Any, spec: Any, where: str) -> Room:
    """A room with fresh weights from JSON. Fault on an unknown room, key, type or range, before any allocation."""
    if room not in ROOMS:
        raise Fault(f"a room of this version in {where}", repr(room)[:60], f"known are {', '.join(ROOMS)}")
    data = read_config(DataSpec, spec, where)
    in_range("channels", data.channels, 1, 4096)
    in_range("size", data.size, 32, 4096)
    settings = read_config(ROOMS[room].config(), config, where)
    return ROOMS[room].room().of(settings)(settings, data)


def embedding_rooms() -> list[str]:
    """Names of the rooms that define `embed`."""
    return [name for name, entry in ROOMS.items() if entry.room().embed is not Room.embed]


def _weights_file(run: Run, selection: Selection) -> Path:
    if selection == "selected":
        if "weights.safetensors" not in run.info["files"]:
            raise Fault(
                f"a finished run at {run.path}",
                "one without weights.safetensors",
                f"finish it: decoupe fit {run.info['room']} --run {run.path} --resume",
            )
        return run.verify("weights.safetensors")
    candidates = run.candidates()
    if not candidates:
        return run.verify("weights.safetensors")
    if selection == "last":
        return run.verify(str(candidates[-1].path.relative_to(run.path)))
    for candidate in candidates:
        if candidate.images == selection:
            return run.verify(str(candidate.path.relative_to(run.path)))
    raise Fault(
        f"a snapshot at image {selection}", "none", f"choose one of {', '.join(str(c.images) for c in candidates)}"
    )


def _upright(image: PillowImage) -> PillowImage:
    """As a file of it would be read: EXIF rotation applied, palette and transparency over white."""
    from PIL import Image as pillow
    from PIL import ImageOps

    turned = ImageOps.exif_transpose(image)
    if turned.mode in ("P", "PA", "LA", "RGBA"):
        layer = turned.convert("RGBA")
        return pillow.alpha_composite(pillow.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return turned.convert("RGB") if turned.mode in ("CMYK", "YCbCr", "LAB", "HSV") else turned


class Model:
    """A run ready to segment. Make one with `decoupe.load(run)`."""

    def __init__(self, run: Run, selection: Selection = "selected", device: str | None = None) -> None:
        tensors, _ = load_tensors(_weights_file(run, selection))
        self.run, self.selection = run, selection
        self.room = build_room(run.info["room"], run.info.get("config"), run.info.get("spec"), f"{run.path}/run.json")
        self.spec = self.room.spec
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._missing = self._fill(tensors)
        self.room.to(self.device).to(memory_format=torch.channels_last).eval().requires_grad_(False)  # type: ignore[call-overload]
        own = self.room.regions
        named = len(run.names) == len(own)  # a snapshot from before K was proposed has regions that nobody named
        self.groups = self._grouping() if named else [[i] for i in range(len(own))]
        """Regions of the method that each of `names` stands for: one, or those that were merged."""
        given = run.names if named else own
        self.names: tuple[str, ...] = tuple(given[group[0]] for group in self.groups)
        """One name per region that `segment` returns (merged regions count once)."""
        self.picked = run.colours if named else ()
        """Of each of the method's own regions the colour "#rrggbb" that a person chose, or ""; () where none was."""
        self.colours: tuple[str, ...] = tuple(self.picked[group[0]] for group in self.groups) if self.picked else ()
        """Of each of `names` the colour "#rrggbb" that a person chose, or ""; () where none was chosen."""
        self.crf = self.room.crf
        """Preset of the dense CRF that is part of the method and runs over whole photos; None: none."""

    def _fill(self, tensors: dict[str, Tensor]) -> bool:
        """Take the weights; returns whether those that only `embed` needs are missing (an older run)."""
        own, files = self.room.state_dict(), self.run.info["files"]
        if self.room.kept and self.selection != "selected" and "weights.safetensors" in files:
            stored, _ = load_tensors(self.run.verify("weights.safetensors"))
            tensors = {k: t for k, t in stored.items() if k.startswith(self.room.kept)} | tensors
        wrong = {k for k, t in tensors.items() if k not in own or own[k].shape != t.shape}
        if not wrong:
            self.room.load_state_dict(tensors, strict=False)
            wrong = {k for k in own if k.startswith(tuple(self.room.inference))} - set(tensors)
        if wrong:
            raise Fault(
                f"weights of a {self.room.NAME} room of this configuration",
                f"other tensors ({min(wrong)})",
                "use the weights and run.json of one run",
            )
        return bool(self.room.kept) and any(k.startswith(self.room.kept) and k not in tensors for k in own)

    def _grouping(self) -> list[list[int]]:
        merged = [sorted(group) for group in self.run.merges]
        alone = set(range(len(self.room.regions))) - {i for group in merged for i in group}
        return sorted([*merged, *([i] for i in alone)])

    @torch.inference_mode()
    def predict(self, squares: NDArray[np.uint8], tags: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """uint8 (B, C, S, S) -> float32 (B, K, S, S), regions merged as named: the batched network alone.

        `tags`: (B, classes) of 0, 1 or NaN = not known, for rooms that infer from them too (`given.given_tags` checks).
        """
        tensor = to_unit(squares, self.device)
        bf16 = self.run.info.get("precision") == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            known = None if tags is None else torch.from_numpy(tags).to(self.device)
            probs = (self.room.segment(tensor) if known is None else self.room.infer_masks(tensor, known)).float()
        if len(self.groups) < probs.shape[1]:
            probs = torch.stack([probs[:, group].sum(1) for group in self.groups], 1)
        return np.asarray(probs.cpu().numpy())

    @torch.inference_mode()
    def embed_squares(self, squares: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """uint8 (B, C, S, S) -> float32 (B, D) per kind of embedding the room has. Fault if it has none.

        Always in fp32: distances between embeddings are what they are for.
        """
        if self._missing:
            status = str(self.run.info.get("status"))
            raise Fault(
                f"a run that stored what embeddings need at {self.run.path}",
                "one made by an earlier version" if status == "done" else f"one whose status is {status}",
                f"train it again with decoupe fit {self.room.NAME}",
            )  # fmt: skip
        found = self.room.embed(to_unit(squares, self.device))
        if not found:
            raise Fault(
                f"a room with embeddings ({', '.join(embedding_rooms()) or 'none yet'})", f"a run of {self.room.NAME}",
                "choose a run of one of them",
            )  # fmt: skip
        return {kind: np.asarray(values.float().cpu().numpy()) for kind, values in found.items()}

    def embed(self, images: Sequence[Image]) -> dict[str, NDArray[np.float32]]:
        """(N, D) float32 per kind of embedding of (H, W, C) uint8 images of any sizes. Fault if the room has none."""
        if not images:
            raise Fault("at least one image", "none", "pass one")
        return self.embed_squares(np.stack([self.square(image) for image in images]))

    def square(self, image: Image) -> NDArray[np.uint8]:
        """(H, W, C) uint8 -> (C, S, S) uint8: the bands and the size the room was trained on."""
        conformed = conform(image, self.spec.channels)
        return np.ascontiguousarray(resize(conformed, self.spec.size, self.spec.size).transpose(2, 0, 1))

    def segment_arrays(self, images: Sequence[Image]) -> list[Probabilities]:
        """Regions of (H, W, C) uint8 images of any sizes: a list of (K, H, W) float32, each in its image's frame."""
        from decoupe.data.decode import resize_probs

        if not images:
            return []
        if self.room.WHOLE:
            return [self.look(image).probs for image in images]
        probs = self.predict(np.stack([self.square(image) for image in images]))
        found = [resize_probs(p, *image.shape[:2]) for p, image in zip(probs, images, strict=True)]
        if self.crf is None:
            return found
        from decoupe.crf import sharpen

        pairs = zip(found, images, strict=True)
        return [sharpen(Regions(p, self.names), image, self.crf, self.device).probs for p, image in pairs]

    @torch.inference_mode()
    def look(self, image: Image) -> Regions:
        """Regions and instances of one (H, W, C) uint8 photo by a room that is WHOLE, under the run's names."""
        bf16 = self.run.info.get("precision") == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            found = self.room.look(conform(image, self.spec.channels))
        if len(self.groups) == len(found.probs):
            return Regions(found.probs, self.names, instances=found.instances)
        home = {region: row for row, group in enumerate(self.groups) for region in group}
        things = tuple(replace(one, region=home[one.region]) for one in found.instances)
        return Regions(np.stack([found.probs[group].sum(0) for group in self.groups]), self.names, instances=things)

    @torch.inference_mode()
    def count(self, image: Image) -> Any:
        """What the room says about the number of things in one (H, W, C) uint8 photo. Only where the room is WHOLE."""
        bf16 = self.run.info.get("precision") == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            return self.room.count(conform(image, self.spec.channels))

    def segment(self, image: Image | PillowImage | str | Path) -> Regions:
        """The regions of one image: a file, a Pillow image, or (H, W) or (H, W, C) uint8. Fault if unreadable."""
        if isinstance(image, str | Path):
            array = read_image(Path(image))
        else:
            array = np.asarray(image if isinstance(image, np.ndarray) else _upright(image))
            array = array[..., None] if array.ndim == 2 else array
            if array.dtype != np.uint8 or array.ndim != 3:
                raise Fault("an (H, W, C) uint8 image", f"{array.dtype} {array.shape}", "convert it to uint8 first")
        if self.room.WHOLE:
            return self.look(array)
        return Regions(self.segment_arrays([array])[0], self.names, self._layers(array))

    def _layers(self, image: Image) -> NDArray[np.float32] | None:
        """(K, H, W, 4) premultiplied RGBA of an image, from rooms that find layers."""
        if not isinstance(self.room, Layered):
            return None
        from decoupe import layers

        return layers.resized(layers.rgba(self, self.square(image)[None])[0], (image.shape[0], image.shape[1]))


def load(run: str | Path | Run, selection: Selection = "selected", device: str | None = None) -> Model:
    """Load a run folder. `selection`: the label-free choice, the last snapshot, or a snapshot by its images seen.

    "hf:OWNER/NAME@REVISION" is fetched from the Hugging Face Hub once (extra `hub`). Fault if the folder is no run,
    unfinished, damaged, or holds anything but safetensors; nothing is ever unpickled.
    """
    if isinstance(run, str) and run.startswith("hf:"):
        from decoupe.hub import fetched

        run = fetched(run)
    return Model(run if isinstance(run, Run) else Run.open(run), selection, device)


def loaded(run: Any) -> Model:
    """The model of a run or of its path; what is no path and no run is taken for a model and returned as it is."""
    model: Model = load(run) if isinstance(run, str | Path | Run) else run
    return model
