"""What a run or a list of requests would cost, before anything is sent.

How long answers get is not known beforehand: the estimate expects what earlier answers
to the same question had, or guesses; and it has a ceiling, which is reached if every
answer uses up its `max_tokens`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
import numpy as np

from batchkit_tasks.answers.formats import AnswerFormat
from batchkit_tasks.engine import Run
from batchkit_tasks.errors import BatchkitError
from batchkit_tasks.plans.earlier import neighbours
from batchkit_tasks.plans.planning import plan_first_round
from batchkit_tasks.plans.reading import read_positions
from batchkit_tasks.pricing import Prices
from batchkit_tasks.pricing.budget import add, input_rate
from batchkit_tasks.pricing.rates import ModelPrice
from batchkit_tasks.pricing.token_counts import (
    WEIGHED_REQUESTS,
    TokenCounter,
    TokenRate,
    count_sample,
    spread,
)
from batchkit_tasks.prompts.caching import CachedBuilder, least_tokens
from batchkit_tasks.prompts.requests import BODY_OVERHEAD, item_bytes
from batchkit_tasks.run_dir import positions

USUAL_ANSWER_TOKENS: Final = 300
"""A guess for free text."""

USUAL_COLUMN_TOKENS: Final = 25
"""A guess for each typed column, with its name and punctuation in JSON."""

SHOWN_PROMPTS: Final = 5


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be sent, and what it may cost (USD; None: a price is not known)."""

    model: str
    requests: int
    """Rows that are sent."""
    duplicates: int = 0
    """Rows that get the answer of an equal row."""
    reused: int = 0
    """Rows that get an answer which was paid for before."""
    unsent: dict[str, int] = {}
    """Rows that are not sent, by status."""
    batches: int = 1
    input_tokens: int
    output_tokens: int
    """What is expected."""
    output_tokens_ceiling: int
    counted: bool
    """Whether the API counted a sample; else bytes were divided."""
    note: str = ""
    """Why it did not count."""
    from_earlier_answers: bool = False
    """Whether `output_tokens` is what earlier answers had; else it is a guess."""
    batch_usd: float | None
    """What is expected."""
    batch_usd_ceiling: float | None
    standard_usd: float | None
    """The same as `batch_usd`, had the requests been sent one by one."""
    standard_usd_ceiling: float | None
    prompts: tuple[str, ...] = ()
    """The first rendered prompts."""
    notes: tuple[str, ...] = ()
    """What else is to be said before sending."""
    rate: TokenRate = TokenRate()
    """How tokens follow from bytes."""

    @property
    def savings_usd(self) -> float | None:
        """What a batch saves against sending the requests one by one."""
        if self.batch_usd is None or self.standard_usd is None:
            return None
        return self.standard_usd - self.batch_usd

    def as_dict(self) -> dict[str, Any]:
        """The estimate as plain values."""
        return msgspec.to_builtins(self)


def estimate_run(run: Run, api: TokenCounter | None) -> Estimate:
    """Estimate a run that was opened; cuts its chunks, and sends nothing.

    Args:
        api: Counts a sample; None: bytes are divided.

    Raises:
        KeyRefusedError: The API does not accept the key.
        SourceChangedError: The source is not the table that the run was opened for.
    """
    round_ = plan_first_round(run)
    sent = [positions(chunk) for chunk in round_.chunks]
    rows = np.concatenate(sent) if sent else np.empty(0, np.int64)
    rate = count_sample(_sampled(run, rows), api) if len(rows) else TokenRate()
    max_tokens = run.job.advanced.max_tokens
    earlier = usual_of_earlier_runs(run)
    answer = usual_answer_tokens(run.answer) if earlier is None else earlier
    asked = _Asked(
        requests=len(rows),
        size_bytes=sum(c.body_bytes - BODY_OVERHEAD for c in round_.chunks),
        answer_tokens=len(rows) * min(float(max_tokens), answer),
        most_answer_tokens=len(rows) * max_tokens,
        caches=run.job.advanced.cache != "off",
    )
    return _estimate(
        run.job.model,
        run.prices.price(run.job.model),
        asked,
        rate,
        duplicates=round_.duplicates,
        reused=round_.reused,
        unsent=round_.unsent,
        batches=len(round_.chunks),
        from_earlier_answers=earlier is not None,
        prompts=_prompts(run, rows[:SHOWN_PROMPTS]),
        notes=(*round_.notes, *_cache_notes(run, rate)),
    )


def estimate_requests(
    requests: Sequence[tuple[str, int, bytes]], api: TokenCounter | None
) -> dict[str, Any]:
    """Estimate requests, given as model, max_tokens and the JSON of their params.

    Returns:
        The totals over all models; see `BatchKit.estimate`.
    """
    parts = [
        _estimate_alike(model, [r for r in requests if r[0] == model], api)
        for model in dict.fromkeys(model for model, _, _ in requests)
    ]
    return {
        "requests": len(requests),
        "input_tokens": sum(p.input_tokens for p in parts),
        "output_tokens": sum(p.output_tokens for p in parts),
        "output_tokens_ceiling": sum(p.output_tokens_ceiling for p in parts),
        "batch_usd": _sum(p.batch_usd for p in parts),
        "standard_usd": _sum(p.standard_usd for p in parts),
        "savings_usd": _sum(p.savings_usd for p in parts),
        "batch_usd_ceiling": _sum(p.batch_usd_ceiling for p in parts),
        "counted": all(p.counted for p in parts),
    }


def usual_answer_tokens(answer: AnswerFormat) -> float:
    """A guess at the tokens of one answer."""
    if answer.is_text:
        return USUAL_ANSWER_TOKENS
    return 5 + USUAL_COLUMN_TOKENS * len(answer.fields)


def usual_of_earlier_runs(run: Run) -> float | None:
    """Tokens of an answer in the newest run that asked the same; None: there is none."""
    for neighbour in neighbours(run):
        if neighbour.differs:
            continue
        try:
            summary = neighbour.run.dir.summary() or {}
        except BatchkitError:
            continue
        batches = summary.get("batch_costs") or []
        rows = sum(batch["succeeded"] for batch in batches)
        tokens = sum(batch["output_tokens"] for batch in batches)
        if rows and tokens:
            return tokens / rows
    return None


# ------------------------------------------------------------------------ pieces


def _sampled(run: Run, rows: np.ndarray) -> list[tuple[int, bytes]]:
    """Requests of rows spread over those that are sent."""
    chosen = rows[spread(len(rows), WEIGHED_REQUESTS)]
    found: list[tuple[int, bytes]] = []
    for window, table in read_positions(run, chosen, run.requests.columns):
        built = run.requests.build(table).params
        for position, params in zip(window.tolist(), built, strict=True):
            assert params is not None, "a planned row has no request any more"
            found.append((item_bytes(position, params), params))
    return found


def _prompts(run: Run, rows: np.ndarray) -> tuple[str, ...]:
    if not len(rows):
        return ()
    (_, table), *_ = read_positions(run, rows, run.requests.columns)
    return tuple(prompt or "" for prompt in run.requests.prompts(table))


def _cache_notes(run: Run, rate: TokenRate) -> tuple[str, ...]:
    """Say so if what the requests share is too short to be cached."""
    if not isinstance(run.requests, CachedBuilder):
        return ()
    tokens = round(run.requests.shared_bytes * rate.per_byte)
    least = least_tokens(run.job.model)
    if tokens >= least:
        return ()
    return (
        f"The requests share about {tokens:,} tokens at their beginning; {run.job.model} "
        f"caches from {least:,} on, so nothing will be cached.",
    )


class _Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Requests in numbers."""

    requests: int
    size_bytes: int
    answer_tokens: float
    """Expected of all answers together."""
    most_answer_tokens: int
    caches: bool = False
    """Whether requests may write to the cache, which costs more than plain input."""


def _estimate(
    model: str, price: ModelPrice | None, asked: _Asked, rate: TokenRate, **more: Any
) -> Estimate:
    requests, size = asked.requests, asked.size_bytes
    expected = rate.tokens(requests, size), asked.answer_tokens
    most = rate.most_tokens(requests, size), float(asked.most_answer_tokens)
    batch, standard = _prices(price, requests, *expected)
    batch_ceiling, standard_ceiling = _prices(price, requests, *most, asked.caches)
    return Estimate(
        model=model,
        requests=requests,
        input_tokens=round(expected[0]),
        output_tokens=round(expected[1]),
        output_tokens_ceiling=round(most[1]),
        counted=rate.counted,
        note=rate.note,
        batch_usd=batch,
        batch_usd_ceiling=batch_ceiling,
        standard_usd=standard,
        standard_usd_ceiling=standard_ceiling,
        rate=rate,
        **more,
    )


def _prices(
    price: ModelPrice | None,
    requests: int,
    prompts: float,
    answers: float,
    caches: bool = False,
) -> tuple[float | None, float | None]:
    """Price in a batch and one by one, for prompts of the average length."""
    if price is None:
        return None, None
    prompt = round(prompts / max(requests, 1))

    def total(rates: Any) -> float:
        tokens = prompts * input_rate(rates, caches) + answers * rates.output
        return round(tokens / 1_000_000, 9)

    return total(price.batch_rates(prompt)), total(price.standard_rates(prompt))


def _estimate_alike(
    model: str, requests: Sequence[tuple[str, int, bytes]], api: TokenCounter | None
) -> Estimate:
    """Estimate requests of one model."""
    chosen = [requests[at][2] for at in spread(len(requests), WEIGHED_REQUESTS)]
    rate = count_sample([(len(params), params) for params in chosen], api)
    limits = [tokens for _, tokens, _ in requests]
    asked = _Asked(
        requests=len(requests),
        size_bytes=sum(len(params) for _, _, params in requests),
        answer_tokens=sum(min(tokens, USUAL_ANSWER_TOKENS) for tokens in limits),
        most_answer_tokens=sum(limits),
    )
    return _estimate(model, Prices().price(model), asked, rate)


def _sum(prices: Iterable[float | None]) -> float | None:
    """The total; None as soon as one is not known."""
    total = add(prices)
    return None if total is None else round(total, 9)
