"""Where a run stands, as its directory tells, and the API where it can be asked."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

import msgspec
import pyarrow.parquet as pq

from batchkit_tasks.api import Api, Later
from batchkit_tasks.engine import Run
from batchkit_tasks.ground import storage
from batchkit_tasks.records import ChunkRecord, Submitted
from batchkit_tasks.steps.collecting import count_values


class RunStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Where one run stands."""

    run: str
    output: str
    source: str
    model: str
    state: str
    """`planned`, `waiting`, `ready to collect` or `written`."""
    created_at: datetime
    rows: int
    """Rows of the source."""
    rows_by_status: dict[str, int]
    """Of the rows that are back, and of those that are not sent."""
    batches: dict[str, int]
    """By what is known of them; `collected` ones are not asked about again."""
    batch_ids: tuple[str, ...]
    cost_usd: float | None
    """Of what is collected; None if a price is unknown."""

    def as_dict(self) -> dict[str, Any]:
        """The same as plain values."""
        return msgspec.to_builtins(self)


def look_at_run(run_url: str, api: Api | None) -> RunStatus:
    """Read how far a run is; changes nothing.

    Args:
        api: Asked about batches that are not collected; None: they are `at the API`.

    Raises:
        RecordUnreadableError: A file of the run cannot be read.
        RefusedError: The API does not serve this key.
    """
    run = Run(run_url)
    rounds, collected = run.rounds(), run.dir.collected()
    records = run.dir.latest_records(without=collected)
    chunks = [chunk.number for round_ in rounds for chunk in round_.chunks]
    batches = Counter({"collected": sum(number in collected for number in chunks)})
    batches.update(_states(records, api))
    batches["not sent"] += sum(n not in collected and n not in records for n in chunks)
    rows = Counter(rounds[0].unsent if rounds else {})
    cost = _add_parts(run, sorted(collected), rows)
    summary = run.dir.summary()
    if summary is not None:
        rows, cost = Counter(summary["by_status"]), summary["cost_usd"]
    return RunStatus(
        run=run_url,
        output=run.job.output,
        source=run.job.source,
        model=run.job.model,
        state=_state(summary is not None, +batches),
        created_at=run.plan.created_at,
        rows=run.plan.rows,
        rows_by_status=dict(rows),
        batches=dict(+batches),
        batch_ids=tuple(run.dir.batch_ids()),
        cost_usd=cost,
    )


def _states(records: dict[int, ChunkRecord], api: Api | None) -> list[str]:
    """What is known of each batch that is not collected."""
    submitted = [r for r in records.values() if isinstance(r, Submitted)]
    shown: dict[str, str] = {}
    if submitted and api is not None:
        oldest = min(record.created_at for record in submitted)
        seen = api.look({record.batch_id for record in submitted}, oldest)
        if not isinstance(seen, Later):
            shown = {b.id: b.processing_status for b in seen.batches.values()}
    return [
        shown.get(record.batch_id, "at the API")
        if isinstance(record, Submitted)
        else "not sent"
        if record.__struct_config__.tag == "unsent"
        else "unanswered"
        for record in records.values()
    ]


def _add_parts(run: Run, collected: list[int], rows: Counter[str]) -> float | None:
    """Count the rows of all parts by status, and add up what they cost."""
    total: float | None = 0.0
    for chunk in collected:
        fs, path = storage.filesystem(run.dir.part_url(chunk))
        part = pq.read_table(path, filesystem=fs, columns=["status", "cost_usd"])
        rows.update(count_values(part["status"]))
        costs: list[float | None] = part["cost_usd"].to_pylist()
        known = [cost for cost in costs if cost is not None]
        priced = known or not costs
        total = total + sum(known) if total is not None and priced else None
    return total


def _state(is_written: bool, batches: Counter[str]) -> str:
    if is_written:
        return "written"
    kinds = set(batches)
    if kinds <= {"not sent"}:
        return "planned"
    if kinds <= {"ended", "collected"}:
        return "ready to collect"
    return "waiting"
