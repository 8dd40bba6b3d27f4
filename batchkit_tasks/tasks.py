"""The steps as Prefect tasks, for the flows here and for people who write their own.

Tasks get names and small values, never rows: the run's URL, a chunk's number, the
credentials block. So any of them can run in any process. Prefect's caching, results
and retries are off: the run directory knows what is done, and a create that failed is
judged, never repeated.

The steps are imported when a task runs: a run that wakes up only to look at its
batches needs neither Arrow nor pandas.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger
from prefect.runtime import task_run

from batchkit_tasks.batch_numbers import batch_name
from batchkit_tasks.errors import BatchkitError
from batchkit_tasks.flow_run import events
from batchkit_tasks.run_dir import RunDir

if TYPE_CHECKING:
    from batchkit_tasks.credentials import AnthropicCredentials
    from batchkit_tasks.parameters import Job
    from batchkit_tasks.plans.estimating import Estimate
    from batchkit_tasks.steps import Sent
    from batchkit_tasks.steps.collecting import CollectedPart
    from batchkit_tasks.summary import RunSummary
    from batchkit_tasks.waiting.polling import Look

_OURS: dict[str, Any] = {"cache_policy": NO_CACHE, "persist_result": False}


@contextmanager
def _said_plainly() -> Generator[None]:
    """Log what is wrong in one line, before Prefect does with three tracebacks."""
    try:
        yield
    except BatchkitError as error:
        get_run_logger().error(str(error))
        raise


def _file_name(url: str) -> str:
    return url.rstrip("/").rpartition("/")[2]


def _named(verb: str) -> Any:
    """Name a task run after the source or the chunk it works on."""

    def name() -> str:
        given = task_run.get_parameters()
        if "job" in given:
            return f"{verb} {_file_name(given['job'].source)}"
        return f"{verb} {batch_name(given['chunk'])} of {_batches(given['run']):,}"

    return name


def _batches(run: str) -> int:
    """How many batches a run has by now."""
    return sum(len(round_.chunks) for round_ in RunDir(run).rounds())


@task(task_run_name=_named("read"), **_OURS)
def stage_input(job: Job, *, flow_run_id: str | None = None) -> str:
    """Find or create the run directory of a job, with its rows readable by position.

    Args:
        flow_run_id: The flow run that asks; tells runs apart with `reuse="nothing"`.

    Returns:
        URL of the run directory; the same for the same job over the same table.

    Raises:
        InputError: Something about the source, prompt, answer or output cannot work.
            Nothing was sent.
    """
    from batchkit_tasks import steps

    with _said_plainly():
        return steps.stage_input(job, flow_run_id=flow_run_id)


@task(task_run_name="cut into batches", **_OURS)
def plan_chunks(run: str) -> list[int]:
    """Cut the table into the chunks of the first round of message batches.

    Returns:
        The chunks' numbers.

    Raises:
        SourceChangedError: The source is not the table that the run was opened for.
    """
    from batchkit_tasks import steps

    return steps.plan_chunks(run)


@task(task_run_name="estimate cost", **_OURS)
def estimate_cost(run: str, credentials: AnthropicCredentials) -> Estimate:
    """Estimate what a planned run will cost; the API counts the tokens of a sample.

    Counting is free of charge. Where the API cannot say, bytes are divided. Safe to call
    again: the first estimate is kept.

    Raises:
        KeyRefusedError: The API does not accept the key. Nothing was sent.
    """
    from batchkit_tasks import steps

    with _said_plainly():
        return steps.estimate_cost(run, credentials)


@task(task_run_name=_named("dry run of"), **_OURS)
def dry_run(job: Job, credentials: AnthropicCredentials) -> RunSummary:
    """Say what a run would send and cost; nothing is sent or left behind.

    Raises:
        InputError: Something about the source, prompt, answer or output cannot work.
        KeyRefusedError: The API does not accept the key.
    """
    from batchkit_tasks import steps

    with _said_plainly():
        return steps.dry_run(job, credentials)


@task(task_run_name="look for rows to send again", **_OURS)
def plan_rerun(run: str) -> list[int]:
    """Cut the failed rows that are worth another attempt into new chunks.

    Returns:
        The new chunks' numbers; none if no row is to be sent again.

    Raises:
        CreditExhaustedError: Rows were refused because the credit is used up.
    """
    from batchkit_tasks import steps

    return steps.plan_rerun(run)


@task(task_run_name=_named("submit batch"), **_OURS)
def submit_chunk(run: str, chunk: int, credentials: AnthropicCredentials) -> Sent:
    """Create the message batch of a chunk, exactly once.

    Short waits (a busy API, a create whose answer was lost) are slept through. Safe to
    call again: a chunk that has a batch gets no second one.

    Returns:
        The batch's id, or when to call again.

    Raises:
        RefusedError: The API said no; nothing was created for this chunk.
        SourceChangedError: The table is not the one that was planned.
    """
    from batchkit_tasks import steps

    sent = steps.submit_chunk(run, chunk, credentials)
    if sent.batch_id is not None:
        events.batch_submitted(run, chunk, sent.batch_id)
    return sent


@task(task_run_name="wait for batches", **_OURS)
def poll_batches(
    run: str, credentials: AnthropicCredentials, *, hold: bool = False, **options: Any
) -> Look:
    """Look at all open batches of the run; with `hold`, until one has ended.

    Args:
        hold: Wait in this process, looking at growing intervals.
        options: As `looking.poll_batches` takes them.

    Raises:
        KeyRefusedError: The key cannot read the batches. They go on.
        PollingError: The API does not know a batch of ours.
    """
    from batchkit_tasks.waiting import looking

    look = looking.poll_batches(run, credentials, hold=hold, **options)
    if look.ended:
        for chunk, record in looking.open_batches(RunDir(run)).items():
            if chunk in look.ended:
                events.batch_ended(run, chunk, record.batch_id)
    return look


@task(task_run_name=_named("collect batch"), **_OURS)
def collect_batch(
    run: str, chunk: int, credentials: AnthropicCredentials
) -> CollectedPart | None:
    """Fetch the results of a chunk's ended batch into a part of the run directory.

    Safe to call again. Rows without a line, after some patience, become `missing`;
    results that the API has deleted make all rows `missing`, with that reason.

    Returns:
        Counts; None if the batch turned out not to be ours (its chunk is submitted, or
        looked for, again by `submit_chunk`).

    Raises:
        ResultsUnreadableError: The results could not be read to the end; they stay.
    """
    from batchkit_tasks import steps

    part = steps.collect_batch(run, chunk, credentials)
    if part is not None:
        events.batch_collected(run, part)
    return part


@task(task_run_name="write output", **_OURS)
def write_output(run: str, absent_status: str = "", reason: str = "") -> RunSummary:
    """Join the answers to their rows and write the output table.

    Safe to call again.

    Args:
        absent_status: What rows without results get; by default such a row is an error.
        reason: Why they have none.

    Raises:
        RowsLostError: A row has neither an answer nor a reason. Nothing was written.
    """
    from batchkit_tasks import steps

    summary = steps.write_output(run, absent_status, reason)
    events.run_written(summary)
    return summary


@task(task_run_name="cancel batches", **_OURS)
def cancel_batches(run: str, credentials: AnthropicCredentials) -> list[str]:
    """Ask the API to cancel every batch of the run that may still be running.

    What has finished by then keeps its answer; canceled requests are not billed. Safe
    to call again.

    Returns:
        The ids of the batches that are canceling now.
    """
    from batchkit_tasks import steps

    canceling = steps.cancel_batches(run, credentials)
    for batch_id in canceling:
        events.batch_canceled(run, batch_id)
    return canceling
