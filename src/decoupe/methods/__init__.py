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
    """One row of the table. The two loaders import the room's files when called."""

    name: str
    """As it is typed: `decoupe fit NAME`."""
    line: str
    """What it is, in one line."""
    needs: str
    """What the user has to bring."""
    gives: str
    """What comes out."""
    settings: Callable[[], Any]
    """Returns the room's config.py: `Config`, `PRESETS` and, where settings imply others, `complete`."""
    room: Callable[[], type[Room]]
    """Returns its Room subclass (imports torch)."""
    wants_backgrounds: bool = False
    """Whether training draws patches without the object."""
    wants_tags: bool | None = False
    """Whether training needs to know what is in each photo; None: it uses that where it is known."""
    training: Callable[[Any], Callable[..., Any] | None] = lambda config: None
    """The room's own way from settings to training data, for a Config that needs one; None: squares of the photos."""

    def config(self) -> type[Any]:
        """The room's frozen Config dataclass."""
        kind: type[Any] = self.settings().Config
        return kind

    def presets(self) -> Mapping[str, Any]:
        """Its named Configs."""
        named: Mapping[str, Any] = self.settings().PRESETS
        return named

    def complete(self, config: Any) -> Any:
        """The Config of a new run with what its other settings imply filled in (the names of a teacher's regions)."""
        filled = getattr(self.settings(), "complete", None)
        return config if filled is None else filled(config)


def _independence_settings() -> Any:
    from decoupe.methods.independence import config

    return config


def _independence_room() -> type[Room]:
    from decoupe.methods.independence.room import Independence

    return Independence


def _independence_training(config: Any) -> Callable[..., Any] | None:
    if config.task == "foreground":
        return None
    from decoupe.methods.independence.cluster.patches import single_image

    return single_image


def _layer_disposal_settings() -> Any:
    from decoupe.methods.layer_disposal import config

    return config


def _layer_disposal_room() -> type[Room]:
    from decoupe.methods.layer_disposal.room import LayerDisposal

    return LayerDisposal


def _redraw_settings() -> Any:
    from decoupe.methods.redraw import config

    return config


def _redraw_room() -> type[Room]:
    from decoupe.methods.redraw.room import Redraw

    return Redraw


def _student_settings() -> Any:
    from decoupe.methods.student import config

    return config


def _student_room() -> type[Room]:
    from decoupe.methods.student.room import Student

    return Student


def _autoregressive_settings() -> Any:
    from decoupe.methods.autoregressive import config

    return config


def _autoregressive_room() -> type[Room]:
    from decoupe.methods.autoregressive.room import AutoregressiveRoom

    return AutoregressiveRoom


def _iic_settings() -> Any:
    from decoupe.methods.iic import config

    return config


def _iic_room() -> type[Room]:
    from decoupe.methods.iic.room import Iic

    return Iic


def _tags_settings() -> Any:
    from decoupe.methods.tags import config

    return config


def _tags_room() -> type[Room]:
    from decoupe.methods.tags.room import Tags

    return Tags


def _scene_vae_settings() -> Any:
    from decoupe.methods.scene_vae import config

    return config


def _scene_vae_room() -> type[Room]:
    from decoupe.methods.scene_vae.room import SceneVae

    return SceneVae


def _baselines_settings() -> Any:
    from decoupe.methods.baselines import config

    return config


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
            _independence_settings,
            _independence_room,
            wants_backgrounds=True,
            training=_independence_training,
        ),
        RoomEntry(
            "layer_disposal",
            "finds layers of which any can be left out so that the image still looks real; looks behind objects",
            "photos of one kind of scene, thousands of them",
            "background and K layers, each with its own image",
            _layer_disposal_settings,
            _layer_disposal_room,
        ),
        RoomEntry(
            "redraw",
            "finds regions of which any one can be redrawn so that the image still looks real",
            "photos of one kind of object, a thousand or more",
            "K regions",
            _redraw_settings,
            _redraw_room,
        ),
        RoomEntry(
            "student",
            "a small fast network that learns another run's masks and sharpens them: made by decoupe distill",
            "a run with masks; its photos are used again",
            "the regions of that run",
            _student_settings,
            _student_room,
            wants_backgrounds=True,
        ),
        RoomEntry(
            "autoregressive",
            "divides images into K regions on which views by different orderings of the pixels agree",
            "images of any number of bands; a hundred or more",
            "K regions",
            _autoregressive_settings,
            _autoregressive_room,
        ),
        RoomEntry(
            "iic",
            "divides images into K regions on which an image and its transform agree",
            "images of any number of bands; a hundred or more",
            "K regions",
            _iic_settings,
            _iic_room,
        ),
        RoomEntry(
            "tags",
            "finds where in the photos the things are that their tags name: classifier, class maps, SEC, dense CRF",
            "photos and --tags (a CSV: image,tags); weights of a classifier help much",
            "background and one region per tag, named",
            _tags_settings,
            _tags_room,
            wants_tags=True,
        ),
        RoomEntry(
            "scene_vae",
            "one latent space for image, tags and mask: masks of images, and new images with their masks",
            "photos, and masks of some of them (or the masks of another run)",
            "the classes of the masks; with `decoupe imagine` new pairs",
            _scene_vae_settings,
            _scene_vae_room,
            wants_tags=None,
        ),
        RoomEntry(
            "baselines",
            "simple references to beat: k-means, Otsu, GrabCut, an ellipse, an average mask",
            "photos (average-mask also needs labels, and says so)",
            "background and object, or K regions",
            _baselines_settings,
            _baselines_room,
        ),
    )
}
"""Name -> entry, in the order in which they are shown."""
