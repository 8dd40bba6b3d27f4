"""What a report is made of: plain facts, kept as `report.json` in the run directory.

A run that wakes up only to look at its batches changes a moment or two in these facts
and writes the report anew from them; it reads no Parquet for that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

import msgspec
from msgspec.structs import replace

from batchkit_tasks.batches import MessageBatch


class FailedRow(msgspec.Struct, frozen=True):
    """A row that did not succeed, as an example."""

    position: int
    row_id: str
    """The value of the id column; empty without one."""
    message: str


class FailedKind(msgspec.Struct, frozen=True):
    """Rows that failed for the same reason."""

    status: str
    kind: str
    """The API's error type where it has one, else the status."""
    rows: int
    examples: tuple[FailedRow, ...] = ()


class PartDigest(msgspec.Struct, frozen=True, kw_only=True):
    """What a report says about the results of one batch."""

    succeeded: int = 0
    failed: tuple[FailedKind, ...] = ()
    output_tokens: dict[int, int] = {}
    """Answers by their length in tokens, rounded to two digits."""
    tokens: dict[str, int] = {}
    cost_usd: float = 0.0
    unpriced: int = 0
    """Answers whose price is not known."""
    list_usd: float | None = None
    """What the same would have cost outside of batches."""
    uncached_usd: float | None = None
    """What it would have cost without the prompt cache."""

    @property
    def rows(self) -> int:
        """Rows in the batch."""
        return self.succeeded + sum(kind.rows for kind in self.failed)


class BatchLine(msgspec.Struct, frozen=True, kw_only=True):
    """One message batch in the report."""

    chunk: int
    round: int
    rows: int
    state: str = "not sent"
    """`not sent`, `unanswered`, `collected` or the API's `processing_status`."""
    batch_id: str = ""
    created_at: datetime | None = None
    expires_at: datetime | None = None
    ended_at: datetime | None = None
    succeeded: int = 0
    failed: dict[str, int] = {}
    """By status."""
    cost_usd: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether results are still to come from it."""
        return self.state not in ("collected", "not sent")


class ReportFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a report says."""

    stage: str = "waiting"
    """`sending`, `waiting`, `asking`, `completed`, `failed` or `canceled`."""
    message: str = ""
    """Why it failed or stopped; how it ended."""
    source: str
    output: str
    failed_output: str = ""
    run: str
    model: str
    max_tokens: int
    answer_columns: tuple[str, ...] = ()
    id_column: str = ""
    budget_usd: float = 0.0
    estimate: str = ""
    """What was expected before anything was sent."""
    rows: int
    unsent: dict[str, int] = {}
    duplicates: int = 0
    reused: int = 0
    lines: tuple[BatchLine, ...] = ()
    digests: dict[int, PartDigest] = {}
    """By chunk."""
    kinds: tuple[FailedKind, ...] = ()
    """Rows that have failed and are not being sent again."""
    resent: int = 0
    """Rows of later rounds: each had failed in the round before."""
    written: dict[str, int] = {}
    """Rows by status as they are in the output; empty until it is written."""
    saved_by_sharing_usd: float | None = None
    """What equal rows would have cost, exactly; known once the output is written."""
    saved_by_cache_usd: float | None = None
    """What the prompt cache saved, writing included; known once the output is written."""
    looked_at: datetime | None = None
    next_look_at: datetime | None = None
    pictures: dict[str, str] = {}
    """PNG data URIs by name."""

    @property
    def is_over(self) -> bool:
        """Whether nothing more will change by itself."""
        return self.stage in ("completed", "failed", "canceled")

    @property
    def sendable(self) -> int:
        """Rows of which a request is sent."""
        first = sum(line.rows for line in self.lines if line.round == 1)
        return first if self.lines else self.rows - sum(self.unsent.values())

    @property
    def back(self) -> int:
        """Rows that have come back and are not under way again."""
        return sum(digest.rows for digest in self.digests.values()) - self.resent

    @property
    def failed(self) -> int:
        """Rows that have failed for good, so far."""
        return sum(kind.rows for kind in self.kinds)

    @property
    def spent(self) -> float | None:
        """USD for everything that came back; None if a price is not known."""
        if any(digest.unpriced for digest in self.digests.values()):
            return None
        return sum(digest.cost_usd for digest in self.digests.values())

    @property
    def ended(self) -> int:
        """Batches that have ended."""
        return sum(line.state in ("ended", "collected") for line in self.lines)


def with_look(
    facts: ReportFacts,
    batches: Mapping[str, MessageBatch],
    *,
    now: datetime,
    next_look_at: datetime,
) -> ReportFacts:
    """Take in what one look at the batches has shown."""
    lines = tuple(seen(line, batches.get(line.batch_id)) for line in facts.lines)
    return replace(facts, lines=lines, looked_at=now, next_look_at=next_look_at)


def seen(line: BatchLine, batch: MessageBatch | None) -> BatchLine:
    """A batch's line with what the API says of it."""
    if batch is None:
        return line
    return replace(
        line,
        state="collected" if line.state == "collected" else batch.processing_status,
        created_at=batch.created_at,
        expires_at=batch.expires_at,
        ended_at=batch.ended_at,
    )


def add_up_kinds(kinds: Iterable[FailedKind], examples: int = 3) -> list[FailedKind]:
    """Put kinds of several batches together: most frequent first."""
    found: dict[tuple[str, str], FailedKind] = {}
    for kind in kinds:
        name = (kind.status, kind.kind)
        known = found.get(name)
        found[name] = (
            kind
            if known is None
            else replace(
                known,
                rows=known.rows + kind.rows,
                examples=(known.examples + kind.examples)[:examples],
            )
        )
    return sorted(found.values(), key=lambda kind: (-kind.rows, kind.kind))


def rounded_tokens(tokens: int) -> int:
    """A length to two digits, so that the lengths of a million answers are few."""
    step = 10 ** max(0, len(str(tokens)) - 2)
    return tokens // step * step
