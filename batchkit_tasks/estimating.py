"""What a run or a list of requests would cost, before anything is sent.

Input tokens are counted by the API on a sample (free of charge) and scaled by bytes;
without a key they are guessed from the bytes alone. How long answers get is not known
beforehand: the estimate has a guess, and a ceiling that is reached if every answer uses
up its `max_tokens`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol

import msgspec
import numpy as np

from batchkit_tasks.answers import AnswerFormat
from batchkit_tasks.engine import Run
from batchkit_tasks.errors import KeyRefusedError, RefusedError
from batchkit_tasks.planning import plan_first_round, read_positions
from batchkit_tasks.pricing import Prices
from batchkit_tasks.requests import BODY_OVERHEAD, item_bytes
from batchkit_tasks.run_dir import positions

COUNTED_REQUESTS: Final = 12
"""Requests that the API is asked to count: their sizes are known for all, so that few
are enough."""

ROUGH_BYTES_PER_TOKEN: Final = 3.0
"""Where nobody counts: English prose has about 3.3 bytes a token on models from 4.7 on,
other languages and JSON fewer."""

USUAL_ANSWER_TOKENS: Final = 300
"""A guess for free text."""

USUAL_COLUMN_TOKENS: Final = 25
"""A guess for each typed column, with its name and punctuation in JSON."""

SHOWN_PROMPTS: Final = 5


class TokenCounter(Protocol):
    """The part of `Api` that is needed here."""

    def count_tokens(self, params: dict[str, Any], /) -> Any:
        """Input tokens of one request, or something else if it cannot say now."""
        ...


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be sent, and what it may cost (USD; None: a price is not known)."""

    model: str
    requests: int
    """Rows that are sent."""
    unsent: dict[str, int] = {}
    """Rows that are not sent, by status."""
    batches: int = 1
    input_tokens: int
    output_tokens: int
    """A guess."""
    output_tokens_ceiling: int
    counted: bool
    """Whether the API counted a sample; else bytes were divided."""
    note: str = ""
    """Why it did not count."""
    batch_usd: float | None
    """For the guess."""
    batch_usd_ceiling: float | None
    standard_usd: float | None
    """The same as `batch_usd`, had the requests been sent one by one."""
    standard_usd_ceiling: float | None
    prompts: tuple[str, ...] = ()
    """The first rendered prompts."""

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
    total = sum(c.body_bytes - BODY_OVERHEAD for c in round_.chunks)
    rate = _rate(_sampled(run, rows), api)
    max_tokens = run.job.advanced.max_tokens
    tokens = round(total / rate.bytes_per_token)
    guess = min(max_tokens, usual_answer_tokens(run.answer))
    usage = _Usage(len(rows), tokens, len(rows) * guess, len(rows) * max_tokens)
    return _estimate(
        run.job.model,
        usage,
        rate,
        unsent=round_.unsent,
        batches=len(round_.chunks),
        prompts=_prompts(run, rows[:SHOWN_PROMPTS]),
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
    batch, standard = (
        _sum(p.batch_usd for p in parts),
        _sum(p.standard_usd for p in parts),
    )
    savings = None if batch is None or standard is None else round(standard - batch, 6)
    return {
        "requests": len(requests),
        "input_tokens": sum(p.input_tokens for p in parts),
        "output_tokens": sum(p.output_tokens for p in parts),
        "output_tokens_ceiling": sum(p.output_tokens_ceiling for p in parts),
        "batch_usd": batch,
        "standard_usd": standard,
        "savings_usd": savings,
        "batch_usd_ceiling": _sum(p.batch_usd_ceiling for p in parts),
        "counted": all(p.counted for p in parts),
    }


def usual_answer_tokens(answer: AnswerFormat) -> int:
    """A guess at the tokens of one answer."""
    if answer.is_text:
        return USUAL_ANSWER_TOKENS
    return 5 + USUAL_COLUMN_TOKENS * len(answer.fields)


# ------------------------------------------------------------------------ tokens


class _Rate(msgspec.Struct, frozen=True):
    """Bytes of a request for each of its input tokens."""

    bytes_per_token: float
    counted: bool
    note: str = ""


def _rate(sample: Iterable[tuple[int, bytes]], api: TokenCounter | None) -> _Rate:
    """Count a sample, given as bytes on the wire and JSON of the params."""
    if api is None:
        return _Rate(
            ROUGH_BYTES_PER_TOKEN, False, "without a key the API counts nothing"
        )
    size = tokens = 0
    for bytes_on_the_wire, params in sample:
        try:
            counted = api.count_tokens(msgspec.json.decode(params))
        except KeyRefusedError:
            raise
        except RefusedError as refused:
            return _Rate(ROUGH_BYTES_PER_TOKEN, False, refused.message)
        if not isinstance(counted, int):
            return _Rate(ROUGH_BYTES_PER_TOKEN, False, str(counted.why))
        size, tokens = size + bytes_on_the_wire, tokens + counted
    return _Rate(size / tokens, True) if tokens else _Rate(ROUGH_BYTES_PER_TOKEN, False)


def _sampled(run: Run, rows: np.ndarray) -> Iterable[tuple[int, bytes]]:
    """Requests of rows spread over those that are sent."""
    chosen = rows[_spread(len(rows), COUNTED_REQUESTS)]
    for window, table in read_positions(run, chosen, run.requests.columns):
        built = run.requests.build(table).params
        for position, params in zip(window.tolist(), built, strict=True):
            assert params is not None, "a planned row has no request any more"
            yield item_bytes(position, params), params


def _spread(count: int, wanted: int) -> np.ndarray:
    """Up to so many indices, spread evenly."""
    at = np.linspace(0, max(count - 1, 0), min(count, wanted))
    return np.unique(at.round().astype(np.int64))


def _prompts(run: Run, rows: np.ndarray) -> tuple[str, ...]:
    if not len(rows):
        return ()
    (_, table), *_ = read_positions(run, rows, run.requests.columns)
    return tuple(prompt or "" for prompt in run.requests.prompts(table))


# ------------------------------------------------------------------------ prices


class _Usage(msgspec.Struct, frozen=True):
    requests: int
    input_tokens: int
    output_tokens: int
    output_tokens_ceiling: int


def _estimate(model: str, usage: _Usage, rate: _Rate, **more: Any) -> Estimate:
    batch, standard = _prices(model, usage, usage.output_tokens)
    batch_ceiling, standard_ceiling = _prices(model, usage, usage.output_tokens_ceiling)
    return Estimate(
        model=model,
        requests=usage.requests,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        output_tokens_ceiling=usage.output_tokens_ceiling,
        counted=rate.counted,
        note=rate.note,
        batch_usd=batch,
        batch_usd_ceiling=batch_ceiling,
        standard_usd=standard,
        standard_usd_ceiling=standard_ceiling,
        **more,
    )


def _prices(
    model: str, usage: _Usage, output: int
) -> tuple[float | None, float | None]:
    """Price in a batch and one by one, for prompts of the average length."""
    price = Prices().price(model)
    if price is None:
        return None, None
    prompt = math.ceil(usage.input_tokens / max(usage.requests, 1))

    def total(rates: Any) -> float:
        tokens = usage.input_tokens * rates.input + output * rates.output
        return round(tokens / 1_000_000, 6)

    return total(price.batch_rates(prompt)), total(price.standard_rates(prompt))


def _estimate_alike(
    model: str, requests: Sequence[tuple[str, int, bytes]], api: TokenCounter | None
) -> Estimate:
    """Estimate requests of one model."""
    chosen = [requests[at][2] for at in _spread(len(requests), COUNTED_REQUESTS)]
    rate = _rate([(len(params), params) for params in chosen], api)
    usage = _Usage(
        len(requests),
        round(sum(len(params) for _, _, params in requests) / rate.bytes_per_token),
        sum(min(tokens, USUAL_ANSWER_TOKENS) for _, tokens, _ in requests),
        sum(tokens for _, tokens, _ in requests),
    )
    return _estimate(model, usage, rate)


def _sum(prices: Iterable[float | None]) -> float | None:
    """The total; None as soon as one is not known."""
    total = 0.0
    for price in prices:
        if price is None:
            return None
        total += price
    return round(total, 6)
