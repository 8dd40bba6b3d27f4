"""The parts of a run, of every round and those taken over, as they are joined."""

from __future__ import annotations

from batchkit_tasks.engine import Run
from batchkit_tasks.parts.joined import Absent, Part
from batchkit_tasks.records import Chunk, Round, Submitted
from batchkit_tasks.tables.sources import Rows, SourceFile

TAKEN_OVER: int = 0
"""The round of answers that were taken over: all others win."""


def parts_of(run: Run) -> list[Part]:
    """Every part that is there: the answers taken over, and what was collected."""
    rounds = run.rounds()
    return [*_taken_over(run, rounds), *_collected(run, rounds)]


def absent_chunks(run: Run, status: str, reason: str) -> list[Absent]:
    """Chunks without results; rows that have an answer from before keep it."""
    collected = run.dir.collected()
    return [
        Absent(chunk, status, reason)
        for round_ in run.rounds()
        for chunk in round_.chunks
        if chunk.number not in collected
    ]


def fates_of(run: Run) -> Rows:
    """`rows.parquet`: hash and fate of every row."""
    url = run.dir.rows_url(run.rounds()[0].token)
    return Rows((SourceFile(url, 0, "written", run.plan.rows),))


def _taken_over(run: Run, rounds: list[Round]) -> list[Part]:
    found: list[Part] = []
    for first in rounds[:1]:
        for number in run.dir.taken_over(first.token):
            start = number * first.taken_over_rows
            span = ((start, start + first.taken_over_rows),)
            chunk = Chunk(number=-1, ranges=span, requests=0, body_bytes=0)
            url = run.dir.taken_over_url(first.token, number)
            found.append(Part(chunk, TAKEN_OVER, url, "", ""))
    return found


def _collected(run: Run, rounds: list[Round]) -> list[Part]:
    records, collected = run.dir.latest_records(), run.dir.collected()
    found: list[Part] = []
    for round_ in rounds:
        for chunk in round_.chunks:
            if chunk.number not in collected:
                continue
            batch_id = nonce = ""
            record = records.get(chunk.number)
            if isinstance(record, Submitted):
                batch_id, nonce = record.batch_id, record.intent.nonce
            url = run.dir.part_url(chunk.number)
            found.append(Part(chunk, round_.number, url, batch_id, nonce))
    return found
