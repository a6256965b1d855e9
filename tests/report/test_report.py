"""The page: whole, without scripts, readable by people, programs and screen readers, and deaf to hostile names."""

from __future__ import annotations

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from decoupe.engine.runfolder import Run
from decoupe.evaluate.run import evaluate
from decoupe.report import render, report, story
from decoupe.report.words import without_folders

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""
ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
HOSTILE = [
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "</style><script>alert(1)</script>",
    "</title><svg onload=alert(1)>", "{{ 7*7 }}{% raw %}", "javascript:alert(1)", "' autofocus onfocus=alert(1) x='",
    "<!--", "]]><b>", "&lt;b&gt;", "</svg><iframe src=//x>",
]  # fmt: skip
HARMLESS = [f"name {number}" for number in range(len(HOSTILE))]
VOID_TAGS = {"meta", "link", "img", "br"}


class Reader(HTMLParser):
    """Elements with the names of their attributes, ids, headings, and whether everything is closed."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, tuple[str, ...]]] = []
        self.found: list[tuple[str, dict[str, str]]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, tuple(name for name, _ in attrs)))
        self.found.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID_TAGS:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, tuple(name for name, _ in attrs)))
        self.found.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        """Attributes of every element of one kind."""
        return [attributes for name, attributes in self.found if name == tag]


@pytest.fixture(scope="module")
def scored(tiny_run: Path, synth: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real run scored against labels, with a scored baseline beside it."""
    from decoupe.fit import fit

    folder = tmp_path_factory.mktemp("scored")
    run = Path(shutil.copytree(tiny_run, folder / "run"))
    fit("baselines", synth / "images", run=folder / "baselines" / "otsu", kind="otsu", size=32)
    for one in (run, folder / "baselines" / "otsu"):
        evaluate(one, f"synth:{synth}")
    report(run)
    return run


def hostile_run(folder: Path, words: list[str]) -> Run:
    """An unfinished run whose every text is one of `words`."""
    run = Run.create(folder, words[0])
    run.set_names(words[:3])
    scores = {"iou": 0.5, "accuracy": 0.7}
    row = {
        "selection": "selected", "metrics": scores, "interval": {"iou": [0.4, 0.6]}, "n_images": 3,
        "classes": words[:2], "snapshot": 1, "uses_labels": False, "row": words[3],
    }  # fmt: skip
    oracle = row | {"selection": "oracle"}
    content = {"results": [row, oracle], "data": f"masks:{words[4]}", "about": words[5], "command": words[6]}
    run.save_result("x", content | {"split": words[7], "protocol": words[8]})
    for images in (10, 20, 30):
        run.log({"images": images, "stage": words[images % 3], "losses": {word: images / 10 for word in words}})
        areas = {"hard": [0.2, 0.3, 0.5], "soft": [0.2, 0.3, 0.5]}
        run.log({"images": images, "stage": words[1], "areas": areas, "score": 0.5, "healthy": True})
    run.log({"event": "restart", "images": 20, "message": words[9]})
    run.commit(
        command=" ".join(words), seed=words[1], versions={w: w for w in words}, hardware=words[2], created=words[3],
        data={"source": words[4], "survey": words[5], "backgrounds": words[6], "fingerprint": words[7], "n": 3},
        health={"healthy": False, "sentence": words[8], "restarts": []}, config={w: w for w in words},
        selection={"images": 20, "score": 0.5}, settings={"images": words[0]},
    )  # fmt: skip
    return run


def test_hostile_words_add_no_element(tmp_path: Path) -> None:
    bad, good = (
        Reader(render(hostile_run(tmp_path / name / "run", words))) for name, words in (("a", HOSTILE), ("b", HARMLESS))
    )
    assert bad.elements == good.elements
    assert not bad.all("script") and not bad.all("iframe")
    text = "".join(bad.text)
    for word in HOSTILE[:3]:
        assert word in text
    for _, attributes in bad.found:
        assert not [name for name in attributes if name.startswith("on")]


def test_hostile_file_names_add_no_element(tiny_run: Path, tmp_path: Path) -> None:
    pages = []
    for words in (HOSTILE, HARMLESS):
        folder = tmp_path / words[0][:4].strip("<")
        run = Run.open(shutil.copytree(tiny_run, folder / "run"))
        (folder / "in").mkdir()
        for seed, word in enumerate(words[:6]):
            pixels = np.random.default_rng(seed).integers(0, 255, (40, 40, 3)).astype(np.uint8)
            Pillow.fromarray(pixels).save(folder / "in" / "t.png")
            (folder / "in" / "t.png").rename(folder / "in" / (word.replace("/", "") + ".png"))
        run.commit(settings=run.info["settings"] | {"images": str(folder / "in")})
        pages.append(Reader(render(run)))
    assert pages[0].elements == pages[1].elements and not pages[0].all("script")
    assert any("<script>" in image["alt"] for image in pages[0].all("img"))


def test_the_page_is_one_quiet_file(scored: Path) -> None:
    page = scored / "report.html"
    reader = Reader(page.read_text(encoding="utf-8"))
    assert page.stat().st_size <= 2_000_000
    assert not reader.all("script") and not any("style" in attributes for _, attributes in reader.found)
    policy = next(m["content"] for m in reader.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy and "unsafe" not in policy
    for _, attributes in reader.found:
        for name in ("src", "href"):
            assert attributes.get(name, "data:").startswith("data:")
    assert Run.open(scored).info["files"]["report.html"]
    Run.open(scored).verify("report.html")


def test_the_page_speaks_to_screen_readers(scored: Path) -> None:
    reader = Reader((scored / "report.html").read_text(encoding="utf-8"))
    assert reader.all("html")[0]["lang"] == "en"
    levels = [int(tag[1]) for tag, _ in reader.found if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b - a <= 1 for a, b in zip(levels, levels[1:], strict=False))
    assert all(image["alt"].strip() for image in reader.all("img")) and len(reader.all("img")) >= 12
    assert all(head.get("scope") in ("col", "row") for head in reader.all("th")) and reader.all("th")
    for svg in reader.all("svg"):
        assert svg.get("aria-hidden") == "true" or (svg["role"] == "img" and svg["aria-label"].strip())
    ids = {attributes["id"] for _, attributes in reader.found if "id" in attributes}
    assert {section["aria-labelledby"] for section in reader.all("section")} <= ids


def test_the_page_tells_the_story_in_order(scored: Path) -> None:
    page = (scored / "report.html").read_text(encoding="utf-8")
    order = ["No pixel labels were used", "Best", "Typical", "Worst", "95 % interval", "Otsu", "Region areas"]
    order += ["Label-free score", "picked: image", "Health", "How it was made", "Seed", "What to do next"]
    at = 0
    for words in order:
        found = page.find(words, at)
        assert found >= 0, words
        at = found
    assert str(scored.parent) not in page


def test_labels_order_the_photos(scored: Path) -> None:
    page = (scored / "report.html").read_text(encoding="utf-8")
    values = [float(v) for v in re.findall(r"<b>IoU (\d\.\d+)</b>", page)]
    assert len(values) == 6 and values == sorted(values, reverse=True)
    assert ": the labels it is scored against" in page


def test_without_labels_agreement_orders_them(tiny_run: Path, tmp_path: Path) -> None:
    run = Run.open(shutil.copytree(tiny_run, tmp_path / "run"))
    page = render(run)
    values = [float(v) for v in re.findall(r"<b>agreement (\d\.\d+)</b>", page)]
    assert len(values) >= 6 and values == sorted(values, reverse=True)
    assert "not measured" in page or "Doubtful" in page
    assert "decoupe evaluate run --data masks:LABELLED" in page


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"status": "training"}, "Not finished"),
        ({"status": "collapsed", "health": {"healthy": False, "sentence": "collapsed: region 1"}}, "Do not use"),
        ({"settings": {"images": "/nowhere/at/all"}}, "not where they were"),
        ({"settings": {}}, "does not say which photos"),
        ({"selection": {"images": 1, "score": 0.3}}, "Doubtful"),
    ],
)
def test_any_run_gets_a_page(tiny_run: Path, tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    run = Run.open(shutil.copytree(tiny_run, tmp_path / "run"))
    run.commit(**changes)
    assert words in render(run)


def test_the_verdict_says_what_training_went_through(tiny_run: Path, tmp_path: Path) -> None:
    run = Run.open(shutil.copytree(tiny_run, tmp_path / "run"))
    sound = {"healthy": True, "restarts": [], "sentence": "healthy: no collapse", "fell_back": None}
    chosen = {"images": 1, "score": 0.95}
    run.commit(selection=chosen, health=sound)
    assert "stayed healthy" in story.verdict(run, ("a", "b"), (), ()).trust
    run.commit(health=sound | {"restarts": [{"images": 5, "trouble": "one region", "seed": 2}]})
    assert "recovered from a collapse" in story.verdict(run, ("a", "b"), (), ()).trust
    run.commit(health=sound | {"fell_back": "it lost region 2", "sentence": "fell back to sec: it lost region 2"})
    told = story.verdict(run, ("a", "b"), (), ())
    assert told.kind == "look" and "Fell back to sec: it lost region 2." in told.trust


def test_a_score_that_only_compares_snapshots_condemns_no_run(tiny_run: Path, tmp_path: Path) -> None:
    run = Run.open(shutil.copytree(tiny_run, tmp_path / "run"))
    run.commit(selection={"images": 1, "score": 0.3})
    assert "mirroring" in story.verdict(run, ("background", "object"), (), ()).trust
    run.info["room"] = "layer_disposal"
    assert "rebuilt" in story.verdict(run, ("background", "layer 1"), (), ()).trust
    for room in ("autoregressive", "iic"):
        run.info["room"] = room
        told = story.verdict(run, ("region 0", "region 1"), (), ())
        assert told.kind == "look" and "mirroring" not in told.trust and ".3" not in told.trust


def test_an_empty_run_gets_a_page(tmp_path: Path) -> None:
    page = report(Run.create(tmp_path / "run", "independence")).read_text(encoding="utf-8")
    assert "Not finished" in page and "no masks to show yet" in page
    Reader(page)


def test_a_run_in_use_keeps_its_manifest(tiny_run: Path, tmp_path: Path) -> None:
    run = Run.open(shutil.copytree(tiny_run, tmp_path / "run"))
    before = (run.path / "run.json").read_bytes()
    with run.lock():
        report(run)
    assert (run.path / "report.html").is_file() and (run.path / "run.json").read_bytes() == before


@pytest.mark.skipif(not CHROMIUM, reason="no chromium on this machine: apt-get install chromium")
@pytest.mark.parametrize(("width", "height"), [(1280, 900), (360, 740)])
def test_in_a_real_browser(scored: Path, tmp_path: Path, width: int, height: int) -> None:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install decoupe[dev]")
    hostile = report(hostile_run(tmp_path / "run", HOSTILE))
    said: list[str] = []
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        for page_file in (scored / "report.html", hostile):
            page = browser.new_page(viewport={"width": width, "height": height})
            page.on("console", lambda message: said.append(message.text))
            page.on("pageerror", lambda error: said.append(str(error)))
            page.on("dialog", lambda dialog: said.append(dialog.message))
            asked: list[str] = []
            page.on("request", lambda request, asked=asked: asked.append(request.url[:60]))
            page.goto(page_file.as_uri())
            page.wait_for_load_state()
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            pictures = page.evaluate("[...document.images].map(i => i.naturalWidth)")
            assert all(pictures) and (len(pictures) >= 12 or page_file == hostile)
            assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
            assert page.evaluate("getComputedStyle(document.querySelector('.verdict')).display") == "flex"
        browser.close()
    assert said == []


def test_the_style_is_allowed_by_the_policy_only_as_it_is(scored: Path) -> None:
    import base64
    import hashlib

    page = (scored / "report.html").read_text(encoding="utf-8")
    style = re.search(r"<style>(.*?)</style>", page, re.S)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style.group(1).encode()).digest()).decode()
    assert f"&#39;sha256-{digest}&#39;" in page or f"'sha256-{digest}'" in page


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("decoupe fit x --images /home/me/pics --run runs/a", "decoupe fit x --images …/pics --run runs/a"),
        ("decoupe.fit('x', images='/home/me/my pics', n=1)", "decoupe.fit('x', images='…/my pics', n=1)"),
        ("--data synth:/tmp/a/b --labels=/x/y", "--data synth:…/b --labels=…/y"),
        ("--images ../rel/pics --out masks/", "--images ../rel/pics --out masks/"),
        ("IoU 1/2, 1600x1200", "IoU 1/2, 1600x1200"),
    ],
)
def test_absolute_paths_lose_their_folders(command: str, shown: str) -> None:
    assert without_folders(command) == shown
