"""Canceling a run stops the bill, whatever state it is in, and keeps what was paid."""

from __future__ import annotations

import time
from dataclasses import dataclass
from uuid import UUID

import pytest

from tests.e2e.processes import wait_for
from tests.e2e.scenes import Scene
from tests.e2e.stack import Stack


@dataclass
class Canceled:
    """A run that was canceled."""

    scene: Scene
    state: str
    statuses: dict[str, int]
    """The rows of the output; empty if none was written."""
    seconds: float
    """From the click until no batch runs any more."""
    report: str = ""
    """The report on the run's page, after somebody has cleaned up."""


def canceled_while_it_waits(stack: Stack) -> Canceled:
    """One of three batches has ended; no process of the run exists."""
    scene = Scene(stack, "waits")
    run = scene.start(check_every_seconds=600)
    stack.wait_until_waiting(run)
    scene.sandbox.end(scene.sandbox.batches()[0])
    seconds = cancel(scene, run)
    wait_for(scene.output.exists, description="the output is written")
    found = seen(scene, run, seconds)
    found.report = wait_for(
        lambda: [
            text
            for report in stack.reports(run)
            if (text := str(report.data)).startswith("**Canceled**")
        ],
        description="the report is closed",
    )[0]
    return found


@pytest.mark.story(of=canceled_while_it_waits)
def test_the_report_of_a_run_canceled_without_a_process_is_closed(
    told: Canceled,
) -> None:
    good = told.statuses["succeeded"]
    assert told.report.startswith(f"**Canceled** · {good} of 27 rows succeeded")
    assert "its message batches are canceled" in told.report
    assert "Next look" not in told.report
    assert "in progress" not in told.report


@pytest.mark.story(of=canceled_while_it_waits)
def test_a_run_that_waits_is_canceled_with_its_batches(told: Canceled) -> None:
    assert told.state == "Cancelled"
    assert set(told.scene.remote_states()) == {"ended"}


@pytest.mark.story(of=canceled_while_it_waits)
def test_rows_that_had_finished_are_kept_and_the_rest_says_canceled(
    told: Canceled,
) -> None:
    first = told.scene.sandbox.batches()[0]["requests"]
    assert told.statuses["succeeded"] >= first
    assert set(told.statuses) == {"succeeded", "canceled"}
    assert sum(told.statuses.values()) == told.scene.rows


def canceled_before_its_first_batch(stack: Stack) -> Canceled:
    """The API does not answer the very first question."""
    scene = Scene(stack, "before")
    scene.sandbox.order("faults", endpoint="list", kind="hang", seconds=120, times=-1)
    run = scene.start()
    wait_for(
        lambda: [c for c in scene.sandbox.calls() if c["method"] == "GET"],
        description="the run asks the API",
    )
    scene.sandbox.order("faults", endpoint="create", kind="server_error", times=-1)
    return seen(scene, run, cancel(scene, run))


@pytest.mark.story(of=canceled_before_its_first_batch)
def test_a_run_canceled_before_its_first_batch_sends_none(told: Canceled) -> None:
    assert told.state == "Cancelled"
    assert told.scene.sandbox.batches() == []
    assert told.statuses == {}


def canceled_between_two_submissions(stack: Stack) -> Canceled:
    """Two batches are bought, the creates of the others take their time."""
    scene = Scene(stack, "between", rows=45)
    scene.sandbox.order(
        "faults", endpoint="create", kind="hang", seconds=120, times=-1, after=2
    )
    run = scene.start()
    scene.wait_for_batches(2)
    seconds = cancel(scene, run)
    wait_for(scene.output.exists, description="the output is written")
    return seen(scene, run, seconds)


@pytest.mark.story(of=canceled_between_two_submissions)
def test_a_run_canceled_while_it_sends_stops_sending(told: Canceled) -> None:
    assert told.state == "Cancelled"
    assert told.scene.remote_states() == ["ended", "ended"]
    assert told.statuses["canceled"] >= told.scene.rows - told.scene.rows_bought()
    assert sum(told.statuses.values()) == told.scene.rows


def canceled_while_it_runs(stack: Stack) -> Canceled:
    """All batches are bought; the run has a process, which looks at them."""
    scene = Scene(stack, "runs")
    scene.sandbox.order(
        "faults", endpoint="retrieve", kind="hang", seconds=120, times=-1
    )
    scene.sandbox.order(
        "faults", endpoint="list", kind="hang", seconds=120, times=1, after=3
    )
    run = scene.start()
    scene.wait_for_batches(3)
    stack.wait(run, lambda state: state.is_running(), description="the run runs")
    scene.sandbox.clear_faults()
    seconds = cancel(scene, run)
    wait_for(lambda: stack.state(run).is_final(), description="the run is over")
    return seen(scene, run, seconds)


@pytest.mark.story(of=canceled_while_it_runs)
def test_a_run_that_runs_is_canceled_with_its_batches(told: Canceled) -> None:
    assert told.state == "Cancelled"
    assert set(told.scene.remote_states()) == {"ended"}
    assert told.scene.rows_bought() == told.scene.rows


def cancel(scene: Scene, run: UUID) -> float:
    """Press Cancel; return the seconds until no batch runs at the API."""
    bought = len(scene.sandbox.batches())
    start = time.monotonic()
    scene.stack.cancel(run)
    wait_for(
        lambda: set(scene.remote_states()) <= {"ended"},
        description="the batches are canceled",
    )
    seconds = time.monotonic() - start
    scene.note(seconds_from_cancel_to_ended=round(seconds, 1), batches=bought)
    return seconds


def seen(scene: Scene, run: UUID, seconds: float) -> Canceled:
    """What there is to see when all is over."""
    stack = scene.stack
    wait_for(
        lambda: stack.state(run).name == "Cancelled",
        description="the run is Cancelled",
    )
    statuses = scene.statuses() if scene.output.exists() else {}
    return Canceled(scene, "Cancelled", statuses, seconds)
