"""Deployed runs wait without a process, and wake by themselves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.e2e.processes import processes_of_run, wait_for
from tests.e2e.scenes import Scene
from tests.e2e.stack import NIGHTLY, Stack


@dataclass
class ThreeBatches:
    """A run whose three batches end at different times; another run passes it."""

    scene: Scene
    message: str
    processes: list[int]
    slots_in_use: int
    other_ran: bool
    history: list[str]
    run_count: int
    log: list[str]
    task_runs: list[str]


def three_batches(stack: Stack) -> ThreeBatches:
    """One batch ends, then two; the deployment has room for one run at a time."""
    scene, other = Scene(stack, "three"), Scene(stack, "other", rows=5)
    run = scene.start(deployment=NIGHTLY)
    message = stack.wait_until_waiting(run).message or ""
    processes = processes_of_run(str(run))
    slots = stack.slots_in_use(NIGHTLY)
    passing = other.start(deployment=NIGHTLY)
    stack.wait_until_waiting(passing)
    other.end_all()
    scene.sandbox.end(scene.sandbox.batches()[0])
    wait_for(lambda: parts(scene), description="the first batch is collected")
    stack.wait_until_completed(passing)
    stack.wait_until_waiting(run)
    scene.end_all()
    stack.wait_until_completed(run)
    return ThreeBatches(
        scene=scene,
        message=message,
        processes=processes,
        slots_in_use=slots,
        other_ran=other.is_right(),
        history=stack.history(run),
        run_count=stack.run(run).run_count,
        log=stack.whole_log(run),
        task_runs=stack.task_runs(run),
    )


def parts(scene: Scene) -> list[Any]:
    """The results that a run has collected so far."""
    return list(scene.output.parent.glob(f"_batchkit/{scene.output.name}/*/parts/*"))


@pytest.mark.story(of=three_batches)
def test_no_process_of_a_run_exists_while_it_waits(told: ThreeBatches) -> None:
    assert told.processes == []
    assert "3 message batches at Anthropic, 0 of 3 ended" in told.message


@pytest.mark.story(of=three_batches)
def test_another_run_takes_the_slot_of_one_that_waits(told: ThreeBatches) -> None:
    assert told.slots_in_use == 0
    assert told.other_ran


@pytest.mark.story(of=three_batches)
def test_batches_that_end_one_after_the_other_are_joined_right(
    told: ThreeBatches,
) -> None:
    assert told.scene.is_right()
    assert [batch["requests"] for batch in told.scene.sandbox.batches()] != []
    assert len(told.scene.sandbox.batches()) == 3
    assert told.scene.rows_bought() == told.scene.rows


@pytest.mark.story(of=three_batches)
def test_each_wait_goes_through_suspended_and_counts_as_no_retry(
    told: ThreeBatches,
) -> None:
    waits = told.history.count("AwaitingRetry")
    assert waits >= 2
    assert told.history.count("Suspended") == waits
    assert told.history[-1] == "Completed"
    assert told.run_count == 1


@pytest.mark.story(of=three_batches)
def test_a_run_says_and_does_each_thing_once(told: ThreeBatches) -> None:
    wakes = told.history.count("Running") - 1
    assert (
        len([line for line in told.log if "rows are sent in 3 message batches" in line])
        == 1
    )
    assert len([name for name in told.task_runs if name.startswith("submit")]) == 3
    assert len([name for name in told.task_runs if name.startswith("collect")]) == 3
    assert told.task_runs.count("cut into batches") == 1
    # A process looks once while it sends or collects, and once before it is given back.
    assert told.task_runs.count("wait for batches") <= 2 * (wakes + 1)


@dataclass
class Scheduled:
    """A run that a schedule started."""

    scene: Scene
    created_by: str
    due: datetime
    started: datetime


def scheduled(stack: Stack) -> Scheduled:
    """A cron schedule that fires in the next minute but one."""
    scene = Scene(stack, "cron", rows=5)
    minute = (datetime.now(UTC).minute + 2) % 60
    run = stack.schedule(scene.parameters(), f"{minute} * * * *")
    stack.wait_until_waiting(run, seconds=240)
    scene.end_all()
    stack.wait_until_completed(run)
    found = stack.run(run)
    assert found.expected_start_time is not None
    assert found.start_time is not None
    return Scheduled(
        scene=scene,
        created_by=str(found.created_by.type if found.created_by else ""),
        due=found.expected_start_time,
        started=found.start_time,
    )


@pytest.mark.story(of=scheduled)
def test_a_schedule_really_starts_runs(told: Scheduled) -> None:
    assert told.created_by == "SCHEDULE"
    assert told.started >= told.due
    assert told.scene.is_right()


def same_job_twice(stack: Stack) -> tuple[Scene, list[str]]:
    """The same job, started at the same time by two."""
    scene = Scene(stack, "twice")
    runs = [scene.start(), scene.start()]
    for run in runs:
        stack.wait_until_waiting(run)
    scene.end_all()
    for run in runs:
        stack.wait_until_completed(run)
    return scene, [str(stack.run(run).labels["batchkit.run"]) for run in runs]


@pytest.mark.story(of=same_job_twice)
def test_the_same_job_started_twice_is_paid_once(told: tuple[Scene, list[str]]) -> None:
    scene, directories = told
    assert directories[0] == directories[1]
    assert len(scene.sandbox.batches()) == 3
    assert scene.is_right()
