"""The order of the steps: plan, submit, wait, collect, send again, write.

One loop asks the run directory what is there and does what is missing. Starting from
the top is the normal path: a run that was resumed, retried, crashed or triggered again
executes the same lines and finds its work done.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from batchkit_tasks.engine import Run
from batchkit_tasks.errors import CreditExhaustedError
from batchkit_tasks.ground.memory import release_unused, share_heaps
from batchkit_tasks.hosts import Host
from batchkit_tasks.plans.money import in_words, kept_estimate
from batchkit_tasks.running.round_work import RoundWork
from batchkit_tasks.running.verdict import judge
from batchkit_tasks.summary import RunSummary, oddities

if TYPE_CHECKING:
    from batchkit_tasks.keys import Key


def run_to_end(
    run_url: str,
    credentials: Key,
    host: Host,
    ended: Iterable[int] = (),
) -> RunSummary:
    """Bring a run that was opened to its end, from wherever it stands.

    Args:
        ended: Chunks whose batch was just seen to have ended.

    Returns:
        The summary; the output is written.

    Raises:
        RunFailedError: Too many rows did not succeed; everything is written.
        BudgetError: Going on could cost more than the budget; what came back by then
            is written.
        MostRowsInvalidError: The first batch was mostly invalid; the rest is not sent.
        GaveUpWaitingError: Batches did not end in time; what there is, is written.
        BatchkitError: Something stopped the run; starting it again goes on.
    """
    share_heaps()
    run = Run(run_url)
    if not run.rounds():
        host.steps.plan_chunks(run_url)
    if kept_estimate(run.dir) is None:
        for line in in_words(host.steps.estimate_cost(run_url, credentials)):
            host.log(line)
    release_unused()  # what planning took grows with the table
    while True:
        round_ = run.rounds()[-1]
        host.planned(round_, run.plan.rows)
        RoundWork(run, credentials, host, ended=set(ended)).work_through()
        ended = ()
        if not _plan_rerun(run, host):
            break
    release_unused()  # and what collecting took, with the batches
    summary: RunSummary = host.steps.write_output(run_url)
    host.log(summary.message)
    for line in oddities(summary):
        host.log(line)
    judge(summary, run.job.advanced.fail_above_percent)
    return summary


def _plan_rerun(run: Run, host: Host) -> bool:
    """Whether there is another round."""
    try:
        planned = host.steps.plan_rerun(run.url)
    except CreditExhaustedError as exhausted:
        host.wait_for_person(str(exhausted))
        raise
    if planned:
        rows = sum(chunk.requests for chunk in run.rounds()[-1].chunks)
        host.log(f"{rows:,} rows are sent again in {len(planned):,} message batches.")
    return bool(planned)
