"""What a run would send, and cost, without sending or leaving anything."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

import msgspec

from batchkit_tasks.api import Api
from batchkit_tasks.engine import Run
from batchkit_tasks.ground.amounts import dollars
from batchkit_tasks.parameters import Job
from batchkit_tasks.plans.estimating import Estimate, estimate_run
from batchkit_tasks.plans.money import in_words, shown
from batchkit_tasks.plans.planning import open_run, run_directory
from batchkit_tasks.summary import RunSummary

if TYPE_CHECKING:
    from batchkit_tasks.keys import Key


def estimate_job(job: Job, credentials: Key | None) -> Estimate:
    """Plan a job in a folder that is thrown away, and estimate it.

    Args:
        credentials: Counts the tokens of a sample; None: bytes are divided.

    Raises:
        InputError: Something about the source, prompt, answer or output cannot work.
        KeyRefusedError: The API does not accept the key.
    """
    with tempfile.TemporaryDirectory(prefix="batchkit-estimate-") as folder:
        run = Run(open_run(job, folder=folder))
        if credentials is None:
            return _noted(estimate_run(run, None), run)
        with Api(credentials) as api:
            return _noted(estimate_run(run, api), run)


def dry_run(job: Job, credentials: Key | None) -> RunSummary:
    """Say what a run would come to; nothing is sent, and nothing is left behind.

    Returns:
        A summary with `dry_run`, `estimate` and `prompts`; `by_status` has the rows that
        would not be sent.

    Raises:
        InputError: Something about the source, prompt, answer or output cannot work.
        KeyRefusedError: The API does not accept the key.
    """
    found = estimate_job(job, credentials)
    unsent = sum(found.unsent.values())
    return RunSummary(
        output=job.output,
        failed_output=None,
        run="",
        rows=found.requests + found.duplicates + found.reused + unsent,
        sent=0,
        by_status=found.unsent,
        batches=(),
        rounds=0,
        cost_usd=0.0,
        message=_message(found),
        dry_run=True,
        requests=found.requests,
        duplicates=found.duplicates,
        reused=found.reused,
        estimate=shown(found),
        prompts=found.prompts,
    )


def lines(summary: RunSummary) -> list[str]:
    """A dry run as lines of a log."""
    found = msgspec.convert(summary.estimate, Estimate)
    prompts = [f"Prompt {n}:\n{text}" for n, text in enumerate(summary.prompts, 1)]
    return [*prompts, *in_words(found), "This was a dry run: nothing was sent."]


def _message(found: Estimate) -> str:
    if found.batch_usd is None:
        price = f"at an unknown price ({found.model})"
    else:
        most = dollars(found.batch_usd_ceiling)
        price = f"for ~{dollars(found.batch_usd)}, at most {most}"
    return f"dry run: {found.requests:,} requests would be sent {price}"


def _noted(found: Estimate, run: Run) -> Estimate:
    """Say so if the job has been started before."""
    started = Run(run_directory(run.job, run.plan.source))
    plan = started.dir.plan()
    if plan is None or started.dir.summary() is not None:
        return found
    batches = len(started.dir.batch_ids())
    note = (
        f"This job was started on {plan.created_at:%d %b %Y %H:%M} UTC and is not over: "
        f"{batches:,} of its message batches were sent. Starting it again goes on there."
    )
    return msgspec.structs.replace(found, notes=(*found.notes, note))
