"""Where a run stands, as its directory tells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property

import pyarrow as pa

from batchkit_tasks.engine import Run
from batchkit_tasks.ground.arrow_compute import pc
from batchkit_tasks.parts.files import read_part
from batchkit_tasks.records import Chunk, ChunkRecord, Intended, Submitted
from batchkit_tasks.results import is_credit_message
from batchkit_tasks.waiting.polling import Look


@dataclass(frozen=True)
class Survey:
    """The chunks of all rounds, and what became of each, at one moment."""

    chunks: Sequence[Chunk]
    records: Mapping[int, ChunkRecord]
    """Of chunks that are not collected."""
    collected: Set[int]

    def and_then(
        self, records: Mapping[int, ChunkRecord], collected: Iterable[int]
    ) -> Survey:
        """The same a moment later, when these chunks were sent and collected."""
        return replace(
            self,
            records={**self.records, **records},
            collected={*self.collected, *collected},
        )

    @cached_property
    def open(self) -> list[Chunk]:
        """Chunks whose batch exists and is not collected."""
        return [
            chunk
            for chunk in self.chunks
            if chunk.number not in self.collected
            and isinstance(self.records.get(chunk.number), Submitted)
        ]

    @cached_property
    def unsent(self) -> list[Chunk]:
        """Chunks that have no batch yet, as far as is known."""
        return [
            chunk
            for chunk in self.chunks
            if chunk.number not in self.collected
            and not isinstance(self.records.get(chunk.number), Submitted)
        ]

    @cached_property
    def unclear(self) -> set[int]:
        """Chunks whose create was begun and may or may not have made a batch."""
        return {
            chunk.number
            for chunk in self.unsent
            if isinstance(self.records.get(chunk.number), Intended)
        }

    @property
    def first(self) -> Chunk:
        """The chunk that tells about all others: not the one request that primes a
        cache."""
        return next((c for c in self.chunks if c.requests > 1), self.chunks[0])

    @property
    def has_first_attempts(self) -> bool:
        """Whether rows wait to be sent for the first time."""
        return any(c.attempt == 1 and not c.expiries for c in self.unsent)

    def give_up_times(self, patience: timedelta) -> list[tuple[datetime, str]]:
        """Until when each open batch is waited for."""
        records = [self.records[chunk.number] for chunk in self.open]
        return [
            (record.intent.intended_at + patience, record.batch_id)
            for record in records
            if isinstance(record, Submitted)
        ]

    def overdue(self, look: Look, patience: timedelta) -> list[str]:
        """Batches that were seen running after the time given to them.

        Seen, and not only old: a run that wakes days late finds them ended.
        """
        now = datetime.now(UTC)
        late = {batch_id for at, batch_id in self.give_up_times(patience) if at < now}
        seen = look.batches.values()
        return [batch.id for batch in seen if batch.id in late and not batch.has_ended]


def survey_run(run: Run) -> Survey:
    """Ask the run directory what is there."""
    chunks = [chunk for round_ in run.rounds() for chunk in round_.chunks]
    collected = run.dir.collected()
    return Survey(chunks, run.dir.latest_records(without=collected), collected)


def mostly_invalid(run: Run, survey: Survey) -> tuple[int, int, str] | None:
    """Whether most of the first chunk came back as invalid requests.

    Returns:
        How many, of how many, and what the API said of one of them.
    """
    if survey.first.number not in survey.collected:
        return None
    part = read_part(run, survey.first.number, ["error_type", "error"])
    invalid = part.filter(pc.equal(part["error_type"], "invalid_request_error"))
    credit = [is_credit_message(error) for error in invalid["error"].to_pylist()]
    invalid = invalid.filter(pc.invert(pa.array(credit, pa.bool_())))
    if 2 * invalid.num_rows <= part.num_rows:
        return None
    return invalid.num_rows, part.num_rows, str(invalid["error"][0].as_py())
