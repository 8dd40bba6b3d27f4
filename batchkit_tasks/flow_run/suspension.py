"""Give the process back while a run waits, and have Prefect start it again by itself.

A run goes through *Suspended* (Prefect then keeps its count of retries) and at once to
*SCHEDULED* for the moment of the next look: the scheduler and any worker of its pool
do the rest. The state is named `AwaitingRetry`, the one name of a scheduled state under
which Prefect's page keeps the graph, the task runs and the artifacts of a waiting run.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.context import FlowRunContext
from prefect.exceptions import Pause, PrefectHTTPStatusError
from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput
from prefect.states import Scheduled

from batchkit_tasks import patience

T = TypeVar("T")
Input = TypeVar("Input", bound=RunInput)

PASSING: Final = frozenset({502, 503, 504})
"""Answers of a server, or of what stands before it, that it can do without soon."""

KEY_PREFIX: Final = "batchkit-wait-"
"""Pause keys of our own waits. A run left in Suspended under one of these was on its
way to *SCHEDULED* when its process died; the sweep wakes it."""

ASK_PREFIX: Final = "batchkit-ask-"
"""Pause keys of questions to a person: nobody but a person wakes these."""

STATE_NAME: Final = "AwaitingRetry"

TRIES: Final = 12
LONGEST_PAUSE: Final = 15.0
"""A busy server (SQLite: "database is locked") answers 503 for seconds at a time, and a
restarting one not at all: about two minutes of patience."""


def can_suspend() -> bool:
    """Whether this code runs in a flow run that Prefect can start again.

    Not without a deployment (a script, a notebook, the ephemeral server), and not in a
    subflow: there waiting holds the process.
    """
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    return bool(run and run.deployment_id and not run.parent_task_run_id)


def suspend_until(when: datetime, message: str) -> None:
    """End this process; the same flow run starts again from the top at `when`.

    Never less than `patience.shortest_suspension` ahead: a run that is scheduled again
    before its process has exited stops a worker (Prefect up to 3.8.8). If the process
    dies between the two calls, the run stays Suspended, and the sweep or a person's
    Resume wakes it.

    Raises:
        prefect.exceptions.Pause: Always; the engine ends the process with exit code 0.
    """
    run_id = _current_run_id()
    when = max(when, datetime.now(UTC) + patience.shortest_suspension())
    try:
        # A key works once in a run, so each wait gets a fresh one.
        patiently(lambda: suspend_flow_run(key=f"{KEY_PREFIX}{uuid.uuid4().hex}"))
    except Pause:
        with get_client(sync_client=True) as client:
            schedule(client, run_id, when, message)
        raise


def schedule(
    client: SyncPrefectClient, run_id: Any, when: datetime, message: str
) -> None:
    """Have the same flow run start from the top at a moment.

    Only for a run without a process: Prefect would start a second one beside it.
    """
    patiently(lambda: _forget_process(client, run_id))
    state = Scheduled(name=STATE_NAME, scheduled_time=when, message=message)
    patiently(lambda: client.set_flow_run_state(run_id, state))


def suspend_for_person(message: str) -> None:
    """End this process until a person presses Resume.

    Raises:
        prefect.exceptions.Pause: Always.
    """
    run_id = _current_run_id()
    try:
        patiently(lambda: suspend_flow_run(key=f"{ASK_PREFIX}{uuid.uuid4().hex}"))
    except Pause:
        with get_client(sync_client=True) as client:
            patiently(lambda: _say(client, run_id, message))
        raise


def wait_for_input(form: type[Input], *, key: str, message: str) -> Input:
    """Give what a person entered under this key; ask for it if nobody has yet.

    Args:
        key: The same for the same question, so that the run finds its answer when it
            starts from the top.

    Raises:
        prefect.exceptions.Pause: The question was put; the process ends.
    """
    run_id = _current_run_id()
    try:
        return patiently(lambda: suspend_flow_run(wait_for_input=form, key=key))
    except Pause:
        with get_client(sync_client=True) as client:
            patiently(lambda: _say(client, run_id, message))
        raise


def _say(client: SyncPrefectClient, run_id: Any, message: str) -> None:
    """Give the Suspended state a message; `suspend_flow_run` has no way to."""
    state = client.read_flow_run(run_id).state
    if state is not None and state.is_paused():
        state.message = message
        client.set_flow_run_state(run_id, state, force=True)


def _forget_process(client: SyncPrefectClient, run_id: Any) -> None:
    """Clear the process id: with it, a cancel would wait five minutes for a process
    that does not exist any more. The client has no method for a null, so this is the
    plain call."""
    client._client.patch(  # pyright: ignore[reportPrivateUsage]
        f"/flow_runs/{run_id}", json={"infrastructure_pid": None}
    ).raise_for_status()


def _current_run_id() -> Any:
    context = FlowRunContext.get()
    assert context is not None, "only flow runs can be suspended"
    assert context.flow_run is not None, "only flow runs can be suspended"
    return context.flow_run.id


def patiently(call: Callable[[], T]) -> T:
    """Repeat a call that the server was too busy for, or not there for."""
    for attempt in range(TRIES):
        try:
            return call()
        except (PrefectHTTPStatusError, httpx.TransportError) as error:
            refused = (
                isinstance(error, PrefectHTTPStatusError)
                and error.response.status_code not in PASSING
            )
            if refused or attempt == TRIES - 1:
                raise
            time.sleep(min(2.0**attempt / 2, LONGEST_PAUSE))
    raise AssertionError("unreachable")
