"""The Prefect flow run that a run belongs to: what it must remember between processes.

A deployed run lives in many processes, one after the other. Labels of the flow run
tell each of them, and the sweep, where the run directory is; a tag marks the flow run
as ours, so that it can be found and watched by an automation.

Here too: how it gives its process back, how it asks a person, its events, and how the
flow runs of all runs are found.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.context import FlowRunContext

from batchkit_tasks.errors import CollisionStrategyError
from batchkit_tasks.flow_run.suspension import patiently
from batchkit_tasks.plans.naming import is_automatic, resolve_output

T = TypeVar("T")

RUN_LABEL: Final = "batchkit.run"
"""Label of a flow run: the URL of its run directory. The sweep finds it by this."""

OUTPUT_LABEL: Final = "batchkit.output"
"""Label of a flow run: its output, with the placeholders replaced once and for all."""

TAG: Final = "batchkit"
"""Tag of every flow run that has a run directory."""


@dataclass(slots=True)
class FlowRun:
    """The flow run this code runs in."""

    id: Any
    name: str
    day: datetime
    deployment_id: Any = None
    labels: dict[str, Any] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)

    @classmethod
    def current(cls) -> FlowRun:
        """Read it from Prefect's context."""
        context = FlowRunContext.get()
        assert context is not None, "batch-table runs as a flow"
        assert context.flow_run is not None, "batch-table runs as a flow"
        run = context.flow_run
        # When the run was due, which no wake-up and no retry moves.
        day = run.expected_start_time or datetime.now(UTC)
        return cls(
            run.id, run.name, day, run.deployment_id, dict(run.labels), list(run.tags)
        )

    def label(self, name: str) -> str | None:
        """A label of the run, as it was when this process began or since."""
        value = self.labels.get(name)
        return None if value is None else str(value)

    def remember(self, name: str, value: str) -> None:
        """Label the run, so that every later process of it knows."""
        _ask_server(lambda c: c.update_flow_run_labels(self.id, {name: value}))
        self.labels[name] = value

    def belongs_to(self, run_url: str) -> None:
        """Remember the run directory, and be found by the sweep from now on."""
        self.remember(RUN_LABEL, run_url)
        if TAG not in self.tags:
            self.tags = [*self.tags, TAG]
            _ask_server(lambda c: c.update_flow_run(self.id, tags=self.tags))

    def output(self, pattern: str, source: str) -> str:
        """The output with its placeholders replaced: once per run, never anew."""
        resolved = self.label(OUTPUT_LABEL)
        if resolved is None:
            day, run = self.day.date(), str(self.id)[:8]
            resolved = resolve_output(pattern, source=source, day=day, run=run)
            self.remember(OUTPUT_LABEL, resolved)
        return resolved

    def rename(self, name: str) -> None:
        """Give the run a telling name, unless a person chose one."""
        if is_automatic(self.name):
            _ask_server(lambda c: c.update_flow_run(self.id, name=name))
            self.name = name

    def refuse_cancel_new(self) -> None:
        """Refuse a deployment under which waiting runs are canceled as they wake up.

        Raises:
            CollisionStrategyError: Its collision strategy is CANCEL_NEW.
        """
        if self.deployment_id is None:
            return
        deployment = _ask_server(lambda c: c.read_deployment(self.deployment_id))
        if cancels_waiting_runs(deployment):
            raise CollisionStrategyError(deployment.name)


def _ask_server(call: Callable[[SyncPrefectClient], T]) -> T:
    with get_client(sync_client=True) as client:
        return patiently(lambda: call(client))


def cancels_waiting_runs(deployment: Any) -> bool:
    """Whether a deployment's runs are canceled when they wake up and find no slot."""
    options = deployment.concurrency_options
    return bool(options and options.collision_strategy == "CANCEL_NEW")
