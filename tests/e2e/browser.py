"""Prefect's two interfaces in a real Chromium, as a person uses them.

Nothing leaves the machine: every other host is unknown to the browser. Fields are
found by the labels that people read.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.e2e.stack import Stack

Version = Literal["v1", "v2"]

CHROMIUM = (
    os.environ.get("BATCHKIT_CHROMIUM")
    or shutil.which("chromium")
    or shutil.which("google-chrome")
)
"""Debian's: `apt-get install chromium`."""

OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    # Prefect's page asks other hosts for statistics and logos: nothing leaves here.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
]

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")

PATIENCE = 60_000
"""Milliseconds; the machine is busy with the stories of other tests."""


@contextmanager
def browser(
    stack: Stack, version: Version = "v2", *, dark: bool = False
) -> Generator[Page]:
    """A window on the interface."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        context = chromium.new_context(
            viewport={"width": 1440, "height": 1600},
            color_scheme="dark" if dark else "light",
        )
        page = context.new_page()
        choose(page, stack, version)
        page.set_default_timeout(PATIENCE)
        expect.set_options(timeout=PATIENCE)
        try:
            yield page
        finally:
            chromium.close()


def choose(page: Page, stack: Stack, version: Version) -> None:
    """Choose one of the two interfaces, as the link at their foot does."""
    page.context.add_cookies(
        [{"name": "prefect_ui_version", "value": version, "url": stack.ui}]
    )


def open_page(page: Page, stack: Stack, path: str, version: Version = "v2") -> None:
    """Go to a page."""
    choose(page, stack, version)
    page.goto(stack.ui + ("/v2" if version == "v2" else "") + path)


def read_page(page: Page, until: str) -> str:
    """What the page says once it says a certain thing: V2 shows parts of it, hides them
    while it loads others, and shows them again."""
    whole = "wanted => { const all = document.body.innerText; "
    whole += "return all.includes(wanted) && all; }"
    return page.wait_for_function(whole, arg=until).json_value()


def keep_picture(page: Page, name: str) -> None:
    """Keep what the page shows, whole, with the test output."""
    folder = Path("test-output") / "ui"
    folder.mkdir(parents=True, exist_ok=True)
    height = page.evaluate(
        "Math.max(...[...document.querySelectorAll('*')].map(e => e.scrollHeight))"
    )
    page.set_viewport_size({"width": 1440, "height": min(int(height) + 80, 4000)})
    page.wait_for_timeout(700)
    page.screenshot(path=str(folder / f"{name}.png"))
    page.set_viewport_size({"width": 1440, "height": 1600})
