"""From a run directory to the output table and the summary."""

from __future__ import annotations

from batchkit_tasks import storage
from batchkit_tasks.engine import Run
from batchkit_tasks.output import failed_rows_url, write_table
from batchkit_tasks.parts import Absent, Part, Parts
from batchkit_tasks.records import Round, SourceFile, Submitted
from batchkit_tasks.sources import Rows
from batchkit_tasks.summary import RunSummary, in_words


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
    rounds = run.rounds()
    collected = run.dir.collected()
    parts = Parts(
        _parts(run, rounds, collected),
        run.answer.fields,
        _absent(rounds, collected, absent_status, reason) if absent_status else (),
    )
    fates = SourceFile(run.dir.rows_url, 0, "written", run.plan.rows)
    output = run.job.output
    counts = write_table(
        rows=run.rows(), fates=Rows((fates,)), parts=parts, to_url=output
    )
    by_status = dict(counts.by_status)
    cost = None if counts.unpriced else counts.cost_usd
    failed = counts.rows - counts.succeeded
    summary = RunSummary(
        output=output,
        failed_output=failed_rows_url(output) if failed else None,
        run=run.url,
        rows=counts.rows,
        sent=counts.sent,
        by_status=by_status,
        batches=tuple(run.dir.batch_ids()),
        rounds=len(rounds),
        input_tokens=counts.tokens["input_tokens"],
        output_tokens=counts.tokens["output_tokens"],
        cost_usd=cost,
        message=in_words(by_status, cost),
    )
    if not absent_status:
        run.dir.write_summary(summary.as_dict())
    return summary


def _parts(run: Run, rounds: list[Round], collected: set[int]) -> list[Part]:
    records = run.dir.latest_records()
    found: list[Part] = []
    for round_ in rounds:
        for chunk in round_.chunks:
            if chunk.number not in collected:
                continue
            record = records.get(chunk.number)
            sent = isinstance(record, Submitted)
            batch_id = record.batch_id if isinstance(record, Submitted) else ""
            nonce = (
                record.intent.nonce if isinstance(record, Submitted) and sent else ""
            )
            url = run.dir.part_url(chunk.number)
            found.append(Part(chunk, round_.number, url, batch_id, nonce))
    return found


def _absent(
    rounds: list[Round], collected: set[int], status: str, reason: str
) -> list[Absent]:
    """Chunks without results; rows that have an answer from before keep it."""
    return [
        Absent(chunk, status, reason)
        for round_ in rounds
        for chunk in round_.chunks
        if chunk.number not in collected
    ]


def is_written(run: Run) -> bool:
    """Whether the run is over and its output still there."""
    return run.dir.summary() is not None and storage.exists(run.job.output)
