"""Read the facts of a report from the run directory.

Each part is read once: what a report says about it is kept with the facts. Positions
tell which failed rows are under way again: those that a later round holds.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from msgspec.structs import replace

from batchkit_tasks.answers.formats import output_columns
from batchkit_tasks.batches import MessageBatch
from batchkit_tasks.engine import Run
from batchkit_tasks.ground import storage
from batchkit_tasks.ground.amounts import dollars
from batchkit_tasks.ground.arrow_compute import pc
from batchkit_tasks.parts.accounts import account_of
from batchkit_tasks.parts.joined import Part
from batchkit_tasks.parts.run_parts import parts_of
from batchkit_tasks.plans.money import kept_estimate
from batchkit_tasks.pricing import Prices, Usage
from batchkit_tasks.pricing.decisions import decisions
from batchkit_tasks.records import Chunk, ChunkRecord, Intended, Round, Submitted
from batchkit_tasks.report.text import code
from batchkit_tasks.report.values import (
    BatchLine,
    FailedKind,
    FailedRow,
    PartDigest,
    ReportFacts,
    add_up_kinds,
    rounded_tokens,
    seen,
)
from batchkit_tasks.steps.collecting import count_values

EXAMPLES = 3

_TOKENS = (
    "input_tokens",
    "output_tokens",
    "cache_creation_5m_tokens",
    "cache_creation_1h_tokens",
    "cache_read_tokens",
)
_COLUMNS = ["position", "status", "error_type", "error", "model", "cost_usd", *_TOKENS]


def read_facts(
    run: Run,
    known: ReportFacts | None = None,
    batches: Mapping[str, MessageBatch] | None = None,
) -> ReportFacts:
    """Bring the facts of a run up to date.

    Args:
        known: What was known before; parts in it are not read again.
        batches: By id, as the API has shown them.
    """
    facts = known or _first_facts(run)
    rounds = run.rounds()
    collected = run.dir.collected()
    digests = dict(facts.digests)
    new = collected - digests.keys()
    parts = {part.chunk.number: part for part in parts_of(run)} if new else {}
    for number in sorted(new):
        digests[number] = digest_part(run, parts[number])
    settled = {line.chunk for line in facts.lines if line.state == "collected"}
    records = run.dir.latest_records(without=settled)
    lines = _lines(rounds, records, digests, facts)
    first = rounds[0] if rounds else Round(number=1, chunks=())
    made = decisions(run.dir)
    return replace(
        facts,
        budget_usd=made[-1].budget_usd if made else facts.budget_usd,
        estimate=_estimate(run),
        unsent=dict(first.unsent),
        duplicates=first.duplicates,
        reused=first.reused,
        lines=tuple(seen(line, (batches or {}).get(line.batch_id)) for line in lines),
        digests=digests,
        kinds=tuple(_failed_for_good(rounds, digests)),
        resent=sum(chunk.requests for r in rounds[1:] for chunk in r.chunks),
    )


def _first_facts(run: Run) -> ReportFacts:
    job = run.job
    columns = output_columns([], job.answer)
    return ReportFacts(
        stage="sending",
        source=job.source,
        output=job.output,
        run=run.url,
        model=job.model,
        max_tokens=job.advanced.max_tokens,
        answer_columns=tuple(n for n in map(str, columns) if not n.startswith("_")),
        id_column=job.advanced.id_column,
        budget_usd=job.budget_usd,
        rows=run.plan.rows,
    )


def _estimate(run: Run) -> str:
    """What was expected before anything was sent."""
    estimate = kept_estimate(run.dir)
    if estimate is None:
        return ""
    if estimate.batch_usd is None:
        return f"not known: there is no price for {code(estimate.model)}"
    return (
        f"~{dollars(estimate.batch_usd)}, at most about "
        f"{dollars(estimate.batch_usd_ceiling)}"
    )


# --------------------------------------------------------------------- batches


def _lines(
    rounds: Sequence[Round],
    records: dict[int, ChunkRecord],
    digests: dict[int, PartDigest],
    facts: ReportFacts,
) -> list[BatchLine]:
    before = {line.chunk: line for line in facts.lines}
    lines: list[BatchLine] = []
    for round_ in rounds:
        for chunk in round_.chunks:
            number = chunk.number
            line = _line(round_, chunk, records.get(number), before.get(number))
            digest = digests.get(number)
            lines.append(_collected_line(line, digest) if digest else line)
    return lines


def _line(
    round_: Round, chunk: Chunk, record: ChunkRecord | None, before: BatchLine | None
) -> BatchLine:
    if before is not None and before.state == "collected":
        return before
    line = BatchLine(chunk=chunk.number, round=round_.number, rows=chunk.requests)
    if isinstance(record, Intended):
        return replace(line, state="unanswered")
    if not isinstance(record, Submitted):
        return line
    if before is not None and before.batch_id == record.batch_id:
        return before
    return replace(
        line,
        state="in_progress",
        batch_id=record.batch_id,
        created_at=record.created_at,
        expires_at=record.expires_at,
    )


def _collected_line(line: BatchLine, digest: PartDigest) -> BatchLine:
    failed: dict[str, int] = {}
    for kind in sorted(digest.failed, key=lambda kind: -kind.rows):
        failed[kind.status] = failed.get(kind.status, 0) + kind.rows
    return replace(
        line,
        state="collected",
        succeeded=digest.succeeded,
        failed=failed,
        cost_usd=None if digest.unpriced else digest.cost_usd,
    )


# --------------------------------------------------------------- rows that failed


def _failed_for_good(
    rounds: Sequence[Round], digests: dict[int, PartDigest]
) -> list[FailedKind]:
    """Failed rows that no later round holds. Of a batch, all rows of one kind are sent
    again or none, so that one example speaks for them."""
    found: list[FailedKind] = []
    for at, round_ in enumerate(rounds):
        later = _spans(c for r in rounds[at + 1 :] for c in r.chunks)
        for chunk in round_.chunks:
            digest = digests.get(chunk.number)
            kinds = digest.failed if digest else ()
            found += [k for k in kinds if not _is_within(later, k.examples)]
    return add_up_kinds(found, EXAMPLES)


def _spans(chunks: Iterable[Chunk]) -> list[tuple[int, int]]:
    return sorted(span for chunk in chunks for span in chunk.ranges)


def _is_within(spans: list[tuple[int, int]], examples: Sequence[FailedRow]) -> bool:
    if not spans or not examples:
        return False
    position = examples[0].position
    at = bisect_right(spans, position, key=lambda span: span[0]) - 1
    return at >= 0 and position < spans[at][1]


# ----------------------------------------------------------------------- parts


def digest_part(run: Run, collected: Part) -> PartDigest:
    """Sum up the results of one batch."""
    fs, path = storage.filesystem(collected.url)
    part = pq.read_table(path, filesystem=fs, columns=_COLUMNS)
    account = account_of(collected, run.prices)
    answered = part.filter(pc.greater(pc.fill_null(part["cost_usd"], 1.0), 0.0))
    answered = answered.filter(pc.is_valid(answered["output_tokens"]))
    return PartDigest(
        succeeded=account.succeeded,
        failed=tuple(_failed_kinds(run, part)),
        output_tokens=_lengths(answered["output_tokens"]),
        tokens=account.tokens,
        cost_usd=account.known_usd,
        unpriced=account.unpriced,
        **_other_prices(answered, run.prices),
    )


def _failed_kinds(run: Run, part: pa.Table) -> list[FailedKind]:
    failed = part.filter(pc.not_equal(part["status"], "succeeded"))
    kinds: dict[tuple[str, str], list[dict[str, Any]]] = {}
    columns = ["position", "status", "error_type", "error"]
    for row in failed.select(columns).to_pylist():
        name = (row["status"], _kind(row["status"], row["error_type"]))
        kinds.setdefault(name, []).append(row)
    return [
        FailedKind(status, kind, len(rows), _examples(run, rows[:EXAMPLES]))
        for (status, kind), rows in kinds.items()
    ]


def _kind(status: str, error_type: str | None) -> str:
    """The API's error type where it says more than the status."""
    return error_type if status in ("errored", "missing") and error_type else status


def _examples(run: Run, rows: list[dict[str, Any]]) -> tuple[FailedRow, ...]:
    positions = [int(row["position"]) for row in rows]
    ids = _row_ids(run, positions)
    return tuple(
        FailedRow(position, row_id, (row["error"] or "")[:1000])
        for position, row_id, row in zip(positions, ids, rows, strict=True)
    )


def _row_ids(run: Run, positions: list[int]) -> list[str]:
    column = run.job.advanced.id_column
    if not column:
        return [""] * len(positions)
    ranges = [(position, position + 1) for position in positions]
    return [
        str(value) for value in run.rows().take(ranges, [column])[column].to_pylist()
    ]


def _lengths(tokens: pa.ChunkedArray) -> dict[int, int]:
    lengths: dict[int, int] = {}
    for found in pc.value_counts(tokens).to_pylist():
        length = rounded_tokens(found["values"])
        lengths[length] = lengths.get(length, 0) + found["counts"]
    return lengths


def _other_prices(answered: pa.Table, prices: Prices) -> dict[str, float | None]:
    """What the answers would have cost outside of batches, and without the cache."""
    listed, uncached = 0.0, 0.0
    models = count_values(answered["model"])
    for model in models:
        rows = answered.filter(pc.equal(answered["model"], model))
        used = {n: int(pc.sum(rows[n]).as_py() or 0) for n in _TOKENS}
        standard, batch = prices.price(model), prices.rates(model)
        if standard is None or batch is None:
            return {"list_usd": None, "uncached_usd": None}
        listed += standard.standard_rates().cost(_usage(used))
        uncached += batch.cost(_usage_without_cache(used))
    cached = pc.sum(answered["cache_read_tokens"]).as_py()
    return {"list_usd": listed, "uncached_usd": uncached if cached else None}


def _usage(used: dict[str, int]) -> Usage:
    return Usage(
        input_tokens=used["input_tokens"],
        output_tokens=used["output_tokens"],
        cache_creation_5m=used["cache_creation_5m_tokens"],
        cache_creation_1h=used["cache_creation_1h_tokens"],
        cache_read=used["cache_read_tokens"],
    )


def _usage_without_cache(used: dict[str, int]) -> Usage:
    prompt = sum(count for name, count in used.items() if name != "output_tokens")
    return Usage(input_tokens=prompt, output_tokens=used["output_tokens"])
