"""From a run directory to the output table and the summary."""

from __future__ import annotations

from batchkit_tasks.engine import Run
from batchkit_tasks.ground import storage
from batchkit_tasks.output.table import failed_rows_url, write_table
from batchkit_tasks.parts.accounts import Accounts, BatchAccount, accounts_of
from batchkit_tasks.parts.joined import Parts
from batchkit_tasks.parts.output_counts import OutputCounts
from batchkit_tasks.parts.run_parts import absent_chunks, fates_of, parts_of
from batchkit_tasks.plans.money import kept_estimate, shown
from batchkit_tasks.plans.reading import give_back
from batchkit_tasks.summary import BatchCost, RunSummary, in_words


def write_run(run: Run, absent_status: str = "", reason: str = "") -> RunSummary:
    """Write the output of a run and sum it up.

    Args:
        absent_status: What rows of chunks without results get; if empty, such a row is
            an error. With it, the run is not over: no `summary.json` is left.
        reason: Why they have none.

    Raises:
        RowsLostError: A row has neither an answer nor a reason. Nothing was written.
        SourceChangedError: The source is not what it was.
    """
    run.check_source()
    give_back(run)
    found = parts_of(run)
    absent = absent_chunks(run, absent_status, reason) if absent_status else ()
    parts = Parts(found, run.answer.fields, absent)
    accounts = accounts_of(found, run.prices)
    counts = write_table(
        rows=run.rows(),
        fates=fates_of(run),
        parts=parts,
        to_url=run.job.output,
        earlier=accounts.earlier,
    )
    summary = sum_up(run, counts, accounts)
    if not absent_status:
        run.dir.write_summary(summary.as_dict())
    return summary


def sum_up(run: Run, counts: OutputCounts, accounts: Accounts) -> RunSummary:
    """Put a run in numbers."""
    rounds = run.rounds()
    first = rounds[0]
    by_status = dict(counts.by_status)
    tokens = accounts.tokens
    estimate = kept_estimate(run.dir)
    return RunSummary(
        output=run.job.output,
        failed_output=failed_rows_url(run.job.output)
        if counts.rows > counts.succeeded
        else None,
        run=run.url,
        rows=counts.rows,
        sent=counts.sent - first.reused,
        by_status=by_status,
        batches=tuple(run.dir.batch_ids()),
        rounds=len(rounds),
        input_tokens=tokens["input_tokens"],
        output_tokens=tokens["output_tokens"],
        cost_usd=accounts.cost_usd,
        message=in_words(
            by_status,
            accounts.cost_usd,
            equal=first.duplicates,
            reused=first.reused,
        ),
        requests=sum(chunk.requests for chunk in first.chunks),
        duplicates=first.duplicates,
        duplicates_saved_usd=None if accounts.unpriced else counts.shared_usd,
        reused=first.reused,
        unpriced=accounts.unpriced,
        batch_costs=tuple(map(_batch_cost, accounts.batches)),
        other_tiers=accounts.other_tiers,
        cache_hit_rate=accounts.cache_hit_rate,
        cache_saved_usd=accounts.saved_by_cache,
        estimate=shown(estimate) if estimate else {},
    )


def _batch_cost(batch: BatchAccount) -> BatchCost:
    tokens = batch.tokens
    return BatchCost(
        batch_id=batch.batch_id,
        attempt=batch.attempt,
        rows=batch.rows,
        succeeded=batch.succeeded,
        input_tokens=tokens["input_tokens"],
        output_tokens=tokens["output_tokens"],
        cache_creation_tokens=tokens["cache_creation_5m_tokens"]
        + tokens["cache_creation_1h_tokens"],
        cache_read_tokens=tokens["cache_read_tokens"],
        cost_usd=batch.cost_usd,
    )


def is_written(run: Run) -> bool:
    """Whether the run is over and its output still there."""
    return run.dir.summary() is not None and storage.exists(run.job.output)
