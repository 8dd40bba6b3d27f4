"""The report of a run that is over, as a person reads it in both interfaces."""

from __future__ import annotations

from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from playwright.sync_api import expect

from tests.e2e.browser import (
    browser,
    keep_picture,
    needs_chromium,
    open_page,
    read_page,
)
from tests.e2e.scenes import Scene
from tests.e2e.stack import Stack

pytestmark = needs_chromium

MARKERS = ("[[refusal]]", "[[errored:invalid_request_error]]", "[[max_tokens]]")
"""What makes the sandbox refuse, fail or cut an answer."""


@dataclass
class Read:
    """What the report's page says."""

    scene: Scene
    text: dict[str, str] = field(default_factory=dict[str, str])
    """By interface."""
    pictures: dict[str, int] = field(default_factory=dict[str, int])


def read_in_both(stack: Stack) -> Read:
    """A run of which some rows failed, each for another reason."""
    scene = Scene(stack, "failed-rows", rows=120, ends_at_once=True)
    texts = [f"row {row} {MARKERS[row % 3] if row < 5 else ''}" for row in range(120)]
    ids = [f"rev-{88_000 + row}" for row in range(120)]
    pq.write_table(pa.table({"id": ids, "text": texts}), scene.source)
    run = scene.start(rows_per_batch=40, id_column="id")
    stack.wait_until_completed(run)
    told = Read(scene)
    with browser(stack) as page:
        path = f"/artifacts/artifact/{stack.reports(run)[0].id}"
        for version in ("v2", "v1"):
            open_page(page, stack, path, version)
            told.text[version] = read_page(page, until="Read the result")
            pictures = page.locator("img[src^='data:image/png']")
            expect(pictures.nth(1)).to_be_visible()
            told.pictures[version] = pictures.count()
            keep_picture(page, f"report-final-{version}")
            page.emulate_media(color_scheme="dark")
            keep_picture(page, f"report-final-{version}-dark")
            page.emulate_media(color_scheme="light")
        open_page(page, stack, f"/runs/flow-run/{run}", "v1")
        expect(page.get_by_text("Completed").first).to_be_visible()
        keep_picture(page, "run-final-v1")
        open_page(page, stack, f"/runs/flow-run/{run}")
        page.get_by_role("tab", name="Logs").click()
        expect(page.get_by_text("is at Anthropic: 40 rows").first).to_be_visible()
        keep_picture(page, "run-final")
    return told


@pytest.mark.parametrize("version", ["v2", "v1"])
@pytest.mark.story(of=read_in_both)
def test_the_page_of_a_report_names_failed_rows_and_what_to_do(
    told: Read, version: str
) -> None:
    text = told.text[version]
    assert "Rows that did not succeed: 5" in text
    for said in ("rev-88000", "invalid_request_error", "refused", "truncated"):
        assert said in text
    assert "failed-rows.failed.parquet" in text


@pytest.mark.parametrize("version", ["v2", "v1"])
@pytest.mark.story(of=read_in_both)
def test_the_pictures_of_a_report_are_shown_as_pictures(
    told: Read, version: str
) -> None:
    assert told.pictures[version] == 2
