"""The form in a browser: a custom run in both interfaces, a quick run, a schedule."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
from playwright.sync_api import Error, Locator, Page, expect
from prefect.client.schemas.objects import Artifact
from prefect.client.schemas.sorting import FlowRunSort

from tests.e2e.browser import browser, keep_picture, needs_chromium, open_page
from tests.e2e.processes import wait_for
from tests.e2e.scenes import PROMPT, Scene
from tests.e2e.stack import DEPLOYMENT, NIGHTLY, Stack

pytestmark = needs_chromium

slow = pytest.mark.long
"""The same form by other ways; each takes a browser and two processes of its own."""


@dataclass
class Submitted:
    """A run that was started in the browser, from its start to its end."""

    scene: Scene
    name: str
    waiting: str
    """What the run's page said while it waited; empty if it had not to wait."""
    waiting_report: Artifact | None
    final_report: Artifact
    reports: int
    state_message: str
    task_names: list[str] = field(default_factory=list[str])
    tags: list[str] = field(default_factory=list[str])
    log: list[str] = field(default_factory=list[str])
    events: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    """What each of our events was about, by its name."""


def custom_run(stack: Stack) -> Submitted:
    """Fill in the form of the newer interface, and watch the run to its end."""
    scene = Scene(stack, "custom-form")
    with browser(stack) as page:
        open_page(page, stack, f"{_deployment(stack, DEPLOYMENT)}/run")
        _fill(page.locator("body"), scene)
        page.get_by_label("Rows per batch").fill("10")
        page.get_by_label("Look every (seconds)").fill("1")
        _choose_block(page, scene.name)
        keep_picture(page, "form")
        page.emulate_media(color_scheme="dark")
        keep_picture(page, "form-dark")
        page.emulate_media(color_scheme="light")
        run = _press(page.get_by_role("button", name="Submit"), stack, scene)
        stack.wait_until_waiting(run)
        report = stack.reports(run)[0]
        waiting = _look_at_waiting_run(page, stack, run, report)
        scene.end_all()
        return _to_the_end(stack, scene, run, waiting, report)


def _look_at_waiting_run(page: Page, stack: Stack, run: UUID, report: Artifact) -> str:
    open_page(page, stack, f"/runs/flow-run/{run}")
    expect(page.get_by_text("AwaitingRetry").first).to_be_visible()
    page.get_by_role("tab", name="Details").click()
    waiting = page.get_by_text("message batches at Anthropic").first.inner_text()
    page.get_by_role("tab", name="Artifacts").click()
    expect(page.get_by_text("rows back").first).to_be_visible()
    keep_picture(page, "run-waiting")
    open_page(page, stack, f"/artifacts/artifact/{report.id}")
    expect(page.get_by_role("cell", name="Next look")).to_be_visible()
    keep_picture(page, "report-waiting")
    return waiting


def custom_run_in_v1(stack: Stack) -> Submitted:
    scene = Scene(stack, "custom-form-v1", ends_at_once=True)
    with browser(stack, "v1") as page:
        open_page(page, stack, f"{_deployment(stack, DEPLOYMENT)}/run", "v1")
        _fill_v1(page, scene)
        keep_picture(page, "form-v1")
        run = _press(page.get_by_role("button", name="Submit"), stack, scene)
        return _to_the_end(stack, scene, run)


def quick_run(stack: Stack) -> Submitted:
    """Use the dialog of a quick run, with credentials that were saved in the browser."""
    scene = Scene(stack, "quick-form", ends_at_once=True)
    with browser(stack, dark=True) as page:
        _save_block(page, stack, "made-in-ui", scene.sandbox.url)
        open_page(page, stack, _deployment(stack, DEPLOYMENT))
        page.get_by_role("button", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Quick run").click()
        dialog = page.get_by_role("dialog")
        _fill(dialog, scene)
        _choose_block(page, "made-in-ui")
        keep_picture(page, "quick-run-dark")
        button = dialog.get_by_role("button", name="Run", exact=True)
        return _to_the_end(stack, scene, _press(button, stack, scene))


def mistyped(stack: Stack) -> list[str]:
    """A run whose prompt uses a column that is not there; return what its log says."""
    scene = Scene(stack, "mistyped-form", rows=3)
    run = stack.start_run({**scene.parameters(), "prompt": "Say {txet}"})
    stack.wait(run, lambda state: state.is_failed(), description="the run has failed")
    assert scene.sandbox.batches() == []

    def log() -> list[str] | None:
        lines = stack.log_lines(run)
        return lines if any("Traceback" in line for line in lines) else None

    return wait_for(log, description="the log has arrived")


@dataclass
class Scheduled:
    """What a schedule made in the interface holds, and whether its run was right."""

    parameters: dict[str, Any]
    is_right: bool


def schedule(stack: Stack) -> Scheduled:
    """Make a schedule in the dialog, with a source and an output of its own."""
    scene = Scene(stack, "scheduled-form", ends_at_once=True)
    with browser(stack) as page:
        saved = _save_schedule(page, stack, scene)
    # A run as the scheduler would make it, now and with the scene's own sandbox.
    own = {"credentials": scene.credentials, "advanced": scene.parameters()["advanced"]}
    run = stack.start_run({**saved, **own})
    stack.wait_until_completed(run)
    return Scheduled(saved, scene.is_right())


def _save_schedule(page: Page, stack: Stack, scene: Scene) -> dict[str, Any]:
    """Fill in the dialog, and again where a busy server has refused it."""

    def saved() -> dict[str, Any] | None:
        schedules = stack.client.read_deployment_by_name(NIGHTLY).schedules
        mine = [s for s in schedules if s.parameters.get("source") == str(scene.source)]
        return mine[0].parameters if mine else None

    for _ in range(3):
        open_page(page, stack, _deployment(stack, NIGHTLY))
        page.get_by_role("button", name="Schedule", exact=True).click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Value").fill("600")
        _fill(dialog, scene)
        keep_picture(page, "schedule-dialog")
        dialog.get_by_role("button", name="Save").click()
        with contextlib.suppress(AssertionError):
            return wait_for(saved, description="the schedule is saved", seconds=30)
    raise AssertionError("the dialog was saved three times, and there is no schedule")


def _deployment(stack: Stack, name: str) -> str:
    found = stack.client.read_deployment_by_name(name)
    return f"/deployments/deployment/{found.id}"


def _fill(form: Locator, scene: Scene) -> None:
    form.get_by_label("Source table").fill(str(scene.source))
    form.get_by_label("Prompt", exact=False).first.fill(PROMPT)
    form.get_by_label("Output table").fill(str(scene.output))


def _save_block(page: Page, stack: Stack, name: str, url: str) -> None:
    open_page(page, stack, "/blocks/catalog/anthropic-credentials/create")
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("API key").fill("sk-ant-made-in-ui")
    page.get_by_label("Base URL").fill(url)
    keep_picture(page, "block")
    saved = page.get_by_text('load("made-in-ui")')
    for _ in range(3):  # a busy server may refuse the first time
        page.get_by_role("button", name="Save").click()
        with contextlib.suppress(AssertionError):
            expect(saved).to_be_visible(timeout=20_000)
            return
    raise AssertionError("the block cannot be saved")


def _choose_block(page: Page, name: str) -> None:
    page.get_by_label("Select a block").click()
    page.get_by_role("option", name=name, exact=True).click()


def _fill_v1(page: Page, scene: Scene) -> None:
    """The older interface does not tie its labels to its fields."""
    values = {
        "Source table": scene.source,
        "Prompt": PROMPT,
        "Output table (Optional)": scene.output,
    }
    # What the page proposes is one of its own names, but not always a known one.
    name = page.locator("label").get_by_text("Run Name", exact=True)
    name.locator("xpath=following::input[1]").fill("tau3-gauss-expanse")
    for label, value in values.items():
        found = page.locator("label").get_by_text(label, exact=True)
        found.locator("xpath=following::textarea[1]").fill(str(value))
    expect(page.locator("button", has_text="anthropic")).to_be_visible()
    page.locator(".block-document-input__select .p-select-button__icon").click()
    page.locator(".p-select-option").get_by_text(scene.name, exact=True).click()


def _press(button: Locator, stack: Stack, scene: Scene) -> UUID:
    """Submit a form, and again where a busy server has refused it, as a person would.

    Returns:
        The run that this has started.
    """

    def newest() -> UUID | None:
        runs = stack.client.read_flow_runs(sort=FlowRunSort.ID_DESC, limit=200)
        mine = [r for r in runs if r.parameters.get("source") == str(scene.source)]
        return mine[0].id if mine else None

    for _ in range(3):
        with contextlib.suppress(Error):  # a page that is drawn too slowly for a click
            button.click(timeout=20_000)
        with contextlib.suppress(AssertionError):
            return wait_for(newest, description="the run is there", seconds=30)
    keep_picture(button.page, f"{scene.name}-refused")
    raise AssertionError("the form was submitted three times, and there is no run")


def _to_the_end(
    stack: Stack,
    scene: Scene,
    run: UUID,
    waiting: str = "",
    waiting_report: Artifact | None = None,
) -> Submitted:
    stack.wait_until_completed(run)
    reports = stack.reports(run)
    ended = stack.run(run)
    assert ended.state is not None
    return Submitted(
        scene=scene,
        name=ended.name,
        waiting=waiting,
        waiting_report=waiting_report,
        final_report=reports[0],
        reports=len(reports),
        state_message=ended.state.message or "",
        task_names=stack.task_runs(run),
        tags=ended.tags,
        log=stack.whole_log(run),
        events=_events(stack, run),
    )


def _events(stack: Stack, run: UUID) -> dict[str, dict[str, str]]:
    """Our events of a run; they reach the server some seconds later."""
    related = {"id": [f"prefect.flow-run.{run}"]}
    wanted = {"event": {"prefix": ["anthropic.", "batchkit."]}, "related": related}

    def all_of_them() -> dict[str, dict[str, str]] | None:
        found = stack.post("/events/filter", {"filter": wanted})["events"]
        named = {each["event"]: each["resource"] for each in found}
        return named if len(named) >= 4 else None

    return wait_for(all_of_them, description="the events of the run are there")


@pytest.mark.parametrize(
    "_story",
    [
        pytest.param("v2", marks=pytest.mark.story(of=custom_run)),
        pytest.param("v1", marks=[slow, pytest.mark.story(of=custom_run_in_v1)]),
        pytest.param("quick", marks=[slow, pytest.mark.story(of=quick_run)]),
    ],
)
def test_a_run_filled_in_by_hand_answers_every_row(
    told: Submitted, _story: str
) -> None:
    assert told.scene.is_right()
    assert told.name == f"{told.scene.name}.parquet: 27 rows, haiku-5-5"
    assert told.state_message.startswith("27 of 27 rows succeeded")


@pytest.mark.story(of=custom_run)
def test_one_report_is_updated_in_place_from_one_process_to_the_next(
    told: Submitted,
) -> None:
    waiting, final = told.waiting_report, told.final_report

    assert told.reports == 1
    assert waiting is not None
    assert waiting.id == final.id
    assert final.key == "batch-report-batch-table"
    assert str(waiting.data).startswith("**Waiting for Anthropic** · 0 of 27 rows back")
    assert str(final.data).startswith("**Completed** · 27 of 27 rows succeeded")
    assert (final.description or "").startswith("**Completed** · 27 of 27 rows")


@pytest.mark.story(of=custom_run)
def test_the_page_of_a_run_reads_like_a_story(told: Submitted) -> None:
    assert {"submit batch 1 of 3", "collect batch 3 of 3"} <= set(told.task_names)
    assert {"anthropic", "batchkit"} <= set(told.tags)
    assert any(
        line.startswith("Batch 1 of 3 is at Anthropic: 10 rows") for line in told.log
    )
    assert any("wakes by itself" in line for line in told.log)
    assert f"Every row is in {told.scene.output}." in told.log
    assert "3 message batches at Anthropic, 0 of 3 ended." in told.waiting


@pytest.mark.story(of=custom_run)
def test_automations_find_what_happened_to_a_run_by_its_events(told: Submitted) -> None:
    written = told.events["batchkit.run.written"]

    assert {name.rpartition(".")[2] for name in told.events} == {
        "submitted", "ended", "collected", "written",
    }  # fmt: skip
    assert written["prefect.resource.name"] == "custom-form.parquet"
    assert written["batchkit.failed-rows"] == "none"
    batch = told.events["anthropic.message-batch.collected"]
    assert batch["prefect.resource.name"].startswith("message batch ")


@pytest.mark.story(of=mistyped)
def test_a_mistake_is_said_in_one_line_before_any_traceback(told: list[str]) -> None:
    plain = next(at for at, line in enumerate(told) if "Did you mean {text}?" in line)

    assert "\n" not in told[plain]
    assert "Traceback" not in "".join(told[:plain])


@slow
@pytest.mark.story(of=schedule)
def test_a_schedule_made_in_the_interface_holds_plain_values_and_runs(
    told: Scheduled,
) -> None:
    assert told.parameters["prompt"] == PROMPT
    assert "__prefect_kind" not in str(told.parameters)
    assert told.is_right
