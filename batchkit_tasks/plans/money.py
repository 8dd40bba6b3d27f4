"""A run's money, as its directory tells: the estimate, the budget, what is spent."""

from __future__ import annotations

from collections.abc import Iterable, Set
from typing import Any, Final

import msgspec

from batchkit_tasks.engine import Run
from batchkit_tasks.errors import BudgetError
from batchkit_tasks.ground.amounts import dollars
from batchkit_tasks.parts.accounts import account_of
from batchkit_tasks.parts.joined import Part
from batchkit_tasks.plans.estimating import Estimate, estimate_run
from batchkit_tasks.pricing import budget
from batchkit_tasks.pricing.budget import Ceilings, Standing
from batchkit_tasks.pricing.decisions import decisions
from batchkit_tasks.pricing.token_counts import TokenCounter, TokenRate
from batchkit_tasks.records import Chunk
from batchkit_tasks.run_dir import RunDir

ESTIMATE: Final = "estimate.json"


# ---------------------------------------------------------------------- estimate


def estimate_once(run: Run, api: TokenCounter | None) -> Estimate:
    """Estimate a run, and keep it: what was said before sending is not said anew.

    Raises:
        KeyRefusedError: The API does not accept the key.
    """
    kept = kept_estimate(run.dir)
    if kept is not None:
        return kept
    found = msgspec.structs.replace(estimate_run(run, api), prompts=())
    return run.dir.keep(ESTIMATE, found)


def kept_estimate(run: RunDir) -> Estimate | None:
    """What the run was expected to cost; None before it was estimated."""
    return run.kept(ESTIMATE, Estimate)


def shown(estimate: Estimate) -> dict[str, Any]:
    """An estimate as plain values, for summaries."""
    kept = estimate.as_dict()
    return {name: kept[name] for name in kept if name not in ("rate", "prompts")}


def in_words(estimate: Estimate) -> list[str]:
    """An estimate as lines of a log."""
    lines = [*estimate.notes, _rows_in_words(estimate)]
    if not estimate.requests:
        return lines
    if estimate.batch_usd is None:
        lines.append(
            f"What that costs is not known: there is no price for {estimate.model}. "
            "Give one in advanced.prices."
        )
        return lines
    basis = "counted on a sample" if estimate.counted else "a rough guess from bytes"
    answers = "as long as earlier ones" if estimate.from_earlier_answers else "a guess"
    lines.append(
        f"Expected: ~{dollars(estimate.batch_usd)} ({estimate.input_tokens:,} tokens in, "
        f"{basis}; {estimate.output_tokens:,} out, {answers}); at most about "
        f"{dollars(estimate.batch_usd_ceiling)} if every answer uses all of max_tokens. "
        f"One by one it would be ~{dollars(estimate.standard_usd)}: the batch price saves "
        f"~{dollars(estimate.savings_usd)}."
    )
    return lines


def _rows_in_words(estimate: Estimate) -> str:
    others = [(estimate.duplicates, "are equal to one of them")]
    others += [(estimate.reused, "have an answer from before")]
    others += [(rows, f"are {status}") for status, rows in estimate.unsent.items()]
    batches = "message batch" if estimate.batches == 1 else "message batches"
    text = f"{estimate.requests:,} rows are sent in {estimate.batches:,} {batches}"
    more = [f"{rows:,} {what}" for rows, what in others if rows]
    return f"{text}; {', '.join(more)}." if more else f"{text}."


# ------------------------------------------------------------------------ budget


class Question(msgspec.Struct, frozen=True):
    """What a person is asked when a budget does not cover what is left to send."""

    number: int
    """The decision that it asks for: the same question has the same number."""
    budget_usd: float
    standing: Standing
    requests: int
    """Requests that wait to be sent."""
    estimate: Estimate
    output: str

    @property
    def approval_usd(self) -> float:
        """The budget that would cover everything; 0 (none) where prices are unknown."""
        return self.standing.most_usd or 0.0

    def error(self) -> BudgetError:
        """The same as an error, where nobody can be asked."""
        most, spent = self.standing.most_usd, self.standing.spent_usd
        if self.estimate.batch_usd is None:
            need = f"{self.requests:,} requests at an unknown price ({self._unknown})"
        elif most is None:
            need = f"{self.requests:,} requests; what was spent so far is not known"
        else:
            expected = dollars(self.estimate.batch_usd)
            need = (
                f"{self.requests:,} requests, with which the run could come to "
                f"{dollars(most)} (the whole run was expected to cost {expected})"
            )
        paid = f"Spent so far: {dollars(spent)}." if spent else "Nothing was spent yet."
        return BudgetError(self.budget_usd, need, paid)

    @property
    def _unknown(self) -> str:
        return f"none is known for {self.estimate.model}; give one in advanced.prices"


class Purse:
    """What a run has spent and may spend; for one process, which reads each part once.

    Args:
        rate: How tokens follow from bytes; by default that of the kept estimate.
    """

    def __init__(self, run: Run, rate: TokenRate | None = None) -> None:
        self._run = run
        self._rate = rate
        self._spent: dict[int, float | None] = {}

    def question(
        self, chunks: Iterable[Chunk], collected: Set[int], waiting: Set[int]
    ) -> Question | None:
        """Ask whether the budget covers all that is left; None: it does.

        Args:
            chunks: All chunks of the run.
            collected: Those whose results are here.
            waiting: Those of which nothing was sent yet.
        """
        made = decisions(self._run.dir)
        limit, stopped = budget.current(made, self._run.job.budget_usd)
        if not limit and not stopped:
            return None
        listed = list(chunks)
        standing = self._standing(listed, collected, waiting)
        if not (stopped or budget.is_over(limit, standing)):
            return None
        estimate = kept_estimate(self._run.dir)
        assert estimate is not None, "a budget needs an estimate"
        return Question(
            number=1 + (made[-1].number if made else 0),
            budget_usd=limit,
            standing=standing,
            requests=sum(c.requests for c in listed if c.number in waiting),
            estimate=estimate,
            output=self._run.job.output,
        )

    def was_stopped(self) -> bool:
        """Whether a person said stop, and nobody asked for the run again since."""
        return budget.current(decisions(self._run.dir), 0.0)[1]

    def _standing(
        self, chunks: list[Chunk], collected: Set[int], waiting: Set[int]
    ) -> Standing:
        spent = [self._spent_on(c) for c in chunks if c.number in collected]
        flying = [c for c in chunks if c.number not in collected | waiting]
        unsent = [c for c in chunks if c.number in waiting]
        return Standing(
            budget.add(spent),
            budget.add(map(self._ceiling, flying)),
            budget.add(map(self._ceiling, unsent)),
        )

    def _spent_on(self, chunk: Chunk) -> float | None:
        """What a collected chunk cost; what is not known counts as its ceiling."""
        if chunk.number not in self._spent:
            url = self._run.dir.part_url(chunk.number)
            account = account_of(Part(chunk, 1, url, "", ""), self._run.prices)
            cost = account.cost_usd
            self._spent[chunk.number] = self._ceiling(chunk) if cost is None else cost
        return self._spent[chunk.number]

    def _ceiling(self, chunk: Chunk) -> float | None:
        job = self._run.job
        if self._rate is None:
            estimate = kept_estimate(self._run.dir)
            self._rate = estimate.rate if estimate else TokenRate()
        caches = job.advanced.cache != "off"
        ceilings = Ceilings(self._rate, job.advanced.max_tokens, caches)
        return budget.ceiling_usd(chunk, self._run.prices.price(job.model), ceilings)


def standing_in_words(question: Question) -> dict[str, Any]:
    """The figures of a question, ready to be shown."""
    standing = question.standing
    return {
        "Budget": dollars(question.budget_usd),
        "Spent so far": dollars(standing.spent_usd),
        "At Anthropic now, at most": dollars(standing.in_flight_usd),
        "Waiting to be sent": f"{question.requests:,} requests",
        "These, at most": dollars(standing.to_send_usd),
        "The whole run, at most": dollars(standing.most_usd),
        "The whole run, as expected before": dollars(question.estimate.batch_usd),
    }
