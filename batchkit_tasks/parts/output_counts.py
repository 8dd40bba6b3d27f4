"""What is in an output table: rows by status, tokens and cost."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

import pyarrow as pa

from batchkit_tasks.ground.arrow_compute import pc

NOT_SENT: Final = frozenset(("skipped", "oversized"))
"""The statuses of rows that were not sent."""

TOKEN_FIELDS: Final = (
    pa.field("input_tokens", pa.int64()),
    pa.field("output_tokens", pa.int64()),
    pa.field("cache_creation_5m_tokens", pa.int64()),
    pa.field("cache_creation_1h_tokens", pa.int64()),
    pa.field("cache_read_tokens", pa.int64()),
)
"""What a row used."""

COST_FIELD: Final = pa.field("cost_usd", pa.float64())
"""What a row cost; null: not known."""


@dataclass(slots=True)
class OutputCounts:
    """What is in an output table. Tokens and cost are those of the answers in it."""

    rows: int = 0
    by_status: Counter[str] = field(default_factory=Counter[str])
    """Adds up to `rows`."""
    tokens: Counter[str] = field(default_factory=Counter[str])
    """By the names in `_meta`: `input_tokens`, `output_tokens`, …"""
    cost_usd: float = 0.0
    """Of the rows whose price is known."""
    unpriced: int = 0
    """Rows that used tokens at a price that is not known."""
    shared_usd: float = 0.0
    """What rows that share another's answer would have cost besides."""

    @property
    def sent(self) -> int:
        """Rows that were sent."""
        return self.rows - sum(self.by_status[status] for status in NOT_SENT)

    @property
    def succeeded(self) -> int:
        """Rows with a usable answer."""
        return self.by_status["succeeded"]

    @property
    def failed(self) -> int:
        """Rows that were sent and did not succeed."""
        return self.sent - self.succeeded

    def add(self, status: pa.ChunkedArray, answers: pa.Table) -> None:
        """Count rows by status, and the token and cost columns of their answers."""
        self.rows += len(status)
        for found in pc.value_counts(status).to_pylist():
            self.by_status[found["values"]] += found["counts"]
        for number in TOKEN_FIELDS:
            self.tokens[number.name] += pc.sum(answers.column(number.name)).as_py() or 0
        cost = answers.column(COST_FIELD.name)
        self.cost_usd += pc.sum(cost).as_py() or 0.0
        used = pc.greater(pc.fill_null(answers.column("output_tokens"), 0), 0)
        self.unpriced += pc.sum(pc.and_(used, pc.is_null(cost))).as_py() or 0
