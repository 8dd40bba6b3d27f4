"""Whether what is about to be sent may be sent: the decision about a run's budget.

The most that a run can come to is what it has cost, and the ceiling of everything that
is in flight or waits to be sent. An unknown price counts as too much: a budget that
lets through what it cannot judge is none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from batchkit_tasks.pricing.rates import ModelPrice, Rates
from batchkit_tasks.pricing.token_counts import TokenRate
from batchkit_tasks.records import Chunk, Record

Verdict = Literal["job", "approved", "stopped"]
"""Who set a budget: the run's parameter, or a person who was asked."""


class BudgetDecision(Record, frozen=True):
    """`budget-00001.json`: what a run may cost in all from now on; the last one counts."""

    number: int
    verdict: Verdict
    budget_usd: float
    """0: no limit."""
    at: datetime


@dataclass(frozen=True, slots=True)
class Ceilings:
    """What bounds the price of a request before it is answered."""

    rate: TokenRate
    max_tokens: int
    caches: bool = False
    """Whether requests may write to the cache, which costs more than plain input."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A run's money at one moment, in USD; None: a price is not known."""

    spent_usd: float | None
    in_flight_usd: float | None
    to_send_usd: float | None

    @property
    def most_usd(self) -> float | None:
        """The most that the run can come to."""
        return add((self.spent_usd, self.in_flight_usd, self.to_send_usd))


def is_over(budget_usd: float, standing: Standing) -> bool:
    """Whether going on could cost more than the budget; unknown prices are too much."""
    if not budget_usd:
        return False
    most = standing.most_usd
    # A hundredth of a cent: sums of floats are not exact.
    return most is None or most > budget_usd + 0.0001


def current(
    decisions: Sequence[BudgetDecision], asked_usd: float
) -> tuple[float, bool]:
    """Give the budget that counts, and whether a person said stop."""
    if not decisions:
        return asked_usd, False
    last = decisions[-1]
    return last.budget_usd, last.verdict == "stopped"


def next_decision(
    decisions: Sequence[BudgetDecision], verdict: Verdict, usd: float, at: datetime
) -> BudgetDecision:
    """The decision that follows the others."""
    number = 1 + (decisions[-1].number if decisions else 0)
    return BudgetDecision(number=number, verdict=verdict, budget_usd=usd, at=at)


def replaces(decisions: Sequence[BudgetDecision], asked_usd: float) -> bool:
    """Whether starting a job with this budget changes what was decided before.

    A budget that a person approved stays while the same is asked again; *stop* ends
    with the run in which it was said.
    """
    asked = [each for each in decisions if each.verdict == "job"]
    if not asked:
        return True
    return asked[-1].budget_usd != asked_usd or decisions[-1].verdict == "stopped"


def ceiling_usd(
    chunk: Chunk, price: ModelPrice | None, ceilings: Ceilings
) -> float | None:
    """The most that a chunk can cost; None: the price is not known."""
    if price is None:
        return None
    tokens = ceilings.rate.most_tokens(chunk.requests, chunk.body_bytes)
    rates = price.batch_rates(round(tokens / max(chunk.requests, 1)))
    answers = chunk.requests * (chunk.max_tokens or ceilings.max_tokens)
    return (
        tokens * input_rate(rates, ceilings.caches) + answers * rates.output
    ) / 1_000_000


def input_rate(rates: Rates, caches: bool) -> float:
    """The highest price of an input token."""
    return max(rates.input, rates.cache_write_1h) if caches else rates.input


def add(prices: Iterable[float | None]) -> float | None:
    """The sum; None as soon as one is not known."""
    total = 0.0
    for price in prices:
        if price is None:
            return None
        total += price
    return total
