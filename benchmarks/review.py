"""How fast the review page is on many photos: python benchmarks/review.py [--photos 10000] [--json FILE]

A run of k-means, photos that are 50 built-in ones linked again and again, a real browser (Chromium) on this machine.
first_paint_ms: from the request to the first pixels of the grid's page, and grid_ms to its first thumbnails; cold, with
nothing kept from earlier. step_ms: from a key (accept) to the frame that shows the next photo with its mask, median of
60 at 300 keys a minute, and their 95th percentile, while verdicts and masks are being stored.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import threading
from pathlib import Path
from typing import Any

from PIL import Image

STEP = """() => new Promise((done) => {
  const start = performance.now();
  document.querySelector('#stage').addEventListener('shown', () => requestAnimationFrame(() =>
    setTimeout(() => done(performance.now() - start))), { once: true });
  dispatchEvent(new KeyboardEvent('keydown', { key: 'a', bubbles: true, cancelable: true }));
})"""
PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
THUMBS = "[...document.querySelectorAll('.cell img')].filter((i) => i.complete && i.naturalWidth).length >= 20"


def photos(folder: Path, count: int, size: int) -> Path:
    """`count` photos of `size` px."""
    from decoupe.data.synthetic import object_photos

    folder.mkdir()
    images, _ = object_photos(50, 3, size)
    for number in range(count):
        place = folder / f"{number:06d}.png"
        if number < 50:
            Image.fromarray(images[number]).save(place)
        else:
            place.hardlink_to(folder / f"{number % 50:06d}.png")
    return folder


def measure(browser: Any, link: str, steps: int = 60) -> dict[str, float]:
    """Times of a review that is served at `link`."""
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.set_default_timeout(120_000)
    own = link.split("/?")[0]
    page.goto(f"{own}/static/style.css")  # the browser itself has started
    page.goto(link)
    page.wait_for_selector("body[data-ready]")
    page.goto(f"{own}/triage?grid=1")
    page.wait_for_selector("body[data-ready]")
    while not page.evaluate(THUMBS):
        page.wait_for_timeout(5)
    grid = page.evaluate("performance.now()")
    paint, cells = page.evaluate(PAINT), page.locator(".cell").count()
    page.goto(f"{own}/triage")
    page.wait_for_selector("#stage[data-number]")
    page.wait_for_timeout(1500)
    times = []
    for _ in range(steps):  # 300 a minute
        times.append(page.evaluate(STEP))
        page.wait_for_timeout(max(0.0, 200 - times[-1]))
    while not page.evaluate("document.querySelector('#saved').textContent === 'saved'"):
        page.wait_for_timeout(50)
    page.close()
    return {
        "first_paint_ms": round(paint, 1),
        "grid_ms": round(grid, 1),
        "cells": cells,
        "step_ms": round(statistics.median(times), 1),
        "step_95_ms": round(sorted(times)[int(0.95 * len(times))], 1),
    }


def main() -> None:
    """Serve, look, tell."""
    from playwright.sync_api import sync_playwright

    from decoupe.fit import fit
    from decoupe.review import listening, server
    from decoupe.review.desk import opened
    from decoupe.review.guard import Session

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, listening(None) as listener:
        few, many = photos(Path(folder) / "few", 50, 64), photos(Path(folder) / "many", given.photos, given.size)
        fit("baselines", few, run=Path(folder) / "run", kind="kmeans-1x1", k=3, size=64)
        with (
            opened(Path(folder) / "run", many, Session(listener.getsockname()[1])) as desk,
            sync_playwright() as driver,
        ):
            web = server(desk)
            threading.Thread(target=web.run, kwargs={"sockets": [listener]}, daemon=True).start()
            desk.scan.start()
            browser = driver.chromium.launch(
                executable_path="/usr/bin/chromium", args=["--headless", "--no-sandbox", "--disable-gpu"]
            )
            found = {"photos": given.photos, "size": given.size, **measure(browser, desk.session.url)}
            browser.close()
            web.should_exit = True
    text = json.dumps(found, indent=1)
    if given.json:
        given.json.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
