"""What a run came to, in numbers that add up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec


class RunSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a run; JSON-able with `as_dict()`."""

    output: str
    """The Parquet with every row of the source."""
    failed_output: str | None
    """The rows that did not succeed; None if all did."""
    run: str
    """The run directory."""
    rows: int
    """Rows of the source, all of which are in the output."""
    sent: int
    """Rows of which a request was sent at least once."""
    by_status: dict[str, int]
    """Rows by `_status`; adds up to `rows`."""
    batches: tuple[str, ...]
    """Ids of the message batches, in the order of their chunks."""
    rounds: int
    """1, and one more for each time rows were sent again."""
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = None
    """Batch price of everything billed; None if a price is unknown."""
    message: str = ""
    """The run in one sentence."""
    dry_run: bool = False

    @property
    def succeeded(self) -> int:
        """Rows with a usable answer."""
        return self.by_status.get("succeeded", 0)

    @property
    def failed(self) -> int:
        """Rows that were sent and did not succeed."""
        return self.sent - self.succeeded

    def as_dict(self) -> dict[str, Any]:
        """The summary as plain values."""
        return msgspec.to_builtins(self)


def in_words(by_status: Mapping[str, int], cost_usd: float | None) -> str:
    """A run's end in one sentence, for states and logs."""
    rows = sum(by_status.values())
    good = by_status.get("succeeded", 0)
    others = ", ".join(
        f"{count:,} {status}"
        for status, count in sorted(by_status.items())
        if status != "succeeded" and count
    )
    message = f"{good:,} of {rows:,} rows succeeded"
    message += f", {others}" if others else ""
    return message + ("" if cost_usd is None else f"; ${cost_usd:,.2f}")
