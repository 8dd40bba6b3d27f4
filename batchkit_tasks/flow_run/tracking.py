"""The flow runs that have a run directory, as the Prefect server knows them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort

from batchkit_tasks.credentials import AnthropicCredentials
from batchkit_tasks.flow_run import RUN_LABEL, TAG, suspension
from batchkit_tasks.flow_run.suspension import patiently

PAGE: Final = 200
"""The most flow runs that the server lists at once."""

LIVE: Final = (
    StateType.SCHEDULED,
    StateType.PENDING,
    StateType.RUNNING,
    StateType.PAUSED,
)
"""States of runs that go on, or will."""

OVER: Final = (
    StateType.CANCELLED,
    StateType.CANCELLING,
    StateType.FAILED,
    StateType.CRASHED,
)
"""States of runs that may have left batches behind."""

SETTLED_LABEL: Final = "batchkit.settled"
"""Label of a flow run: the state (its id) behind which everything is cleaned up."""

RESTARTS_LABEL: Final = "batchkit.restarts"
"""Label of a flow run: how often the sweep has started it again after a crash."""


@dataclass(frozen=True, slots=True)
class Tracked:
    """A flow run, and the run directory it works on."""

    id: UUID
    name: str
    run: str
    """Empty if its process crashed before there was a run directory."""
    state: StateType
    state_name: str
    state_id: UUID
    since: datetime
    """When it came into its state."""
    pause_key: str
    due: datetime | None
    """When it starts next."""
    parameters: dict[str, Any]
    labels: dict[str, Any]

    @classmethod
    def of(cls, flow_run: FlowRun) -> Tracked | None:
        """Read a flow run; None if it has no run directory (yet), unless it crashed."""
        run, state = flow_run.labels.get(RUN_LABEL, ""), flow_run.state
        if state is None:
            return None
        if not run and not (state.is_crashed() and flow_run.deployment_id):
            return None
        return cls(
            id=flow_run.id,
            name=flow_run.name,
            run=str(run),
            state=state.type,
            state_name=state.name or "",
            state_id=state.id,
            since=state.timestamp,
            pause_key=state.state_details.pause_key or "",
            due=flow_run.next_scheduled_start_time,
            parameters=flow_run.parameters,
            labels=dict(flow_run.labels),
        )

    def age(self, now: datetime) -> timedelta:
        """How long it has been in its state."""
        return now - self.since

    @property
    def is_settled(self) -> bool:
        """Whether everything behind its state is cleaned up."""
        return self.labels.get(SETTLED_LABEL) == str(self.state_id)

    @property
    def restarts(self) -> int:
        """How often the sweep has started it again after a crash."""
        return int(self.labels.get(RESTARTS_LABEL, 0))


class Tracker:
    """Finds flow runs, and sets what is to be set about them."""

    def __init__(self, client: SyncPrefectClient) -> None:
        self.client = client
        self._credentials: dict[str, AnthropicCredentials] = {}

    def read(self, flow_run_id: UUID) -> Tracked | None:
        """One flow run; None if it has no run directory."""
        return Tracked.of(patiently(lambda: self.client.read_flow_run(flow_run_id)))

    def live(self) -> list[Tracked]:
        """All flow runs that go on, or will."""
        return list(self._find(LIVE, None))

    def over(self, since: datetime) -> list[Tracked]:
        """Flow runs that were canceled, failed or crashed, and are not settled."""
        canceling = self._find((StateType.CANCELLING,), None)
        ended = self._find(OVER, FlowRunFilterEndTime.model_validate({"after_": since}))
        found = {run.id: run for runs in (canceling, ended) for run in runs}
        return [run for run in found.values() if not run.is_settled]

    def label(self, run: Tracked, **labels: str) -> None:
        """Label a flow run."""
        named: Any = {f"batchkit.{name}": value for name, value in labels.items()}
        patiently(lambda: self.client.update_flow_run_labels(run.id, named))

    def start(self, run: Tracked, message: str) -> None:
        """Have a worker start a run that has no process."""
        suspension.schedule(self.client, run.id, datetime.now(UTC), message)

    def credentials_of(self, run: Tracked) -> AnthropicCredentials:
        """The credentials that a flow run was given: a block's, as a rule.

        Raises:
            ValueError: It was given none, or the block is gone.
        """
        given = run.parameters.get("credentials")
        if not isinstance(given, dict):
            raise ValueError("it has no parameter named credentials")
        if "$ref" not in given:
            return AnthropicCredentials.model_validate(given)
        key = json.dumps(given["$ref"], sort_keys=True)
        if key not in self._credentials:
            loaded = AnthropicCredentials.load_from_ref(given["$ref"])
            self._credentials[key] = cast(AnthropicCredentials, loaded)
        return self._credentials[key]

    def _find(
        self, states: Iterable[StateType], ended: FlowRunFilterEndTime | None
    ) -> Iterator[Tracked]:
        wanted = FlowRunFilter(
            tags=FlowRunFilterTags(all_=[TAG]),
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(states))),
            end_time=ended,
        )
        offset = 0
        while True:
            page = patiently(
                lambda at=offset: self.client.read_flow_runs(
                    flow_run_filter=wanted,
                    sort=FlowRunSort.ID_DESC,
                    limit=PAGE,
                    offset=at,
                )
            )
            yield from filter(None, map(Tracked.of, page))
            if len(page) < PAGE:
                return
            offset += PAGE
