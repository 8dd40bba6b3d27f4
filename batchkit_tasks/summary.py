"""What a run came to, in numbers that add up."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import msgspec

from batchkit_tasks.errors import RowsLostError
from batchkit_tasks.ground.amounts import dollars
from batchkit_tasks.parts.output_counts import NOT_SENT


class BatchCost(msgspec.Struct, frozen=True, kw_only=True):
    """What one message batch came to."""

    batch_id: str
    attempt: int
    """1, and more where its rows had been sent before."""
    rows: int
    succeeded: int
    input_tokens: int
    output_tokens: int
    cache_creation_tokens: int
    cache_read_tokens: int
    cost_usd: float | None
    """None: a price is unknown."""


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
    """Rows whose answer was asked for in this run, equal ones included."""
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
    requests: int = 0
    """Different requests that were sent in the first round."""
    duplicates: int = 0
    """Rows that got the answer of an equal row."""
    reused: int = 0
    """Rows that got an answer which was paid for before."""
    duplicates_saved_usd: float | None = None
    """What the duplicates would have cost besides; None if a price is unknown."""
    unpriced: int = 0
    """Rows that were billed at a price that is not known."""
    batch_costs: tuple[BatchCost, ...] = ()
    """What each collected batch came to, failed attempts included."""
    other_tiers: dict[str, int] = {}
    """Rows that were not run at batch priority, by service tier; should be empty."""
    cache_hit_rate: float | None = None
    """Share of the rows using the prompt cache that read from it; None: none used it."""
    cache_saved_usd: float | None = None
    """What the cache saved, less what writing to it cost; None: not known."""
    estimate: dict[str, Any] = {}
    """What the first round was expected to cost, before it was sent."""
    prompts: tuple[str, ...] = ()
    """The first rendered prompts; of a dry run only."""

    def __post_init__(self) -> None:
        """Refuse to exist with numbers that do not add up.

        Raises:
            RowsLostError: The statuses do not account for every row.
        """
        counted = sum(self.by_status.values())
        if not self.dry_run and (counted != self.rows or not 0 <= self.sent <= counted):
            raise RowsLostError(abs(self.rows - counted), (), self.output)

    @property
    def succeeded(self) -> int:
        """Rows with a usable answer."""
        return self.by_status.get("succeeded", 0)

    @property
    def failed(self) -> int:
        """Rows that were sent and did not succeed."""
        unsent = sum(self.by_status.get(status, 0) for status in NOT_SENT)
        return self.rows - unsent - self.succeeded

    def as_dict(self) -> dict[str, Any]:
        """The summary as plain values."""
        return msgspec.to_builtins(self)

    def _repr_html_(self) -> str:
        """What a notebook shows: the numbers that matter, as a table."""
        cost = "unknown" if self.cost_usd is None else f"${self.cost_usd:,.2f}"
        tokens = f"{self.input_tokens:,} in, {self.output_tokens:,} out"
        kinds = sorted(self.by_status.items(), key=lambda kind: -kind[1])
        facts = [
            *((status, f"{rows:,} rows") for status, rows in kinds if rows),
            ("cost", f"{cost} ({tokens} tokens)"),
            ("message batches", f"{len(self.batches):,}, in {self.rounds:,} rounds"),
            ("output", self.output),
            ("failed rows", self.failed_output or "none"),
        ]
        rows = "".join(
            f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>"
            for name, value in facts
        )
        return f"<table><caption>{escape(self.message)}</caption>{rows}</table>"


def in_words(
    by_status: Mapping[str, int],
    cost_usd: float | None,
    *,
    equal: int = 0,
    reused: int = 0,
) -> str:
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
    shared = ((equal, "share an equal row's answer"), (reused, "reuse an earlier one"))
    for count, what in shared:
        message += f"; {count:,} {what}" if count else ""
    return message + ("" if cost_usd is None else f"; {dollars(cost_usd)}")


def oddities(summary: RunSummary) -> list[str]:
    """What a person should know about the bill of a run."""
    lines = [
        f"{rows:,} rows were run at the service tier {tier}: they may be billed at the "
        "full price, and are counted here at the batch price."
        for tier, rows in summary.other_tiers.items()
    ]
    if summary.cache_hit_rate is not None:
        saved = summary.cache_saved_usd
        amount = "an unknown amount" if saved is None else f"${saved:,.2f}"
        lines.append(
            f"Prompt cache: {summary.cache_hit_rate:.0%} of the rows read from it, which "
            f"saved {amount}."
        )
    if summary.unpriced:
        lines.append(
            f"What the run cost is not known: {summary.unpriced:,} rows were billed at a "
            "price that is not known. Give one in advanced.prices."
        )
    return lines
