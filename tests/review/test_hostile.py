"""A thousand strings of script through everything the pages show, in a real browser: no dialog, no new element."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from decoupe.engine.runfolder import Run
from decoupe.review.book import Book, mask_path
from decoupe.review.regions import Naming
from tests.review.browser import Watched, browsing, until, watched
from tests.review.serving import Served, serving

FORMS = [
    "<script>alert({n})</script>", '"><img src=x onerror=alert({n})>', "'><svg onload=alert({n})>",
    "</title><script>alert({n})</script>", "</textarea><script>alert({n})</script>", "javascript:alert({n})",
    "{{{{7*{n}}}}}{{% raw %}}", "${{alert({n})}}`", "<iframe srcdoc='<script>alert({n})</script>'>",
    "<a href=javascript:alert({n})>x</a>", "<details open ontoggle=alert({n})>", "<input autofocus onfocus=alert({n})>",
    "<style>*{{background:url(//x/{n})}}</style>", "<base href=//x/{n}>", "';alert({n});'", '";alert({n});//',
    "<meta http-equiv=refresh content=0;url=javascript:alert({n})>", "</script><script>alert({n})</script>",
    "<!--<script>alert({n})", "\\u003cscript\\u003ealert({n})", "%3Cscript%3Ealert({n})%3C/script%3E",
    "&lt;script&gt;alert({n})&lt;/script&gt;", "<math><mtext><script>alert({n})</script>", "<body onload=alert({n})>",
    "<object data=javascript:alert({n})>", "<embed src=javascript:alert({n})>", "<link rel=stylesheet href=//x/{n}>",
    "<form action=javascript:alert({n})><button>go", "<x onclick=alert({n}) tabindex=1>x</x>", "</main><h1>{n}</h1>",
    "data:text/html,<script>alert({n})</script>", "<img src=/photo/0/view.jpg onload=alert({n})>",
    "</style><script>alert({n})</script>", "=cmd|' /C calc'!A{n}",
]  # fmt: skip
STRINGS = [form.format(n=n) for n in range(30) for form in FORMS][:1000]
REGIONS = 40
"""Regions of the run: so many names are shown at a time."""


def test_there_are_a_thousand_different_ones() -> None:
    assert len(set(STRINGS)) == 1000 and max(map(len, STRINGS)) <= 80


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A thousand small photos, each named as a string; `/` leads into a folder, as files must."""
    folder = tmp_path_factory.mktemp("hostile") / "photos"
    first = folder / "first.png"
    folder.mkdir()
    Image.effect_noise((40, 40), 60).convert("RGB").save(first)
    for text in STRINGS:
        place = folder / (text.strip("/") + ".png")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.hardlink_to(first)
    first.unlink()
    return folder


@pytest.fixture(scope="module")
def served(named: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    from decoupe.fit import fit

    runs = tmp_path_factory.mktemp("'><script>alert('run')<")
    noise = runs / "noise"
    noise.mkdir()
    for number in range(4):
        Image.effect_noise((40, 40), 90 + number).convert("RGB").save(noise / f"{number}.png")
    run = runs / '"><img src=x onerror=alert(1)>'
    fit("baselines", noise, run=run, kind="kmeans-1x1", size=32, k=REGIONS)
    shutil.copytree(run, runs / "<svg onload=alert(2)>")
    words = {f"key {n}": text for n, text in enumerate(STRINGS[: len(FORMS)])}
    opened = Run.open(run)
    for n, text in enumerate(STRINGS[:8]):
        opened.log({"images": 10 * n, "stage": text, "areas": {"hard": [0.5] * REGIONS}, "score": 0.5})
        opened.log({"event": "restart", "images": n, "message": text})
    results = [
        {"selection": "selected", "metrics": {"iou": 0.5}, "n_images": 3, "row": STRINGS[1], "uses_labels": False}
    ]
    opened.save_result(
        "x", {"results": results, "data": f"masks:{STRINGS[0]}", "about": STRINGS[2], "command": STRINGS[3]}
    )
    opened.commit(
        command=" ".join(STRINGS[: len(FORMS)]), seed=STRINGS[4], versions=words, hardware=STRINGS[5],
        health={"healthy": True, "sentence": STRINGS[0]}, data={"source": STRINGS[1], "survey": STRINGS[2], "n": 4},
    )  # fmt: skip
    with serving(run, named) as found:
        yield found


@pytest.fixture(scope="module")
def look(served: Served) -> Iterator[Watched]:
    with browsing() as browser:
        yield watched(browser, served.desk.session.url)


def innocent(look: Watched) -> None:
    """Nothing of the strings became part of the page."""
    bad = "script:not([src^='/static/']), iframe, object, embed, base, meta[http-equiv], [onload], [onclick], [src=x]"
    assert look.page.locator(bad).count() == 0
    assert look.page.locator("script").count() == 1 and look.page.locator("h1").count() == 1
    # pictures that scrolled out of sight are no longer asked for
    assert [line for line in look.said if "ERR_ABORTED" not in line] == []


@pytest.mark.slow
def test_as_names_of_files(look: Watched, served: Served) -> None:
    own, page = f"http://127.0.0.1:{served.port}", look.page
    look.open(f"{own}/triage?grid=1")
    seen: set[str] = set()
    for _ in range(400):
        seen |= set(page.eval_on_selector_all(".caption span", "all => all.map((s) => s.textContent)"))
        ended = page.evaluate("(() => { const g = document.querySelector('.grid'), t = g.scrollTop; "
                              "g.scrollTop += g.clientHeight; return g.scrollTop === t; })()")  # fmt: skip
        page.wait_for_timeout(20)
        if ended:
            break
    assert {re.sub("/+", "/", text).strip("/") + ".png" for text in STRINGS} <= seen
    innocent(look)
    for name in ("triage", "correct", "layers"):
        for number in range(0, 1000, 250):
            look.open(f"{own}/{name}?photo={number}")
            page.wait_for_timeout(50)
            innocent(look)


@pytest.mark.slow
def test_as_names_of_regions(look: Watched, served: Served) -> None:
    own, page = f"http://127.0.0.1:{served.port}", look.page
    for start in range(0, 1000, REGIONS):
        names = tuple(STRINGS[start : start + REGIONS])
        served.desk.regions.change(lambda naming, names=names: Naming(names, (), ()))
        look.open(f"{own}/name")
        shown = page.eval_on_selector_all(".title", "all => all.map((t) => t.value)")
        assert shown == list(names)
        innocent(look)
        look.open(f"{own}/correct?photo=0")
        assert page.eval_on_selector_all("#palette span", "all => all.map((t) => t.textContent)") == list(names)
        innocent(look)
    for name in ("", "layers", "try", "compare", "export"):
        look.open(f"{own}/{name}")
        page.wait_for_timeout(400)
        innocent(look)


@pytest.mark.slow
def test_as_messages_and_everything_an_element_can_hold(look: Watched, served: Served) -> None:
    look.open(f"http://127.0.0.1:{served.port}/export")
    look.page.evaluate(
        """async (all) => { const { el, tell } = await import('/static/core.js');
        for (const text of all) { tell(text); document.querySelector('#main').append(el('p', {
          title: text, textContent: text, 'aria-label': text, data: { a: text }, style: { '--dot': text },
        }, text)); } }""",
        STRINGS,
    )
    assert look.page.locator("#main > p").count() == 1000
    innocent(look)
    until(look.page, "document.querySelectorAll('.toast').length === 3")
    blocked = look.page.evaluate(
        "() => { try { document.body.innerHTML = '<b>x</b>'; return 'set'; } catch (e) { return e.name; } }"
    )
    assert blocked == "TypeError"  # the policy forbids making elements of text at all
    look.said[:] = [line for line in look.said if "TrustedHTML" not in line]
    innocent(look)


def test_500_hostile_keys_lead_nowhere(tmp_path: Path) -> None:
    parts = [
        "..",
        "../..",
        "/etc/passwd",
        "a/..",
        "%2e%2e",
        "..%2f",
        "\0",
        "run-secret",
        "./.",
        "~root",
        "\\..\\",
        " ",
        "\u202e",
        "x" * 300,
    ]
    run = tmp_path / "run"
    run.mkdir()
    (tmp_path / "run-secret").mkdir()
    count = 0
    with Book(run, "/photos") as book:
        for first in parts:
            for second in parts:
                for joint in ("/", "/../", "//"):
                    key, count = f"{first}{joint}{second}", count + 1
                    try:
                        path = mask_path(run, key)
                    except Exception as error:  # noqa: BLE001 only a Fault is right, asserted below
                        assert type(error).__name__ == "Fault", key
                        continue
                    assert path.resolve().is_relative_to(book.folder / "masks"), key
    assert count >= 500
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "run-secret"]
