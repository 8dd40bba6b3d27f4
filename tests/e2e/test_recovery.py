"""What a sweep does for runs, and what runs do without one."""

from __future__ import annotations

import time
from dataclasses import dataclass
from uuid import UUID, uuid4

import pytest
from prefect.states import Paused, Scheduled

from batchkit_tasks.flow_run import RUN_LABEL
from batchkit_tasks.flow_run.suspension import KEY_PREFIX
from tests.e2e.processes import processes_of_run, wait_for
from tests.e2e.scenes import Scene
from tests.e2e.stack import SWEEP, Stack

pytestmark = pytest.mark.long
"""Needs a machine of its own: beside others the page and the server come too late."""


@dataclass
class Swept:
    """Four runs that wait for ten minutes each, one that was killed before it had begun,
    and a pass of the sweep."""

    early: Scene
    early_name: str
    woken: Scene
    orphan: Scene
    suspended_by_a_person: str
    failed: Scene


def swept(stack: Stack) -> Swept:
    """One batch has ended; a process died while it suspended its run; a person has
    suspended another run; the last one has failed for good."""
    scenes = [Scene(stack, name) for name in ("woken", "orphan", "person", "failed")]
    runs = [scene.start(check_every_seconds=600) for scene in scenes]
    for run in runs:
        stack.wait_until_waiting(run)
    woken, orphan, _, failed = scenes
    suspend(stack, runs[1], f"{KEY_PREFIX}{uuid4().hex}")
    suspend(stack, runs[2], "1")
    woken.end_all()
    orphan.end_all()
    failed.sandbox.end(failed.sandbox.batches()[0])
    stack.set_state(runs[3], "FAILED")
    early = Scene(stack, "early", ends_at_once=True)
    killed_early = kill_at_once(stack, early)
    time.sleep(61)  # nobody is woken who may still have a process
    start = time.monotonic()
    sweep = stack.start_run({"dead_after_minutes": 0.01}, deployment=SWEEP)
    stack.wait_until_completed(sweep)
    seconds = time.monotonic() - start
    for run in (*runs[:2], killed_early):
        stack.wait_until_completed(run)
    wait_for(failed.output.exists, description="what the failed run had is written")
    woken.note(seconds_for_a_pass_with_its_process=round(seconds, 1))
    return Swept(
        early=early,
        early_name=stack.run(killed_early).name,
        woken=woken,
        orphan=orphan,
        suspended_by_a_person=stack.state(runs[2]).name or "",
        failed=failed,
    )


def kill_at_once(stack: Stack, scene: Scene) -> UUID:
    """Start a run, and kill -9 its process before it has come to its table."""
    run = scene.start()
    wait_for(lambda: processes_of_run(str(run)), description="it has a process")
    stack.kill_process(run)
    assert RUN_LABEL not in stack.run(run).labels
    return run


def suspend(stack: Stack, run: UUID, key: str) -> None:
    """Leave a run Suspended under a key."""
    state = Paused(
        name="Suspended", reschedule=True, pause_key=key, timeout_seconds=None
    )
    stack.client.set_flow_run_state(run, state, force=True)


@pytest.mark.story(of=swept)
def test_a_sweep_wakes_a_run_whose_batches_have_ended(told: Swept) -> None:
    assert told.woken.is_right()


@pytest.mark.story(of=swept)
def test_a_sweep_starts_a_run_again_that_was_killed_before_it_had_read_its_table(
    told: Swept,
) -> None:
    assert told.early.is_right()
    assert told.early_name == "early.parquet: 27 rows, haiku-5-5"


@pytest.mark.story(of=swept)
def test_a_sweep_picks_up_a_run_whose_process_died_while_suspending_it(
    told: Swept,
) -> None:
    assert told.orphan.is_right()
    assert len(told.orphan.sandbox.batches()) == 3


@pytest.mark.story(of=swept)
def test_a_sweep_leaves_alone_what_a_person_has_suspended(told: Swept) -> None:
    assert told.suspended_by_a_person == "Suspended"


@pytest.mark.story(of=swept)
def test_a_sweep_stops_the_bill_of_a_run_that_is_dead_and_keeps_its_results(
    told: Swept,
) -> None:
    assert set(told.failed.remote_states()) == {"ended"}
    statuses = told.failed.statuses()
    assert statuses["succeeded"] >= told.failed.sandbox.batches()[0]["requests"]
    assert sum(statuses.values()) == told.failed.rows


def killed(stack: Stack) -> tuple[Scene, list[str]]:
    """Kill -9 of the run's process while a create has no answer; a person retries."""
    scene = Scene(stack, "killed")
    scene.sandbox.order(
        "faults", endpoint="create", kind="accepted_then_hang", seconds=60, times=1
    )
    run = scene.start()
    scene.wait_for_batches(3)
    stack.kill_process(run)
    stack.wait_for_no_process(run)
    time.sleep(15)  # Prefect's worker reports the crash a second time
    stack.client.set_flow_run_state(run, Scheduled(name="AwaitingRetry"))
    stack.wait_until_waiting(run)
    scene.end_all()
    stack.wait_until_completed(run)
    return scene, stack.history(run)


@pytest.mark.story(of=killed)
def test_a_run_killed_without_warning_goes_on_when_it_is_retried(
    told: tuple[Scene, list[str]],
) -> None:
    scene, history = told
    assert "Crashed" in history
    assert scene.is_right()
    assert len(scene.sandbox.batches()) == 3


def refused(stack: Stack) -> tuple[Scene, str, str, int]:
    """A deployment under which waiting runs would be canceled as they wake up."""
    scene = Scene(stack, "refused", rows=3)
    name = stack.deploy_with_cancel_new()
    run = scene.start(deployment=name)
    wait_for(lambda: stack.state(run).is_final(), description="the run is over")
    deployed = stack.deploy()
    stack.delete_deployment(name)
    return scene, stack.state(run).message or "", deployed.stdout, deployed.returncode


@pytest.mark.story(of=refused)
def test_cancel_new_is_refused_by_runs_and_by_the_deploy_script(
    told: tuple[Scene, str, str, int],
) -> None:
    scene, message, printed, code = told
    assert "CANCEL_NEW" in message
    assert scene.sandbox.calls() == []
    assert "CANCEL_NEW" in printed
    assert code == 2
