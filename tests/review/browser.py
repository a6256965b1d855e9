"""Debian's Chromium, driven by playwright; everything a page says or asks for is written down."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""
ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


def until(page: Any, expression: str, seconds: float = 60) -> None:
    """Wait until an expression is true in the page. (The page's policy forbids the driver's own way of waiting.)"""
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < end, f"never: {expression}"
        page.wait_for_timeout(40)


@dataclass
class Watched:
    """A page and what was heard of it."""

    page: Any
    said: list[str] = field(default_factory=list)
    """Console messages, errors, dialogs, refused or foreign requests."""

    def open(self, address: str) -> None:
        """Go to an address and wait until the page is ready."""
        self.page.goto(address)
        self.page.wait_for_selector("body[data-ready]")

    def settled(self) -> None:
        """Wait until everything is stored."""
        until(self.page, "['saved', ''].includes(document.querySelector('#saved').textContent)")


@contextlib.contextmanager
def browsing() -> Iterator[Any]:
    """A browser. Skips where there is none."""
    if not CHROMIUM:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install decoupe[dev]")
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


def watched(browser: Any, link: str, width: int = 1280, height: int = 800, touch: bool = False) -> Watched:
    """A page that has opened the terminal's link."""
    context = browser.new_context(viewport={"width": width, "height": height}, has_touch=touch)
    context.set_default_timeout(60_000)
    found = Watched(context.new_page())
    own = link.split("/?")[0]
    page, said = found.page, found.said
    page.on("console", lambda message: said.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: said.append(f"error: {error}"))
    page.on("dialog", lambda dialog: (said.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    page.on("response", lambda r: said.append(f"{r.status} {r.url}") if r.status >= 400 else None)
    page.on("request", lambda r: None if r.url.startswith((own, "blob:")) else said.append(f"foreign: {r.url[:80]}"))
    found.open(link)
    return found
