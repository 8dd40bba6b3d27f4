"""A person fills in the form in Chromium, presses Submit, and gets the table."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.e2e.scenes import PROMPT, Scene
from tests.e2e.stack import DEPLOYMENT, Stack

CHROMIUM = os.environ.get("BATCHKIT_CHROMIUM") or shutil.which("chromium") or ""
"""Debian's: `apt-get install chromium`."""

OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    # Prefect's page asks other hosts for statistics and logos: nothing leaves here.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
]

PICTURES = Path("test-output")


@dataclass
class Clicked:
    """A run that was started from its page."""

    scene: Scene
    waiting: str
    """What the run's page says while it waits."""
    state: str


def clicked(stack: Stack) -> Clicked:
    """Fill in the form of the V2 interface and submit it."""
    scene = Scene(stack, "browser", rows=9)
    PICTURES.mkdir(exist_ok=True)
    stack.credentials("anthropic", scene.sandbox)  # the block that the form shows
    deployment = stack.client.read_deployment_by_name(DEPLOYMENT)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        page = browser.new_page(viewport={"width": 1400, "height": 1300})
        page.set_default_timeout(120_000)
        page.goto(f"{stack.ui}/v2/deployments/deployment/{deployment.id}/run")
        fill_in(page, scene)
        page.screenshot(path=PICTURES / "1-form.png", full_page=True)
        page.get_by_role("button", name="Submit").click()
        scene.wait_for_batches(1)
        run = stack.newest_run(DEPLOYMENT, source=str(scene.source))
        stack.wait_until_waiting(run)
        page.goto(f"{stack.ui}/v2/runs/flow-run/{run}")
        expect(page.get_by_text("AwaitingRetry").first).to_be_visible()
        page.get_by_role("tab", name="Details").click()
        waiting = page.get_by_text("message batch at Anthropic").first.inner_text()
        page.screenshot(path=PICTURES / "2-waiting.png", full_page=True)
        scene.end_all()
        stack.wait_until_completed(run)
        page.reload()
        expect(page.get_by_text("Completed").first).to_be_visible()
        page.screenshot(path=PICTURES / "3-completed.png", full_page=True)
        browser.close()
    return Clicked(scene, waiting, stack.state(run).name or "")


def fill_in(page: Page, scene: Scene) -> None:
    """Source, prompt, output; the credentials are chosen already."""
    page.get_by_label("Source table").fill(str(scene.source))
    page.get_by_label("Prompt", exact=True).fill(PROMPT)
    page.get_by_label("Output table").fill(str(scene.output))


@pytest.mark.skipif(not CHROMIUM, reason="needs Debian's chromium")
@pytest.mark.story(of=clicked)
def test_a_run_started_from_the_form_reaches_completed(told: Clicked) -> None:
    assert told.state == "Completed"
    assert told.scene.is_right()


@pytest.mark.skipif(not CHROMIUM, reason="needs Debian's chromium")
@pytest.mark.story(of=clicked)
def test_the_page_of_a_run_that_waits_says_what_for(told: Clicked) -> None:
    assert "1 message batch at Anthropic, 0 of 1 ended." in told.waiting
