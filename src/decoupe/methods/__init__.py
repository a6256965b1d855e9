"""The rooms: every method decoupe knows, in one explicit table.

A room is a folder beside this file (README.md, losses.py, networks.py, config.py, room.py). Adding one means adding
one entry here; what it needs is imported only when it is used, so that listing rooms costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from decoupe.methods.room import Room


@dataclass(frozen=True)
class RoomEntry:
    """One row of the table. The three loaders import the room's files when called."""

    name: str
    """As it is typed: `decoupe fit NAME`."""
    line: str
    """What it is, in one line."""
    needs: str
    """What the user has to bring."""
    gives: str
    """What comes out."""
    config: Callable[[], type[Any]]
    """Returns the room's frozen Config dataclass."""
    presets: Callable[[], Mapping[str, Any]]
    """Returns its named Configs."""
    room: Callable[[], type[Room]]
    """Returns its Room subclass (imports torch)."""
    wants_backgrounds: bool = False
    """Whether training draws patches without the object."""
    wants_tags: bool | None = False
    """Whether training needs to know what is in each photo; None: it uses that where it is known."""
    training: Callable[[Any], Callable[..., Any] | None] = lambda config: None
    """The room's own way from settings to training data, for a Config that needs one; None: squares of the photos."""
    complete: Callable[[Any], Any] = lambda config: config
    """The Config of a new run with what its other settings imply filled in (the names of a teacher's regions)."""


def _independence_config() -> type[Any]:
    from decoupe.methods.independence.config import Config

    return Config


def _independence_presets() -> Mapping[str, Any]:
    from decoupe.methods.independence.config import PRESETS

    return PRESETS


def _independence_room() -> type[Room]:
    from decoupe.methods.independence.room import Independence

    return Independence


def _layer_disposal_config() -> type[Any]:
    from decoupe.methods.layer_disposal.config import Config

    return Config


def _layer_disposal_presets() -> Mapping[str, Any]:
    from decoupe.methods.layer_disposal.config import PRESETS

    return PRESETS


def _layer_disposal_room() -> type[Room]:
    from decoupe.methods.layer_disposal.room import LayerDisposal

    return LayerDisposal


def _independence_complete(config: Any) -> Any:
    from decoupe.methods.independence.config import complete

    return complete(config)


def _independence_training(config: Any) -> Callable[..., Any] | None:
    if config.task == "foreground":
        return None
    from decoupe.methods.independence.cluster.patches import single_image

    return single_image


def _redraw_config() -> type[Any]:
    from decoupe.methods.redraw.config import Config

    return Config


def _redraw_presets() -> Mapping[str, Any]:
    from decoupe.methods.redraw.config import PRESETS

    return PRESETS


def _redraw_room() -> type[Room]:
    from decoupe.methods.redraw.room import Redraw

    return Redraw


def _student_config() -> type[Any]:
    from decoupe.methods.student.config import Config

    return Config


def _student_presets() -> Mapping[str, Any]:
    from decoupe.methods.student.config import PRESETS

    return PRESETS


def _student_room() -> type[Room]:
    from decoupe.methods.student.room import Student

    return Student


def _student_complete(config: Any) -> Any:
    from decoupe.methods.student.config import complete

    return complete(config)


def _autoregressive_config() -> type[Any]:
    from decoupe.methods.autoregressive.config import Config

    return Config


def _autoregressive_presets() -> Mapping[str, Any]:
    from decoupe.methods.autoregressive.config import PRESETS

    return PRESETS


def _autoregressive_room() -> type[Room]:
    from decoupe.methods.autoregressive.room import AutoregressiveRoom

    return AutoregressiveRoom


def _iic_config() -> type[Any]:
    from decoupe.methods.iic.config import Config

    return Config


def _iic_presets() -> Mapping[str, Any]:
    from decoupe.methods.iic.config import PRESETS

    return PRESETS


def _iic_room() -> type[Room]:
    from decoupe.methods.iic.room import Iic

    return Iic


def _tags_config() -> type[Any]:
    from decoupe.methods.tags.config import Config

    return Config


def _tags_presets() -> Mapping[str, Any]:
    from decoupe.methods.tags.config import PRESETS

    return PRESETS


def _tags_room() -> type[Room]:
    from decoupe.methods.tags.room import Tags

    return Tags


def _scene_vae_config() -> type[Any]:
    from decoupe.methods.scene_vae.config import Config

    return Config


def _scene_vae_presets() -> Mapping[str, Any]:
    from decoupe.methods.scene_vae.config import PRESETS

    return PRESETS


def _scene_vae_room() -> type[Room]:
    from decoupe.methods.scene_vae.room import SceneVae

    return SceneVae


def _scene_vae_complete(config: Any) -> Any:
    from decoupe.methods.scene_vae.config import complete

    return complete(config)


def _baselines_config() -> type[Any]:
    from decoupe.methods.baselines.config import Config

    return Config


def _baselines_presets() -> Mapping[str, Any]:
    from decoupe.methods.baselines.config import PRESETS

    return PRESETS


def _baselines_room() -> type[Room]:
    from decoupe.methods.baselines.room import Baselines

    return Baselines


ROOMS: Mapping[str, RoomEntry] = {
    entry.name: entry
    for entry in (
        RoomEntry(
            "independence",
            "finds the object that can be pasted onto any background and still look real",
            "photos of one kind of object, better with --boxes; backgrounds are optional",
            "background and object",
            _independence_config,
            _independence_presets,
            _independence_room,
            wants_backgrounds=True,
            training=_independence_training,
            complete=_independence_complete,
        ),
        RoomEntry(
            "layer_disposal",
            "finds layers of which any can be left out so that the image still looks real; looks behind objects",
            "photos of one kind of scene, thousands of them",
            "background and K layers, each with its own image",
            _layer_disposal_config,
            _layer_disposal_presets,
            _layer_disposal_room,
        ),
        RoomEntry(
            "redraw",
            "finds regions of which any one can be redrawn so that the image still looks real",
            "photos of one kind of object, a thousand or more",
            "K regions",
            _redraw_config,
            _redraw_presets,
            _redraw_room,
        ),
        RoomEntry(
            "student",
            "a small fast network that learns another run's masks and sharpens them: made by decoupe distill",
            "a run with masks; its photos are used again",
            "the regions of that run",
            _student_config,
            _student_presets,
            _student_room,
            wants_backgrounds=True,
            complete=_student_complete,
        ),
        RoomEntry(
            "autoregressive",
            "divides images into K regions on which views by different orderings of the pixels agree",
            "images of any number of bands; a hundred or more",
            "K regions",
            _autoregressive_config,
            _autoregressive_presets,
            _autoregressive_room,
        ),
        RoomEntry(
            "iic",
            "divides images into K regions on which an image and its transform agree",
            "images of any number of bands; a hundred or more",
            "K regions",
            _iic_config,
            _iic_presets,
            _iic_room,
        ),
        RoomEntry(
            "tags",
            "finds where in the photos the things are that their tags name: classifier, class maps, SEC, dense CRF",
            "photos and --tags (a CSV: image,tags); weights of a classifier help much",
            "background and one region per tag, named",
            _tags_config,
            _tags_presets,
            _tags_room,
            wants_tags=True,
        ),
        RoomEntry(
            "scene_vae",
            "one latent space for image, tags and mask: masks of images, and new images with their masks",
            "photos, and masks of some of them (or the masks of another run)",
            "the classes of the masks; with `decoupe imagine` new pairs",
            _scene_vae_config,
            _scene_vae_presets,
            _scene_vae_room,
            wants_tags=None,
            complete=_scene_vae_complete,
        ),
        RoomEntry(
            "baselines",
            "simple references to beat: k-means, Otsu, GrabCut, an ellipse, an average mask",
            "photos (average-mask also needs labels, and says so)",
            "background and object, or K regions",
            _baselines_config,
            _baselines_presets,
            _baselines_room,
        ),
    )
}
"""Name -> entry, in the order in which they are shown."""
