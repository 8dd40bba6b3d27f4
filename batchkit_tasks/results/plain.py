"""Results as nearly all are: a message of one text, and nothing odd about it.

They become columns many at a time. All others `results.rows` judges one by one. Both
ways give the same row for the same line.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from batchkit_tasks.pricing.rates import ManyUsages, Usage
from batchkit_tasks.results.lines import Result
from batchkit_tasks.results.rows import TRUNCATED, Price, Row

T = TypeVar("T")

PriceMany = Callable[[str, ManyUsages], npt.NDArray[np.float64] | None]
"""As `Price`, for many requests of one model at once."""

UNUSABLE: Final = frozenset((*TRUNCATED, "refusal", "pause_turn"))
"""Stop reasons with which an answer is not usable."""


class Plain:
    """The facts of some results, attribute by attribute; all of them if all are plain.

    An attribute at a time, each by its name in a comprehension of its own: that takes
    half the time of `attrgetter`.
    """

    def __init__(self, results: Sequence[Result]) -> None:
        """Look at results.

        Raises:
            NotPlainError: One of them at least is not plain.
        """
        _demand({result.type for result in results} == {"succeeded"})
        messages = _all_there([result.message for result in results])
        contents = [message.content for message in messages]
        _demand(set(map(len, contents)) == {1})
        blocks = [content[0] for content in contents]
        _demand({block.type for block in blocks} == {"text"})
        self.texts = [block.text for block in blocks]
        self.model = _all_there([message.model for message in messages])
        self.stop_reason = [message.stop_reason for message in messages]
        _demand(UNUSABLE.isdisjoint(self.stop_reason))
        usages = _all_there([message.usage for message in messages])
        tools = [usage.server_tool_use for usage in usages]
        _demand(tools.count(None) == len(tools))
        self.service_tier = [usage.service_tier for usage in usages]
        self.geo = [usage.inference_geo for usage in usages]
        written = _all_there([usage.cache_creation for usage in usages])
        self.tokens = [
            _numbers([usage.input_tokens for usage in usages]),
            _numbers([usage.output_tokens for usage in usages]),
            _numbers([cache.ephemeral_5m_input_tokens for cache in written]),
            _numbers([cache.ephemeral_1h_input_tokens for cache in written]),
            _numbers([usage.cache_read_input_tokens for usage in usages]),
        ]


class NotPlainError(Exception):
    """Among these results is one that must be looked at by itself."""


def _demand(fact: bool) -> None:
    if not fact:
        raise NotPlainError


def _all_there(values: list[T | None]) -> list[T]:
    _demand(None not in values)
    return cast("list[T]", values)


def _numbers(values: list[int | None]) -> npt.NDArray[np.int64]:
    return np.array(_all_there(values), np.int64)


def is_plain(result: Result) -> bool:
    """Whether a result is one text, usable, with all its token counts."""
    try:
        Plain([result])
    except NotPlainError:
        return False
    return True


_COUNTS: Final = (
    "input_tokens",
    "output_tokens",
    "cache_creation_5m_tokens",
    "cache_creation_1h_tokens",
    "cache_read_tokens",
)
_USAGE: Final = ManyUsages.__struct_fields__[:5]


def plain_columns(
    plain: Plain, price: Price, price_many: PriceMany | None
) -> list[Any]:
    """Give the columns of `Row`; `None`: all null.

    Args:
        price_many: Used where all are of one model; else each is priced alone.
    """
    columns: dict[str, Any] = {
        "status": pa.repeat("succeeded", len(plain.texts)),
        "text": plain.texts,
        "model": _strings(plain.model),
        "stop_reason": _strings(plain.stop_reason),
        "cost_usd": _costs(plain, price, price_many),
        "service_tier": _strings(plain.service_tier),
        **dict(zip(_COUNTS, plain.tokens, strict=True)),
    }
    return [columns.get(name) for name in Row._fields]


def _strings(values: Sequence[str | None]) -> pa.Array:
    first = values[0]
    if values.count(first) == len(values):
        return pa.repeat(pa.scalar(first, pa.string()), len(values))
    return pa.array(values, pa.string())


def _costs(plain: Plain, price: Price, price_many: PriceMany | None) -> Any:
    model, geo = plain.model, plain.geo
    fields: dict[str, Any] = dict(zip(_USAGE, plain.tokens, strict=True))
    one = model.count(model[0]) == len(model) and geo.count(geo[0]) == len(geo)
    if price_many is not None and one:
        usages = ManyUsages(**fields, inference_geo=geo[0])
        return price_many(model[0], usages)
    rows = zip(*(column.tolist() for column in plain.tokens), strict=True)
    return [
        price(name, Usage(**dict(zip(fields, row, strict=True)), inference_geo=where))
        for name, where, row in zip(model, geo, rows, strict=True)
    ]
