"""A run as a Prefect flow run: what the flow `batch-table` does with its parameters."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
from prefect.logging import get_run_logger

from batchkit_tasks import suspension
from batchkit_tasks.credentials import AnthropicCredentials
from batchkit_tasks.naming import is_automatic, resolve_output, run_name
from batchkit_tasks.parameters import Advanced, Answer, Job
from batchkit_tasks.polling import Look
from batchkit_tasks.records import Round

RUN_LABEL: Final = "batchkit.run"
"""Label of a flow run: the URL of its run directory. The sweep finds it by this."""

OUTPUT_LABEL: Final = "batchkit.output"
"""Label of a flow run: its output, with the placeholders replaced once and for all."""


def run_as_flow(
    *,
    source: str,
    prompt: str,
    credentials: AnthropicCredentials,
    output: str,
    model: str,
    answer: Answer,
    sample_rows: int,
    budget_usd: float,
    dry_run: bool,
    advanced: Advanced,
) -> dict[str, Any]:
    """Run a job inside the current flow run.

    Returns:
        The run summary, JSON-able.

    Raises:
        BatchkitError: As `pipeline.run_to_end`.
    """
    flow_run = FlowRun.current()
    job = Job(
        source=source,
        prompt=prompt,
        output=flow_run.output(output, source),
        model=model,
        answer=answer,
        sample_rows=sample_rows,
        budget_usd=budget_usd,
        dry_run=dry_run,
        advanced=advanced,
    )
    from batchkit_tasks import pipeline, tasks

    run_url = flow_run.label(RUN_LABEL)
    if run_url is None:
        run_url = tasks.stage_input(job, flow_run_id=str(flow_run.id))
        flow_run.remember(RUN_LABEL, run_url)
    host = FlowHost(flow_run=flow_run, steps=tasks)
    return pipeline.run_to_end(run_url, credentials, host).as_dict()


@dataclass(slots=True)
class FlowRun:
    """The flow run this code runs in."""

    id: Any
    name: str
    day: datetime
    labels: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def current(cls) -> FlowRun:
        """Read it from Prefect's context."""
        context = FlowRunContext.get()
        assert context is not None, "batch-table runs as a flow"
        assert context.flow_run is not None, "batch-table runs as a flow"
        run = context.flow_run
        # When the run was due, which no wake-up and no retry moves.
        day = run.expected_start_time or datetime.now(UTC)
        return cls(run.id, run.name, day, dict(run.labels))

    def label(self, name: str) -> str | None:
        """A label of the run, as it was when this process began or since."""
        value = self.labels.get(name)
        return None if value is None else str(value)

    def remember(self, name: str, value: str) -> None:
        """Label the run, so that every later process of it knows."""
        with get_client(sync_client=True) as client:
            client.update_flow_run_labels(self.id, {name: value})
        self.labels[name] = value

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
            with get_client(sync_client=True) as client:
                client.update_flow_run(self.id, name=name)
            self.name = name


@dataclass(slots=True)
class FlowHost:
    """Wait as a flow run does: give the process back where Prefect can wake the run."""

    flow_run: FlowRun
    steps: Any
    holds_process: bool = field(default_factory=lambda: not suspension.can_suspend())
    _said_that_it_holds: bool = False

    def wait(self, until: datetime, message: str) -> None:
        """Suspend until then, or sleep where the run cannot be suspended."""
        self.log(message)
        if not self.holds_process:
            suspension.suspend_until(until, message)
        import time

        time.sleep(max(0.0, (until - datetime.now(UTC)).total_seconds()))

    def wait_for_person(self, message: str) -> None:
        """Suspend until a person resumes; do nothing where that cannot be."""
        if not self.holds_process:
            self.log(message)
            suspension.suspend_for_person(message)

    def log(self, message: str) -> None:
        """Write to the flow run's log."""
        get_run_logger().info(message)

    def planned(self, round_: Round, rows: int) -> None:
        """Say what is sent, and how this run will wait."""
        source = Job.model_validate  # placeholder for the report
        del source
        sent = sum(chunk.requests for chunk in round_.chunks)
        self.log(
            f"{sent:,} of {rows:,} rows go to Anthropic in {len(round_.chunks):,} "
            "message batches."
        )
        if self.holds_process and not self._said_that_it_holds:
            self._said_that_it_holds = True
            self.log(
                "This run has no deployment, so it waits in its process; a deployed run "
                "gives its process back."
            )

    def looked(self, look: Look) -> None:
        """Nothing to show between the lines of the log."""

    def collected(self, chunk: int, rows: int) -> None:
        """The log has a line for it."""


__all__ = ["FlowHost", "FlowRun", "run_as_flow", "run_name"]
