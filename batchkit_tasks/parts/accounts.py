"""What a run was billed: by batch, by attempt and in all, failed attempts included.

The output holds one answer per row. What was paid for answers that were sent again,
because they were cut short or did not fit, is only in the parts.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from batchkit_tasks.ground import storage
from batchkit_tasks.ground.arrow_compute import pc
from batchkit_tasks.parts.joined import Part, Positions
from batchkit_tasks.parts.output_counts import TOKEN_FIELDS
from batchkit_tasks.parts.run_parts import TAKEN_OVER
from batchkit_tasks.pricing import Prices
from batchkit_tasks.pricing.budget import add
from batchkit_tasks.run_dir import positions

UNBILLED: Final = ("missing", "oversized", "skipped", "expired", "canceled")
"""Statuses whose unknown cost is none (docs), or cannot be known (`missing`)."""

RESULTS_GONE: Final = "results_gone"
"""Error type of rows that were billed, but whose results the API has deleted."""

COLUMNS: Final = (
    "position",
    "status",
    "error_type",
    "model",
    *(field.name for field in TOKEN_FIELDS),
    "cost_usd",
    "service_tier",
)


WRITTEN: Final = ("cache_creation_5m_tokens", "cache_creation_1h_tokens")
"""Tokens written to the cache."""


@dataclass(slots=True)
class BatchAccount:
    """One collected message batch in numbers."""

    chunk: int
    attempt: int
    batch_id: str
    rows: int
    succeeded: int
    tokens: dict[str, int]
    """By the names in `_meta`."""
    known_usd: float
    unpriced: int
    """Rows that were billed at a price that is not known."""
    tiers: Counter[str]
    """Rows by service tier, as the answers tell."""
    cache_hits: int
    """Rows that read from the cache."""
    cache_misses: int
    """Rows that wrote to it and read nothing."""
    saved_by_cache: float | None
    """What the same tokens would have cost besides, without the cache."""

    @property
    def cost_usd(self) -> float | None:
        """What it cost; None: a price is not known."""
        return None if self.unpriced else self.known_usd


@dataclass(slots=True)
class EarlierCosts:
    """What rows that were sent again cost before their last attempt."""

    positions: Positions = field(default_factory=lambda: np.empty(0, np.int64))
    usd: Any = field(default_factory=lambda: np.empty(0))
    """NaN: not known."""

    def add_to(self, table: pa.Table, rows: Positions) -> pa.Table:
        """Add them to the column `cost_usd` of answers at these positions."""
        if not len(self.positions):
            return table
        at = np.minimum(np.searchsorted(self.positions, rows), len(self.positions) - 1)
        hit = self.positions[at] == rows
        if not hit.any():
            return table
        index = table.schema.get_field_index("cost_usd")
        more = np.where(hit, self.usd[at], 0.0)
        added = pa.array(more, pa.float64(), mask=np.isnan(more))
        return table.set_column(index, "cost_usd", pc.add(table["cost_usd"], added))


@dataclass(slots=True)
class Accounts:
    """All batches of a run that were collected."""

    batches: list[BatchAccount] = field(default_factory=list[BatchAccount])
    earlier: EarlierCosts = field(default_factory=EarlierCosts)

    @property
    def known_usd(self) -> float:
        """What is known to be billed."""
        return sum(batch.known_usd for batch in self.batches)

    @property
    def unpriced(self) -> int:
        """Rows that were billed at a price that is not known."""
        return sum(batch.unpriced for batch in self.batches)

    @property
    def cost_usd(self) -> float | None:
        """What was billed; None: a price is not known."""
        return None if self.unpriced else self.known_usd

    @property
    def tokens(self) -> Counter[str]:
        """All tokens billed, by the names in `_meta`."""
        total: Counter[str] = Counter()
        for batch in self.batches:
            total.update(batch.tokens)
        return total

    @property
    def cache_hit_rate(self) -> float | None:
        """Share of the rows using the cache that read from it; None: none used it."""
        hits = sum(batch.cache_hits for batch in self.batches)
        used = hits + sum(batch.cache_misses for batch in self.batches)
        return hits / used if used else None

    @property
    def saved_by_cache(self) -> float | None:
        """What caching saved in all; None: a price is not known."""
        return add(batch.saved_by_cache for batch in self.batches)

    @property
    def other_tiers(self) -> dict[str, int]:
        """Rows that were not run as batch requests, by service tier."""
        tiers: Counter[str] = Counter()
        for batch in self.batches:
            tiers.update(batch.tiers)
        return {tier: rows for tier, rows in sorted(tiers.items()) if tier != "batch"}


def accounts_of(parts: Sequence[Part], prices: Prices) -> Accounts:
    """Read the parts of a run once and add them up; answers taken over are free."""
    accounts = Accounts()
    sent_again = _sent_again(parts)
    costs: list[tuple[Positions, Any]] = []
    for part in sorted(parts, key=lambda each: each.round):
        if part.round == TAKEN_OVER:
            continue
        table = _read(part)
        accounts.batches.append(_account(part, table, prices))
        if part.round in sent_again:
            costs.append(_of_rows(table, sent_again[part.round]))
    accounts.earlier = _summed(costs)
    return accounts


def account_of(part: Part, prices: Prices) -> BatchAccount:
    """Read one part and add it up."""
    return _account(part, _read(part), prices)


def _account(part: Part, table: pa.Table, prices: Prices) -> BatchAccount:
    counted = pc.value_counts(table["service_tier"].drop_null()).to_pylist()
    statuses = pc.equal(table["status"], "succeeded")
    names = [each.name for each in TOKEN_FIELDS]
    hits, misses = _cache_use(table)
    return BatchAccount(
        chunk=part.chunk.number,
        attempt=part.chunk.attempt,
        batch_id=part.batch_id,
        rows=table.num_rows,
        succeeded=pc.sum(statuses).as_py() or 0,
        tokens={name: _billed_tokens(table, name) for name in names},
        known_usd=pc.sum(table["cost_usd"]).as_py() or 0.0,
        unpriced=pc.sum(_is_unpriced(table)).as_py() or 0,
        tiers=Counter({str(each["values"]): each["counts"] for each in counted}),
        cache_hits=hits,
        cache_misses=misses,
        saved_by_cache=_saved_by_cache(table, prices) if hits or misses else 0.0,
    )


def _cache_use(table: pa.Table) -> tuple[int, int]:
    """Rows that read from the cache, and rows that only wrote to it."""
    read = _numbers(table, "cache_read_tokens") > 0
    written = _numbers(table, *WRITTEN) > 0
    return int(read.sum()), int((written & ~read).sum())


def _saved_by_cache(table: pa.Table, prices: Prices) -> float | None:
    """What reading saved, less what writing cost more than plain input."""
    total = 0.0
    prompts = _numbers(table, *(each.name for each in TOKEN_FIELDS))
    prompts -= _numbers(table, "output_tokens")
    for model in table["model"].drop_null().unique().to_pylist():
        price = prices.price(str(model))
        if price is None:
            return None
        own = pc.fill_null(pc.equal(table["model"], model), False).to_numpy()
        steps = [0, *([price.above_tokens] if price.above_tokens else []), 1 << 62]
        for low, high in itertools.pairwise(steps):
            rows = own & (prompts > low) & (prompts <= high)
            rates = price.batch_rates(low + 1)
            for name, rate in (
                ("cache_read_tokens", rates.cache_read),
                (WRITTEN[0], rates.cache_write_5m),
                (WRITTEN[1], rates.cache_write_1h),
            ):
                total += (rates.input - rate) * int(_numbers(table, name)[rows].sum())
    return total / 1_000_000


def _numbers(table: pa.Table, *names: str) -> Any:
    """The sum of some columns by row, nulls as 0."""
    columns = [pc.fill_null(table[name], 0).to_numpy() for name in names]
    return np.sum(columns, axis=0, dtype=np.int64)


def _billed_tokens(table: pa.Table, name: str) -> int:
    """Tokens of rows that cost something: a refusal shows tokens that are free."""
    billed = pc.not_equal(pc.fill_null(table["cost_usd"], -1.0), 0.0)
    return pc.sum(table[name].filter(billed)).as_py() or 0


def _is_unpriced(table: pa.Table) -> pa.ChunkedArray:
    gone = pc.fill_null(pc.equal(table["error_type"], RESULTS_GONE), False)
    free = pc.is_in(table["status"], value_set=pa.array(UNBILLED))
    return pc.and_(pc.is_null(table["cost_usd"]), pc.or_(gone, pc.invert(free)))


def _read(part: Part) -> pa.Table:
    fs, path = storage.filesystem(part.url)
    return pq.read_table(path, filesystem=fs, columns=list(COLUMNS))


def _sent_again(parts: Sequence[Part]) -> dict[int, Positions]:
    """For each round, the positions that have a part in a later one."""
    rounds = sorted({part.round for part in parts} - {TAKEN_OVER})
    later = np.empty(0, np.int64)
    found: dict[int, Positions] = {}
    for number in reversed(rounds):
        if len(later):
            found[number] = later
        own = [positions(part.chunk) for part in parts if part.round == number]
        if number != rounds[0]:
            later = np.unique(np.concatenate([later, *own]))
    return found


def _of_rows(table: pa.Table, rows: Positions) -> tuple[Positions, Any]:
    """Position and cost of those of the rows that were billed."""
    cost = table["cost_usd"].to_numpy()
    free = pc.invert(_is_unpriced(table)).to_numpy()
    cost = np.where(np.isnan(cost) & free, 0.0, cost)
    places = table["position"].to_numpy()
    billed = (cost != 0) & np.isin(places, rows)
    return places[billed], cost[billed]


def _summed(costs: Sequence[tuple[Positions, Any]]) -> EarlierCosts:
    if not costs:
        return EarlierCosts()
    places = np.concatenate([each[0] for each in costs])
    usd = np.concatenate([each[1] for each in costs])
    unique, at = np.unique(places, return_inverse=True)
    return EarlierCosts(unique, np.bincount(at, weights=usd, minlength=len(unique)))
