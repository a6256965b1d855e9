"""Output names: unique on every file system, safe, stable."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from decoupe.data.keys import LONGEST, keys
from decoupe.data.paths import inside
from decoupe.errors import Fault


def test_plain_names_stay_as_they_are() -> None:
    names = ["a.jpg", "x/b.png", "y/b.png", "äöü/猫.jpeg", "IMG 0001.JPG", "v1.2/c.tar.png"]
    assert keys(names) == ["a", "x/b", "y/b", "äöü/猫", "IMG 0001", "v1_2/c.tar"]


def test_twins_get_names_of_their_own() -> None:
    assert keys(["a.jpg", "a.png"]) == ["a_jpg", "a_png"]
    cases = keys(["A.PNG", "a.png"])
    accents = keys([unicodedata.normalize(form, "é.png") for form in ("NFC", "NFD")])
    assert len({key.casefold() for key in cases}) == 2
    assert len({unicodedata.normalize("NFD", key) for key in accents}) == 2
    assert len(set(keys(["a.jpg", "a.png", "a_jpg.png", "A_PNG.gif"]))) == 4


def test_a_name_does_not_depend_on_unrelated_files() -> None:
    assert keys(["a.jpg", "b.jpg"])[0] == keys(["a.jpg", "z/q.png", "b.png"])[0] == "a"
    assert keys(["A.PNG", "a.png"]) == keys(["A.PNG", "a.png", "other.png"])[:2]


parts = st.text(st.characters(exclude_characters="/", exclude_categories=()), min_size=1, max_size=90)
names = st.lists(st.lists(parts | st.sampled_from([".", "..", "CON", "a.", " ", "a:b"]), min_size=1, max_size=4))


@settings(max_examples=300, deadline=None)
@given(names)
@example([["a" * 300 + ".jpg"], ["a" * 300 + ".png"], ["..", "..", "x.jpg"], ["", "", "etc", "x.jpg"]])
@example([["0", "\ud800"], ["0", "\ud800"]])  # what JSON may hold and no file system gives
@example([["x\0y.png"], ["nul.txt"], ["...", "a.png"], ["..."], ["\udcff.png"], ["\udcfe.png"]])
def test_keys_are_always_safe(split: list[list[str]]) -> None:
    given_names = ["/".join(one) for one in split]
    made = keys(given_names)
    folded = [unicodedata.normalize("NFC", key).casefold() for key in made]
    assert len(set(folded)) == len(made)
    assert made == keys(given_names)
    for key in made:
        assert 0 < len(key.encode()) <= LONGEST and not key.startswith("/")
        assert not any(ord(c) < 32 or c in '<>:"|?*\\' for c in key)
        for part in key.split("/"):
            assert part not in ("", ".", "..") and not part.startswith(".") and part == part.strip()
        assert inside("/tmp/out", key + ".png") == Path("/tmp/out") / (key + ".png")


def test_inside_keeps_everything_inside(tmp_path: Path) -> None:
    root, secret = tmp_path / "run", tmp_path / "run-secret"
    root.mkdir(), secret.mkdir()
    (secret / "x").touch(), (root / "link").symlink_to(secret), (root / "ok").symlink_to(root / "real")
    assert inside(root, "a/b.png") == root / "a/b.png"
    assert inside(root, root / "a.png") == root / "a.png"
    assert inside(root, "a/../b") == root / "b" and inside(root, "ok") == root / "ok"
    assert inside(root, "..%2f..%2fx") == root / "..%2f..%2fx"
    for name in ("../run-secret/x", "/etc/passwd", "link/x", "a/../../x", "", " ", "a\0b", "x" * 5000, secret / "x"):
        with pytest.raises(Fault):
            inside(root, name)
