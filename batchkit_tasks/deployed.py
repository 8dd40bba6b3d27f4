"""A run as a Prefect flow run: what the flow `batch-table` does with its parameters.

Every wake-up comes through here, so this module loads nothing heavy: a run that only
waits looks at its batches and gives its process back before Arrow is imported.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from prefect.logging import get_run_logger

from batchkit_tasks import looking, suspension, tasks
from batchkit_tasks.credentials import AnthropicCredentials
from batchkit_tasks.flow_run import RUN_LABEL, FlowRun
from batchkit_tasks.parameters import Advanced, Answer, Job
from batchkit_tasks.stopping import go_on

if TYPE_CHECKING:
    from collections.abc import Iterable

    from batchkit_tasks.money import Question
    from batchkit_tasks.polling import Look
    from batchkit_tasks.records import Round


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
        CollisionStrategyError: The deployment would cancel runs that wait.
        BatchkitError: As `pipeline.run_to_end`.
    """
    flow_run = FlowRun.current()
    run_url = flow_run.label(RUN_LABEL)
    host = FlowHost(flow_run, tasks, is_first_process=run_url is None)
    if run_url is not None:
        ended = host.look_first(run_url, credentials)
        return _run_to_end(run_url, credentials, host, ended)
    flow_run.refuse_cancel_new()
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
        output_pattern=output,
    )
    if dry_run:
        return _dry_run(job, credentials, host)
    run_url = tasks.stage_input(job, flow_run_id=str(flow_run.id))
    flow_run.belongs_to(run_url)
    return _run_to_end(run_url, credentials, host)


def _dry_run(
    job: Job, credentials: AnthropicCredentials, host: FlowHost
) -> dict[str, Any]:
    from batchkit_tasks.dry_run import lines

    summary = tasks.dry_run(job, credentials)
    for line in lines(summary):
        host.log(line)
    return summary.as_dict()


def _run_to_end(
    run_url: str,
    credentials: AnthropicCredentials,
    host: FlowHost,
    ended: Iterable[int] = (),
) -> dict[str, Any]:
    go_on(run_url)
    from batchkit_tasks import pipeline

    return pipeline.run_to_end(run_url, credentials, host, ended).as_dict()


@dataclass(slots=True)
class FlowHost:
    """Wait as a flow run does: give the process back where Prefect can wake the run."""

    flow_run: FlowRun
    steps: Any
    is_first_process: bool = True
    """Whether this run has not said yet what it is about to do."""
    holds_process: bool = field(default_factory=lambda: not suspension.can_suspend())

    def look_first(
        self, run_url: str, credentials: AnthropicCredentials
    ) -> tuple[int, ...]:
        """After waking up, look at the batches; if none has ended, wait again at once.

        Returns:
            The chunks whose batch has ended.

        Raises:
            prefect.exceptions.Pause: There is nothing to do but wait.
        """
        if self.holds_process or not looking.only_waits(run_url):
            return ()
        look = self.steps.poll_batches(run_url, credentials)
        if not look.ended:
            # What has not changed since the last look is no news: the state says it.
            if look.unanswered:
                get_run_logger().warning(look.message)
            suspension.suspend_until(look.next_look_at, look.message)
        return look.ended

    def wait(self, until: datetime, message: str) -> None:
        """Suspend until then, or sleep where the run cannot be suspended."""
        self.log(message)
        if not self.holds_process:
            suspension.suspend_until(until, message)
        time.sleep(max(0.0, (until - datetime.now(UTC)).total_seconds()))

    def wait_for_person(self, message: str) -> None:
        """Suspend until a person resumes; do nothing where that cannot be."""
        if not self.holds_process:
            self.log(message)
            suspension.suspend_for_person(message)

    def ask(self, run_url: str, question: Question) -> bool:
        """Ask about the budget in the form of *Resume*; nobody is asked elsewhere."""
        from batchkit_tasks.asking import ask_about_budget

        return not self.holds_process and ask_about_budget(run_url, question)

    def log(self, message: str) -> None:
        """Write to the flow run's log."""
        get_run_logger().info(message)

    def planned(self, round_: Round, rows: int) -> None:
        """Say once what is sent, and how this run will wait."""
        if not self.is_first_process:
            return
        self.is_first_process = False
        sent = sum(chunk.requests for chunk in round_.chunks)
        self.log(
            f"{sent:,} of {rows:,} rows go to Anthropic in {len(round_.chunks):,} "
            "message batches."
        )
        if self.holds_process:
            self.log(
                "This run has no deployment of its own, so it waits in its process; a "
                "deployed run gives its process back."
            )

    def looked(self, look: Look) -> None:
        """Nothing to show between the lines of the log."""

    def collected(self, chunk: int, rows: int) -> None:
        """The log has a line for it."""
