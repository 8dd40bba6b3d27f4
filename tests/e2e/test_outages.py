"""A worker and a server are killed without warning; every run ends right all the same.

One story after the other, on a server and a worker of their own.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.processes import processes_of_run, wait_for
from tests.e2e.scenes import Scene
from tests.e2e.stack import Stack

pytestmark = pytest.mark.long
"""Needs a machine of its own: beside others the page and the server come too late."""


@pytest.fixture(scope="module")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A server and a worker that may be killed."""
    with Stack(tmp_path_factory.mktemp("fragile")) as running:
        yield running


def test_runs_survive_the_death_of_their_worker_and_of_the_server(
    fragile: Stack,
) -> None:
    waiting, running = Scene(fragile, "waiting"), Scene(fragile, "running")
    waits = waiting.start()
    fragile.wait_until_waiting(waits)
    running.sandbox.order(
        "faults", endpoint="create", kind="accepted_then_slow", seconds=10, times=1
    )
    runs = running.start()
    running.wait_for_batches(3)

    fragile.worker.kill_alone()
    assert processes_of_run(str(runs)) != []  # an orphan, which goes on
    fragile.wait_until_waiting(runs)
    fragile.server.kill()
    waiting.end_all()
    running.end_all()
    fragile.start_server()
    states = {fragile.state(run).name for run in (waits, runs)}
    fragile.worker.start()
    for run in (waits, runs):
        fragile.wait_until_completed(run)

    assert states == {"AwaitingRetry"}
    for scene in (waiting, running):
        assert scene.is_right()
        assert len(scene.sandbox.batches()) == 3


def test_a_run_whose_server_is_killed_while_it_runs_ends_right(fragile: Stack) -> None:
    scene = Scene(fragile, "server")
    scene.sandbox.order(
        "faults", endpoint="create", kind="accepted_then_slow", seconds=15, times=1
    )
    run = scene.start()
    scene.wait_for_batches(3)

    fragile.server.kill()
    wait_for(lambda: not fragile.server.is_running, description="the server is gone")
    fragile.start_server()
    fragile.wait_until_waiting_or_crashed(run)
    scene.end_all()
    fragile.retry_if_crashed(run)
    fragile.wait_until_completed(run)

    assert scene.is_right()
    assert len(scene.sandbox.batches()) == 3
