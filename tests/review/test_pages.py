"""The whole way in a real browser: name, merge, judge 200 by keyboard, mend by brush and scribble, export, reload."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from decoupe.data.decode import read_mask
from decoupe.engine.runfolder import Run
from decoupe.review.regions import Regions, background, rename
from tests.review.browser import browsing, until, watched
from tests.review.serving import Served, looked, serving
from tests.tiny import photos

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """220 photos of a bright disc."""
    folder = tmp_path_factory.mktemp("many") / "photos"
    folder.mkdir()
    for number, image in enumerate(photos(220, size=96, seed=8)):
        Image.fromarray(image.transpose(1, 2, 0)[12:84]).save(folder / f"p{number:03d}.png")
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with browsing() as found:
        yield found


def state(run: Path) -> dict[str, Any]:
    return json.loads((run / "review" / "state.json").read_text())


def mask(served: Served, number: int) -> np.ndarray:
    return read_mask(served.desk.run / "review" / "masks" / f"{served.desk.album[number].key}.png")


def found(served: Served, number: int) -> np.ndarray:
    photo = served.desk.album[number]
    return served.desk.studio.found(photo, served.desk.naming, served.desk.studio.size(photo))


def drag(page: Any, *points: tuple[float, float], tool: str | None = None) -> None:
    """Draw on the canvas along points in shares of the photo, 96 x 72 px, as it lies fitted in the canvas."""
    if tool:
        page.keyboard.press(tool)
    box = page.locator("#canvas").bounding_box()
    scale = min(box["width"] / 96, box["height"] / 72) * 0.98
    left, top = box["x"] + (box["width"] - 96 * scale) / 2, box["y"] + (box["height"] - 72 * scale) / 2
    at = [(left + x * 96 * scale, top + y * 72 * scale) for x, y in points]
    page.mouse.move(*at[0])
    page.mouse.down()
    for point in at[1:]:
        page.mouse.move(*point, steps=6)
    page.mouse.up()


def test_the_whole_way_from_names_to_masks_kept(run: Callable[[str], Path], many: Path, browser: Any) -> None:
    path = run("four")
    with serving(path, many) as served:
        looked(served)
        look = watched(browser, served.desk.session.url)
        page, own = look.page, f"http://127.0.0.1:{served.port}"
        assert page.url == f"{own}/"
        _name(page, look, own, path)
        _judge(page, look, own, path)
        _mend(page, look, own, served)
        _export(page, look, own, path)
        before = state(path)
        _all_there(look, own)
        assert look.said == []
    with serving(path, many) as served:  # another session
        look = watched(browser, served.desk.session.url)
        _all_there(look, f"http://127.0.0.1:{served.port}")
        assert look.said == [] and state(path) == before


def _name(page: Any, look: Any, own: str, path: Path) -> None:
    """Keys alone: a name, a merge of two under a name, the background, a colour, and an undo."""
    look.open(f"{own}/name")
    page.wait_for_selector(".region .montage img")
    page.keyboard.press("Tab")
    page.locator(".region").first.focus()
    page.keyboard.press("Enter")
    page.keyboard.type("soil")
    page.keyboard.press("Enter")
    look.settled()
    until(page, "document.querySelector('.title').value === 'soil'")
    for key in ("ArrowRight", "x", "ArrowRight", "x", "m"):
        page.keyboard.press(key)
    until(page, "document.querySelectorAll('.region').length === 3")
    page.keyboard.press("Enter")
    page.keyboard.press("Control+a")
    page.keyboard.type("disc")
    page.keyboard.press("Enter")
    until(page, "[...document.querySelectorAll('.title')].some((t) => t.value === 'disc')")
    page.keyboard.press("c")
    until(page, "document.querySelectorAll('input[type=color]')[1].value !== '#e69f00'")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("b")
    page.wait_for_selector(".region [aria-pressed=true]")
    assert Run.open(path).names[:2] == ("background", "disc") and Run.open(path).merges == [[1, 2]]
    page.keyboard.press("u")
    until(page, "document.querySelector('.title').value === 'soil'")
    page.keyboard.press("b")
    until(page, "document.querySelector('.title').value === 'background'")
    look.settled()
    assert Run.open(path).colours[1].startswith("#")


def _judge(page: Any, look: Any, own: str, path: Path) -> None:
    """200 verdicts by keyboard alone, without waiting; one taken back."""
    look.open(f"{own}/triage")
    until(page, "document.querySelector('#stage').dataset.number === '0'")
    for number in range(200):
        page.keyboard.press("arf"[number % 3] if number % 10 else "a")
    look.settled()
    until(page, "document.querySelector('#count').textContent.startsWith('200 of 220')")
    verdicts = [entry["verdict"] for entry in state(path)["photos"].values()]
    assert len(verdicts) == 200 and None not in verdicts and verdicts.count("accepted") > 66
    assert len(list((path / "review" / "masks").glob("*.png"))) == verdicts.count("accepted")
    page.keyboard.press("u")
    until(page, "document.querySelector('#count').textContent.startsWith('199 of 220')")
    page.keyboard.press("g")
    page.wait_for_selector(".cell[data-verdict=a]")
    assert page.locator(".cell").count() < 90
    page.keyboard.press("End")
    page.keyboard.press("f")
    look.settled()
    assert state(path)["photos"]["p219"]["verdict"] == "flagged"


def _mend(page: Any, look: Any, own: str, served: Served) -> None:
    """One photo by brush, one by a scribble, one by polygon and keys; undo and redo; the model's mask again."""
    look.open(f"{own}/correct?photo=5")
    page.keyboard.press("1")
    drag(page, (0.1, 0.1), (0.9, 0.1), tool="b")
    look.settled()
    painted = mask(served, 5)
    assert (painted[6:9, 15:80] == 0).all() and painted.shape == (72, 96)
    page.keyboard.press("2")
    drag(page, (0.1, 0.9), (0.9, 0.9))
    look.settled()
    twice = mask(served, 5)
    assert (twice[64:66, 15:80] == 1).all() and (twice[6:9, 15:80] == 0).all()
    page.keyboard.press("Control+z")
    look.settled()
    assert np.array_equal(mask(served, 5), painted)
    page.keyboard.press("Control+Shift+z")
    look.settled()
    assert np.array_equal(mask(served, 5), twice)

    page.keyboard.press(".")
    page.wait_for_selector("body[data-photo='6']")
    page.keyboard.press("3")
    drag(page, (0.45, 0.5), (0.55, 0.5), tool="s")
    until(page, "document.querySelector('#busy').hidden && !document.querySelector('#undo').disabled")
    look.settled()
    third = served.desk.naming.shown()[2].index
    assert mask(served, 6)[36, 44:52].tolist() == [third] * 8
    assert (mask(served, 6) == third).sum() > (found(served, 6) == third).sum() + 30

    page.keyboard.press(".")
    page.wait_for_selector("body[data-photo='7']")
    page.keyboard.press("2")
    page.keyboard.press("p")
    for x, y in ((0.3, 0.3), (0.7, 0.3), (0.7, 0.7), (0.3, 0.7)):
        drag(page, (x, y))
    page.keyboard.press("Enter")
    look.settled()
    assert (mask(served, 7)[23:49, 30:66] == 1).all()
    page.keyboard.press("1")
    page.keyboard.press("b")
    page.locator("#canvas").focus()
    page.keyboard.press("Space")
    for _ in range(6):
        page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Space")
    look.settled()
    assert (mask(served, 7) == 0).sum() > 0
    assert state(served.desk.run)["photos"]["p007"]["corrected"] is True
    page.click("#reset")
    until(page, "document.querySelector('#reset').disabled")
    look.settled()
    assert state(served.desk.run)["photos"]["p007"]["corrected"] is False


def _export(page: Any, look: Any, own: str, path: Path) -> None:
    look.open(f"{own}/export")
    page.click("#go")
    page.wait_for_selector("#done .good")
    coco = json.loads((path / "review" / "export-1" / "coco.json").read_text())
    kept = [e for e in state(path)["photos"].values() if e["mask"] and e["verdict"] in ("accepted", None)]
    assert len(coco["images"]) == len(kept) > 60


def _all_there(look: Any, own: str) -> None:
    """Everything decided is shown again."""
    look.open(f"{own}/name")
    titles = look.page.eval_on_selector_all(".title", "all => all.map((t) => t.value)")
    assert titles[:2] == ["background", "disc"] and len(titles) == 3
    look.open(f"{own}/triage")
    until(look.page, "document.querySelector('#count').textContent.startsWith('200 of 220')")
    look.page.select_option("#filter", "c")
    until(look.page, "/1 of 2 .* corrected/.test(document.querySelector('#caption').textContent)")
    look.page.select_option("#filter", "all")


def test_layers_try_and_compare(run: Callable[[str], Path], pictures: Path, browser: Any) -> None:
    path = run("two")
    run("four")
    with serving(path, pictures) as served:
        looked(served)
        look = watched(browser, served.desk.session.url)
        page, own = look.page, f"http://127.0.0.1:{served.port}"
        look.open(f"{own}/layers?photo=1")
        page.keyboard.press("1")
        page.wait_for_selector("#stack img[hidden]", state="attached")
        page.keyboard.press("]")
        page.wait_for_selector(".things [aria-selected=true]")
        page.keyboard.press("Delete")
        look.settled()
        until(page, "document.querySelector('#file').textContent.includes('corrected')")
        assert served.desk.entry(served.desk.album[1]).corrected
        page.keyboard.press("u")
        until(page, "!document.querySelector('#file').textContent.includes('corrected')")
        assert not served.desk.entry(served.desk.album[1]).corrected
        look.open(f"{own}/try")
        page.set_input_files("#file", str(next(pictures.glob("*.png"))))
        page.wait_for_selector(".result img")
        page.keyboard.press("m")
        assert page.get_attribute(".tried", "data-look") == "cut-out"
        look.open(f"{own}/compare")
        until(page, "document.querySelectorAll('.caption b')[3]?.textContent.startsWith('agree')")
        page.locator(".grid").focus()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Enter")
        page.wait_for_selector("#stage[data-number='1']")
        page.keyboard.press("Escape")
        assert page.locator("#single").is_hidden()
        assert look.said == []


def test_two_tabs_see_each_other_and_neither_overwrites(
    run: Callable[[str], Path], pictures: Path, browser: Any
) -> None:
    path = run("two")
    with serving(path, pictures, scan=False) as served:
        look = watched(browser, served.desk.session.url)
        own = f"http://127.0.0.1:{served.port}"
        one, two = look.page, look.page.context.new_page()
        one.goto(f"{own}/triage")
        two.goto(f"{own}/triage?photo=0")
        for page in (one, two):
            until(page, "document.querySelector('#stage').dataset.number === '0'")
        one.keyboard.press("a")
        until(two, "document.querySelector('#stamp').textContent === 'accepted'")
        for page in (one, two):
            page.goto(f"{own}/correct?photo=3")
            page.wait_for_selector("body[data-photo='3']")
        one.keyboard.press("1")
        drag(one, (0.2, 0.2), (0.8, 0.2), tool="b")
        look.settled()
        first = mask(served, 3)
        two.keyboard.press("2")
        drag(two, (0.2, 0.8), (0.8, 0.8), tool="b")
        two.wait_for_selector("#stale[open]")
        assert np.array_equal(mask(served, 3), first)
        two.click("#theirs")
        two.wait_for_selector("#stale", state="hidden")


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (360, 740)])
def test_every_page_fits_and_is_named_for_those_who_cannot_see_it(
    run: Callable[[str], Path], pictures: Path, browser: Any, width: int, height: int
) -> None:
    path = run("four")
    run("two")
    names = {1: "a rather long name of a region that goes on", 2: "x" * 80}
    regions = Regions(path)
    for index, name in names.items():
        regions.change(rename(index, name))
    regions.change(background(0))
    with serving(path, pictures) as served:
        look = watched(browser, served.desk.session.url, width, height, touch=width < 500)
        page, own = look.page, f"http://127.0.0.1:{served.port}"
        for name in ("", "name", "triage", "triage?grid=1", "correct", "layers", "try", "compare", "export"):
            look.open(f"{own}/{name}")
            page.wait_for_timeout(300)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, name
            unnamed = page.evaluate(UNNAMED)
            assert unnamed == [], f"{name}: {unnamed}"
            assert page.locator("h1").count() == 1 and page.locator("main").count() == 1, name
            assert page.evaluate(CONTRAST) == [], name
        look.open(f"{own}/triage")
        page.wait_for_selector("#stage[data-number='0']")
        page.tap("#accept") if width < 500 else page.click("#accept")
        look.settled()
        assert served.desk.entry(served.desk.album[0]).verdict == "accepted"
        assert [line for line in look.said if "ERR_ABORTED" not in line] == []


UNNAMED = """() => [...document.querySelectorAll('button, a, input, select, canvas, [role=listbox]')]
  .filter((n) => n.checkVisibility() && !(n.textContent.trim() || n.ariaLabel || n.labels?.length || n.title))
  .map((n) => n.outerHTML.slice(0, 80))"""
CONTRAST = """() => {
  const light = (c) => { const f = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    return 0.2126 * f(c[0]) + 0.7152 * f(c[1]) + 0.0722 * f(c[2]); };
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const behind = (n) => { for (; n; n = n.parentElement) { const c = parse(getComputedStyle(n).backgroundColor);
    if (c.length < 4 || c[3] > 0.99) return c; } return [255, 255, 255]; };
  const low = [];
  for (const n of document.querySelectorAll('p, button, a, span, label, h1, h2, b, dt, dd, select')) {
    if (!n.checkVisibility({ opacityProperty: true }) || n.closest(':disabled, .hidden, .skip')) continue;
    if (![...n.childNodes].some((t) => t.nodeType === 3 && t.data.trim())) continue;
    const a = light(parse(getComputedStyle(n).color)), b = light(behind(n));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) low.push(`${n.textContent.trim().slice(0, 30)}: ${ratio.toFixed(2)}`);
  }
  return low;
}"""
