"""A run as a Prefect flow run: what the flow `batch-table` does with its parameters.

Every wake-up comes through here, so this module loads nothing heavy: a run that only
waits looks at its batches and gives its process back before Arrow is imported.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from prefect.exceptions import Pause, TerminationSignal
from prefect.logging import get_run_logger
from prefect.states import Completed

from batchkit_tasks import tasks
from batchkit_tasks.credentials import AnthropicCredentials
from batchkit_tasks.flow_run import RUN_LABEL, FlowRun, events, suspension
from batchkit_tasks.flow_run.orphans import outlive_the_worker
from batchkit_tasks.ground import storage
from batchkit_tasks.parameters import Advanced, Answer, Job
from batchkit_tasks.plans.naming import run_name
from batchkit_tasks.report.artifact import LiveReport
from batchkit_tasks.run_dir import RunDir
from batchkit_tasks.run_dir.stopping import go_on
from batchkit_tasks.waiting import looking

if TYPE_CHECKING:
    from collections.abc import Iterable

    from batchkit_tasks.plans.money import Question
    from batchkit_tasks.records import Round
    from batchkit_tasks.waiting.polling import Look


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
    outlive_the_worker()
    flow_run = FlowRun.current()
    run_url = flow_run.label(RUN_LABEL)
    host = FlowHost(flow_run, tasks, is_first_process=run_url is None)
    if run_url is not None:
        host.report = LiveReport.of(flow_run, run_url)
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
        host.report = LiveReport.of(flow_run, "")
        return _dry_run(job, credentials, host)
    run_url = tasks.stage_input(job, flow_run_id=str(flow_run.id))
    # A copy: Prefect draws an arrow from the task that gave an object to each that takes
    # it, and a fan of arrows would hide the names of the tasks.
    run_url = run_url.encode().decode()
    flow_run.belongs_to(run_url)
    host.report = LiveReport.of(flow_run, run_url)
    return _run_to_end(run_url, credentials, host)


def _dry_run(
    job: Job, credentials: AnthropicCredentials, host: FlowHost
) -> dict[str, Any]:
    from batchkit_tasks.steps.dry_runs import lines

    summary = tasks.dry_run(job, credentials)
    host.flow_run.rename(run_name(job.source, summary.rows, job.model, dry_run=True))
    for line in lines(summary):
        host.log(line)
    if host.report is not None:
        host.report.tried_out(summary)
    return cast(Any, Completed(message=summary.message, data=summary.as_dict()))


def _run_to_end(
    run_url: str,
    credentials: AnthropicCredentials,
    host: FlowHost,
    ended: Iterable[int] = (),
) -> dict[str, Any]:
    go_on(run_url)
    from batchkit_tasks import pipeline

    assert host.report is not None
    try:
        summary = host.report.to_the_end(
            lambda: pipeline.run_to_end(run_url, credentials, host, ended)
        )
    except TerminationSignal:
        # The hook does it too, but only once this process is gone, which may take half a
        # minute if an upload is under way.
        from batchkit_tasks.sweeping import cancel_batches_of

        cancel_batches_of(host.flow_run.id, host.log)
        raise
    output = storage.full_url(*storage.filesystem(summary.output))
    host.log(f"Every row is in {output}.")  # a relative path depends on the worker
    # As a state, so that the run's page says what it came to; callers get the data.
    return cast(Any, Completed(message=summary.message, data=summary.as_dict()))


@dataclass(slots=True)
class FlowHost:
    """Wait as a flow run does: give the process back where Prefect can wake the run."""

    flow_run: FlowRun
    steps: Any
    is_first_process: bool = True
    """Whether this run has not said yet what it is about to do."""
    holds_process: bool = field(default_factory=lambda: not suspension.can_suspend())
    report: LiveReport | None = None
    """What the run's page shows, once there is a run directory."""

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
        if self.report is not None:
            self.report.looked(look, more_to_come=True)
        if not look.ended:
            # What has not changed since the last look is no news: the state says it.
            if look.unanswered:
                get_run_logger().warning(look.message)
            self._reported(look.next_look_at, look.message)
            suspension.suspend_until(look.next_look_at, look.message)
        return look.ended

    def wait(self, until: datetime, message: str) -> None:
        """Suspend until then, or sleep where the run cannot be suspended."""
        self.log(message)
        self._reported(until, message)
        if not self.holds_process:
            suspension.suspend_until(until, message)
        time.sleep(max(0.0, (until - datetime.now(UTC)).total_seconds()))

    def wait_for_person(self, message: str) -> None:
        """Suspend until a person resumes; do nothing where that cannot be."""
        if not self.holds_process:
            self.log(message)
            if self.report is not None:
                self.report.asking(message)
            suspension.suspend_for_person(message)

    def ask(self, run_url: str, question: Question) -> bool:
        """Ask about the budget in the form of *Resume*; nobody is asked elsewhere."""
        from batchkit_tasks.flow_run.asking import ask_about_budget, state_message

        if self.holds_process:
            return False
        try:
            return ask_about_budget(run_url, question)
        except Pause:  # the question is put, and nobody has answered yet
            self.log(
                f"{state_message(question)} (Resume is in the ⋮ menu of this page.)"
            )
            if self.report is not None:
                self.report.asking(state_message(question))
            events.budget_asked(run_url, question)
            raise

    def log(self, message: str) -> None:
        """Write to the flow run's log."""
        get_run_logger().info(message)

    def planned(self, round_: Round, rows: int) -> None:
        """Say once what is sent, and how this run will wait."""
        if self.report is not None:
            self.report.planned()
        self._name(rows)  # after a crash too: a name that was given is left alone
        if not self.is_first_process:
            return
        self.is_first_process = False
        self.log(
            "This run has no deployment of its own, so it waits in its process; a "
            "deployed run gives its process back."
            if self.holds_process
            else "While Anthropic works (usually under an hour, at most 24), this run "
            "gives its process back, and it wakes by itself. Progress and result: the "
            "report under Artifacts."
        )

    def looked(self, look: Look) -> None:
        """Show it in the report."""
        if self.report is not None:
            self.report.looked(look)

    def collected(self, chunk: int, rows: int) -> None:
        """Show it in the report; the log has a line for it."""
        if self.report is not None:
            self.report.progressed()

    def _reported(self, until: datetime, message: str) -> None:
        if self.report is not None:
            self.report.waiting(until, message)

    def _name(self, rows: int) -> None:
        """Give the flow run a name that says what it works on."""
        plan = RunDir(self.report.run_url).plan() if self.report else None
        if plan is not None:
            name = run_name(plan.source.url, rows, str(plan.job["model"]))
            self.flow_run.rename(name)
