"""The table of protocols and how a rule meets the classes of a data set."""

from __future__ import annotations

import numpy as np
import pytest

from decoupe.errors import Fault, UsageFault
from decoupe.evaluate import protocols
from decoupe.evaluate.matching import MATCHINGS
from decoupe.evaluate.protocols import PROTOCOLS, REST, Rule, protocol_of


def test_one_object_gathers_all_but_background() -> None:
    rule = protocol_of("lfw", ("background", "hair", "skin"))
    assert rule.classes == ("background", "object") and rule.object == 1 and rule.matching == "hungarian"
    assert rule.translate(np.array([[0, 1, 2, 255]])).tolist() == [[0, 1, 1, 255]]


def test_own_classes() -> None:
    assert protocol_of("masks", ("soil", "crop")).object == 1
    many = protocol_of("synth", ("wall", "floor", "bed"))
    assert many.object is None and many.classes == ("wall", "floor", "bed")
    assert many.translate(np.array([[2, 0, 255]])).tolist() == [[2, 0, 255]]


def test_merges_leave_out_what_nobody_gathers(monkeypatch: pytest.MonkeyPatch) -> None:
    merged = {"vegetation": ("tree", "grass"), "building": ("building",)}
    table = {
        "three": Rule(merged),
        "rest": Rule(merged | {"other": (REST,)}),
        "odd": Rule({"x": ("sea",)}),
        "o": Rule(merged, object="building"),
    }
    monkeypatch.setattr(protocols, "PROTOCOLS", table)
    classes = ("building", "tree", "car", "grass")
    assert protocol_of("three", classes).translate(np.arange(4)[None]).tolist() == [[1, 0, 255, 0]]
    assert protocol_of("rest", classes).translate(np.arange(4)[None]).tolist() == [[1, 0, 2, 0]]
    assert protocol_of("o", classes).object == 1
    with pytest.raises(UsageFault, match="without sea"):
        protocol_of("odd", classes)


@pytest.mark.parametrize("wrong", [2, 254, 256, -1, 99_999])
def test_ids_that_the_data_set_does_not_have_are_refused(wrong: int) -> None:
    with pytest.raises(Fault, match=f"2 classes 0 to 1.*{wrong}"):
        protocol_of("masks", ("soil", "crop")).translate(np.array([[0, wrong]]))


def test_unknown_names_are_told_the_known_ones() -> None:
    with pytest.raises(UsageFault, match="flowers17"):
        protocol_of("flowers", ("background", "object"))


SCENES = tuple(
    name for name in PROTOCOLS if name.split("-")[0] in ("dronedeploy", "potsdam", "cocostuff", "cityscapes", "aerial")
)


@pytest.mark.parametrize("name", [name for name in PROTOCOLS if name not in (*SCENES, "voc2012-animals")])
def test_every_row_is_whole(name: str) -> None:
    rule = protocol_of(name, ("background", "object"))
    assert rule.matching in MATCHINGS and rule.object == 1 and len(rule.table) == 256
    assert rule.crop == name.endswith("-boxes")


@pytest.mark.parametrize("name", SCENES)
def test_rows_of_scenes_fit_their_layouts(name: str) -> None:
    from decoupe.data.layouts import aerial, scenes
    from decoupe.data.synthetic.aerial import CLASSES

    classes = {
        "dronedeploy": aerial.DRONEDEPLOY, "potsdam": aerial.POTSDAM, "cocostuff": tuple(scenes.STUFF),
        "cityscapes": tuple(scenes.CITY), "aerial": CLASSES,
    }[name.split("-")[0]]  # fmt: skip
    rule = protocol_of(name, classes)
    count = {"3": 3, "6": 6}.get(name.split("-")[1] if "-" in name else "", len(classes))
    assert len(rule.classes) == count and rule.object is None and rule.crop == name.startswith("potsdam")
    assert rule.matching == ("majority" if rule.fitted else "hungarian")
    ids = rule.translate(np.arange(len(classes))[None])[0]
    assert set(ids.tolist()) - {255} == set(range(count))
    if name == "cocostuff-3":
        assert (ids != 255).sum() == 3 and ids[classes.index("sky")] == 0
    elif name == "aerial-3":
        assert rule.classes[ids[CLASSES.index("grass")]] == rule.classes[ids[CLASSES.index("tree")]] == "vegetation"
    elif "-3" in name:
        assert (ids != 255).all()
