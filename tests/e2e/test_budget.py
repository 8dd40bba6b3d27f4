"""A run above its budget asks in the form of *Resume*, in both interfaces."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest

from tests.e2e.browser import (
    browser,
    keep_picture,
    needs_chromium,
    open_page,
    read_page,
)
from tests.e2e.processes import wait_for
from tests.e2e.scenes import Scene
from tests.e2e.stack import Stack

LITTLE = 0.0001
"""USD; nine answers may cost twenty times as much."""


@dataclass
class Decided:
    """A run that asked about its budget."""

    scene: Scene
    asked: str
    """What its state said while it waited for a person."""
    sent_before: int
    """Batches that were sent before anybody had decided."""
    form: str
    state: str
    message: str
    log: list[str]
    report: str = ""
    """Of a dry run."""
    name: str = ""
    """Of the flow run."""


def above_budget(stack: Stack, name: str, **more: Any) -> tuple[Scene, UUID]:
    """Start a run that must ask before it sends anything."""
    scene = Scene(stack, name, rows=9)
    parameters = {**scene.parameters(), "budget_usd": LITTLE, **more}
    return scene, stack.start_run(parameters)


def wait_until_asked(stack: Stack, run: UUID) -> str:
    """Wait until a run waits for a person; return what it says."""
    state = stack.wait(
        run,
        lambda state: state.name == "Suspended" and bool(state.message),
        description="the run asks",
    )
    stack.wait_for_no_process(run)
    return state.message or ""


def decided(stack: Stack, scene: Scene, run: UUID, asked: str, form: str) -> Decided:
    """What came of it."""
    state = stack.state(run)
    return Decided(
        scene=scene,
        asked=asked,
        sent_before=0,
        form=form,
        state=state.name or "",
        message=state.message or "",
        log=stack.whole_log(run),
        name=stack.run(run).name,
    )


def approved(stack: Stack) -> Decided:
    """Somebody approves in the V2 interface, and the run goes on."""
    scene, run = above_budget(stack, "approved")
    asked = wait_until_asked(stack, run)
    before = len(scene.sandbox.batches())
    form = ""
    with browser(stack) as page:

        def approve() -> None:
            nonlocal form
            open_page(page, stack, f"/runs/flow-run/{run}")
            page.locator("button[aria-haspopup=menu]").last.click()
            page.get_by_role("menuitem", name="Resume").click()
            dialog = page.get_by_role("dialog")
            dialog.get_by_text("The whole run, at most").wait_for()
            form = dialog.inner_text()
            keep_picture(page, "budget-v2")
            dialog.get_by_role("button", name="Resume").click()

        until_resumed(stack, run, approve)
        scene.wait_for_batches(1)
        scene.end_all()
        stack.wait_until_completed(run)
        page.reload()
        page.get_by_text("Completed").first.wait_for()
        keep_picture(page, "budget-v2-approved")
    found = decided(stack, scene, run, asked, form)
    found.sent_before = before
    return found


def refused(stack: Stack) -> Decided:
    """Somebody says stop in the V1 interface."""
    scene, run = above_budget(stack, "refused")
    asked = wait_until_asked(stack, run)
    form = ""
    with browser(stack, "v1") as page:

        def refuse() -> None:
            nonlocal form
            open_page(page, stack, f"/runs/flow-run/{run}", "v1")
            page.get_by_role("button", name="Resume").first.click()
            form = read_page(page, until="The whole run, at most")
            choice = page.locator(".p-select-button__control", has_text="Approve")
            choice.press("ArrowDown")
            page.get_by_role("option", name="Stop").click()
            keep_picture(page, "budget-v1")
            page.get_by_role("button", name="Submit").click()

        until_resumed(stack, run, refuse)
        stack.wait(
            run, lambda state: state.is_failed(), description="the run has stopped"
        )
        page.reload()
        page.get_by_text("Failed").first.wait_for()
        keep_picture(page, "budget-v1-refused")
    return decided(stack, scene, run, asked, form)


def until_resumed(stack: Stack, run: UUID, press: Callable[[], object]) -> None:
    """Press again, as a person does, if the server had no time for it.

    On SQLite it answers a busy moment with an error ("database is locked").
    """
    for _ in range(5):
        press()
        for _ in range(60):
            if stack.state(run).name != "Suspended":
                return
            time.sleep(0.25)
    raise AssertionError("the run was not resumed")


def raised(stack: Stack) -> Decided:
    """Somebody sets a new budget that is too small as well, and then a larger one."""
    scene, run = above_budget(stack, "raised")
    wait_until_asked(stack, run)
    answer_form(stack, run, decision="Set a new budget", new_budget_usd=0.0002)
    stack.wait(run, lambda s: s.name != "Suspended", description="the run goes on")
    asked = wait_until_asked(stack, run)
    answer_form(stack, run, decision="Set a new budget", new_budget_usd=1.0)
    scene.wait_for_batches(1)
    scene.end_all()
    stack.wait_until_completed(run)
    return decided(stack, scene, run, asked, "")


def answer_form(stack: Stack, run: UUID, **fields: Any) -> None:
    """Fill in the form of *Resume* as both interfaces send it."""
    until_resumed(
        stack, run, lambda: stack.client.resume_flow_run(run, run_input=fields)
    )


def tried_out(stack: Stack) -> Decided:
    """A dry run."""
    scene, run = above_budget(stack, "tried-out", dry_run=True)
    stack.wait_until_completed(run)
    wait_for(
        lambda: any("dry run" in line for line in stack.log_lines(run)),
        description="the log has arrived",
    )
    found = decided(stack, scene, run, "", "")
    found.report = str(stack.reports(run)[0].data)
    return found


# ------------------------------------------------------------------------- approved


@needs_chromium
@pytest.mark.story(of=approved)
def test_a_run_above_its_budget_waits_for_a_person_and_has_sent_nothing(
    told: Decided,
) -> None:
    assert told.asked.startswith("Waiting for a decision: 9 requests could bring")
    assert "the budget is $0.0001" in told.asked
    assert any(line.startswith(told.asked) for line in told.log)
    assert told.sent_before == 0


@needs_chromium
@pytest.mark.story(of=approved)
def test_a_budget_approved_in_the_page_lets_the_run_go_on(told: Decided) -> None:
    assert "The whole run, at most" in told.form
    assert told.state == "Completed"
    assert told.scene.is_right()
    assert len(told.scene.sandbox.batches()) == 1


# -------------------------------------------------------------------------- refused


@needs_chromium
@pytest.mark.story(of=refused)
def test_a_budget_refused_in_the_page_ends_the_run_without_a_batch(
    told: Decided,
) -> None:
    assert told.state == "Failed"
    assert "The budget of $0.0001 does not cover what is left" in told.message
    assert told.scene.sandbox.batches() == []
    assert not told.scene.output.exists()


# --------------------------------------------------------------- raised and dry runs


@pytest.mark.story(of=raised)
def test_a_new_budget_that_is_too_small_is_asked_about_again(told: Decided) -> None:
    assert "the budget is $0.0002" in told.asked
    assert told.state == "Completed"
    assert told.scene.is_right()


@pytest.mark.story(of=tried_out)
def test_a_dry_run_shows_prompts_and_price_and_sends_nothing(told: Decided) -> None:
    text = "\n".join(told.log)
    assert "Prompt 5:\nSay tried-out 4" in text
    assert "9 rows are sent in 1 message batch." in text
    assert "Expected: ~$0.00" in text
    assert told.scene.sandbox.batches() == []
    assert not list(told.scene.output.parent.glob("_batchkit/tried-out.parquet"))
    assert told.message.startswith("dry run: 9 requests would be sent")
    assert told.name == "tried-out.parquet: dry run, 9 rows, haiku-5-5"


@pytest.mark.story(of=tried_out)
def test_a_dry_run_leaves_its_prompts_and_price_as_a_report(told: Decided) -> None:
    assert told.report.startswith("**Dry run** · nothing was sent")
    assert "- Expected: ~$0.00" in told.report
    assert "```text\nSay tried-out 4\n```" in told.report
