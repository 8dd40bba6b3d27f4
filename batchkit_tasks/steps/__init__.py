"""The steps of a run, each by names alone: `tasks` makes Prefect tasks of them.

Every step begins by asking the run directory whether its work is done, so calling it
again, from any process and at any time, is safe.

Here too: what the steps do. That a batch is bought once is the work of `sending` and
`reconciling`.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from batchkit_tasks import patience
from batchkit_tasks.api import Api
from batchkit_tasks.engine import Run
from batchkit_tasks.errors import ForeignBatchError, ResultsGoneError
from batchkit_tasks.parameters import Job
from batchkit_tasks.parts.files import write_part_without_answers
from batchkit_tasks.plans.estimating import Estimate
from batchkit_tasks.plans.money import estimate_once
from batchkit_tasks.plans.planning import open_run, plan_first_round
from batchkit_tasks.records import Submitted
from batchkit_tasks.steps import dry_runs
from batchkit_tasks.steps.canceling import cancel_batches
from batchkit_tasks.steps.collecting import CollectedPart, collect_chunk
from batchkit_tasks.steps.reconciling import NotYet
from batchkit_tasks.steps.rerun import plan_next_round
from batchkit_tasks.steps.sending import HALVED, Split, send_chunk
from batchkit_tasks.steps.writing import write_run
from batchkit_tasks.summary import RunSummary
from batchkit_tasks.waiting.looking import poll_batches

if TYPE_CHECKING:
    from batchkit_tasks.keys import Key

__all__ = [
    "Sent",
    "cancel_batches",
    "collect_batch",
    "plan_chunks",
    "plan_rerun",
    "poll_batches",
    "stage_input",
    "submit_chunk",
    "write_output",
]


class Sent(msgspec.Struct, frozen=True):
    """What became of sending a chunk."""

    chunk: int
    batch_id: str | None
    """Its message batch; None if there is none yet, or the chunk was split."""
    again_at: datetime | None = None
    """When to call again, if there is no batch yet."""
    why: str = ""
    busy: bool = False
    """Whether the API takes no more just now: other chunks should wait as well."""


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
    return open_run(job, flow_run_id=flow_run_id)


def plan_chunks(run: str) -> list[int]:
    """Cut the table into the chunks of the first round of message batches.

    Returns:
        The chunks' numbers.

    Raises:
        SourceChangedError: The source is not the table that the run was opened for.
    """
    return [chunk.number for chunk in plan_first_round(Run(run)).chunks]


def estimate_cost(run: str, credentials: Key) -> Estimate:
    """Estimate what a planned run will cost; the API counts the tokens of a sample.

    Counting is free of charge. Where the API cannot say, bytes are divided. Safe to call
    again: the first estimate is kept.

    Raises:
        KeyRefusedError: The API does not accept the key. Nothing was sent.
    """
    with Api(credentials) as api:
        return estimate_once(Run(run), api)


def dry_run(job: Job, credentials: Key) -> RunSummary:
    """Say what a run would send and cost; nothing is sent or left behind.

    Raises:
        InputError: Something about the source, prompt, answer or output cannot work.
        KeyRefusedError: The API does not accept the key.
    """
    return dry_runs.dry_run(job, credentials)


def plan_rerun(run: str) -> list[int]:
    """Cut the failed rows that are worth another attempt into new chunks.

    Returns:
        The new chunks' numbers; none if no row is to be sent again.

    Raises:
        CreditExhaustedError: Rows were refused because the credit is used up.
    """
    planned = plan_next_round(Run(run))
    return [chunk.number for chunk in planned.chunks] if planned else []


def submit_chunk(run: str, chunk: int, credentials: Key) -> Sent:
    """Create the message batch of a chunk, exactly once.

    Short waits (a busy API, a create whose answer was lost) are slept through. Safe to
    call again: a chunk that has a batch gets no second one.

    Returns:
        The batch's id, or when to call again.

    Raises:
        RefusedError: The API said no; nothing was created for this chunk.
        SourceChangedError: The table is not the one that was planned.
    """
    opened = Run(run)
    if opened.dir.is_split(chunk):  # by another process, since the caller looked
        return Sent(chunk, None, why=HALVED)
    wanted = opened.chunk(chunk)
    limit = datetime.now(UTC) + patience.held_in_process()
    with Api(credentials) as api:
        while True:
            match send_chunk(opened, wanted, api):
                case Submitted(batch_id=batch_id):
                    return Sent(chunk, batch_id)
                case Split(why):
                    return Sent(chunk, None, why=why)
                case NotYet(at, why, busy):
                    if at > limit:
                        return Sent(chunk, None, again_at=at, why=why, busy=busy)
                    _sleep_until(at)


def collect_batch(run: str, chunk: int, credentials: Key) -> CollectedPart | None:
    """Fetch the results of a chunk's ended batch into a part of the run directory.

    Safe to call again. Rows without a line, after some patience, become `missing`;
    results that the API has deleted make all rows `missing`, with that reason.

    Returns:
        Counts; None if the batch turned out not to be ours (its chunk is submitted, or
        looked for, again by `submit_chunk`).

    Raises:
        ResultsUnreadableError: The results could not be read to the end; they stay.
    """
    opened = Run(run)
    wanted = opened.chunk(chunk)
    with Api(credentials) as api:
        try:
            return collect_chunk(opened, wanted, api)
        except ForeignBatchError:
            return None
        except ResultsGoneError as gone:
            write_part_without_answers(
                opened, wanted, "missing", str(gone), "results_gone"
            )
            return CollectedPart(
                chunk=chunk,
                batch_id=gone.batch_id,
                rows=wanted.requests,
                by_status={"missing": wanted.requests},
                lines=0,
                foreign=0,
                duplicates=0,
                missing=wanted.requests,
                cost_usd=None,
            )


def write_output(run: str, absent_status: str = "", reason: str = "") -> RunSummary:
    """Join the answers to their rows and write the output table.

    Safe to call again.

    Args:
        absent_status: What rows without results get; by default such a row is an error.
        reason: Why they have none.

    Raises:
        RowsLostError: A row has neither an answer nor a reason. Nothing was written.
    """
    return write_run(Run(run), absent_status, reason)


def _sleep_until(moment: datetime) -> None:
    time.sleep(max(0.0, (moment - datetime.now(UTC)).total_seconds()))
