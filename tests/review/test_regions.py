"""Names, merges and colours: every change reaches names.json, and every change can be taken back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from decoupe.engine.runfolder import Run
from decoupe.errors import Fault, UsageFault
from decoupe.model import load
from decoupe.review.regions import Naming, Regions, background, merge, read, recolour, rename, split


def plain(k: int = 5) -> Naming:
    return Naming(tuple(f"region {i}" for i in range(k)), (), ())


def test_a_name_reaches_the_run_and_every_later_mask(run: Callable[[str], Path]) -> None:
    path = run("four")
    regions = Regions(path)
    regions.change(rename(2, "  leaf "))
    regions.change(merge([2, 0]))
    assert Run.open(path).names[0] == "leaf" and Run.open(path).merges == [[0, 2]]
    assert load(path).names == ("leaf", "region 1", "region 3")
    assert regions.undo().names[2] == "leaf" and Run.open(path).merges == []
    assert regions.undo() == plain(4)
    with pytest.raises(Fault, match="to take back"):
        regions.undo()


def test_a_merge_takes_the_name_of_the_first_one_marked() -> None:
    naming = rename(3, "sky")(plain())
    joined = merge([3, 1, 4])(naming)
    assert [(r.index, r.members, r.name) for r in joined.shown()] == [
        (0, (0,), "region 0"), (1, (1, 3, 4), "sky"), (2, (2,), "region 2"),
    ]  # fmt: skip
    again = merge([0, 1])(joined)
    assert [(r.members, r.name) for r in again.shown()] == [((0, 1, 3, 4), "region 0"), ((2,), "region 2")]
    apart = split(1)(joined)
    assert [r.members for r in apart.shown()] == [(0,), (1,), (2,), (3,), (4,)]
    assert len({r.name for r in apart.shown()}) == 5


def test_background_is_a_toggle_and_joins() -> None:
    naming = background(2)(plain())
    assert [r.background for r in naming.shown()] == [False, False, True, False, False]
    joined = background(4)(naming)
    assert [(r.index, r.members) for r in joined.shown() if r.background] == [(2, (2, 4))]
    assert not any(r.background for r in background(4)(joined).shown())
    first = background(0)(naming)  # the lowest number names a group
    assert [(r.index, r.members, r.name) for r in first.shown() if r.background] == [(0, (0, 2), "background")]


def test_colours_are_kept_by_a_renaming_and_can_be_taken_back(run: Callable[[str], Path]) -> None:
    from decoupe.naming import name

    path = run("four")
    regions = Regions(path)
    regions.change(recolour(1, "#102030"))
    name(path, {0: "soil"})
    assert Run.open(path).colours == ("", "#102030", "", "") and read(path).shown()[1].colour == (16, 32, 48)
    assert Regions(path).change(recolour(1, "")).shown()[1].colour != (16, 32, 48)


@pytest.mark.parametrize(
    "change",
    [
        rename(9, "a"), rename(-1, "a"), rename("0", "a"), rename(True, "a"), rename(0, ""), rename(0, "a\nb"),
        rename(0, "x" * 81), rename(0, None), rename(0, "region 1"), merge([1]), merge([1, 1]), merge([1, 99]),
        split(0), recolour(0, "red"), recolour(0, "#12345"), recolour(0, 5), recolour(0, "#123456;x"),
        background(7), background(None),
    ],
)  # fmt: skip
def test_nonsense_is_refused_and_changes_nothing(
    change: Callable[[Naming], Naming], run: Callable[[str], Path]
) -> None:
    path = run("four")
    regions = Regions(path)
    before = (path / "names.json").read_bytes()
    with pytest.raises(UsageFault):
        regions.change(change)
    assert (path / "names.json").read_bytes() == before and regions.revision == 1


def test_a_run_in_use_says_so_and_keeps_its_names(run: Callable[[str], Path]) -> None:
    path = run("four")
    regions = Regions(path)
    with Run.open(path).lock(), pytest.raises(Fault, match="in use by process"):
        regions.change(rename(0, "a"))
    assert Run.open(path).names[0] == "region 0"


def test_the_number_of_a_merged_region_is_its_lowest() -> None:
    naming = Naming(tuple("abcdef"), ((1, 4), (2, 3, 5)), ())
    assert naming.lowest() == [0, 1, 2, 2, 1, 2]
    assert np.array_equal(np.unique(naming.lowest()), [r.index for r in naming.shown()])
