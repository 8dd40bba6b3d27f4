"""Results as nearly all are: a message of one text, and nothing odd about it.

They become columns many at a time. All others `results.rows` judges one by one. Both
ways give the same row for the same line.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from batchkit_tasks.pricing.rates import ManyUsages, Usage
from batchkit_tasks.results.lines import Result
from batchkit_tasks.results.rows import TRUNCATED, Price, Row

PriceMany = Callable[[str, ManyUsages], npt.NDArray[np.float64] | None]
"""As `Price`, for many requests of one model at once."""

UNUSABLE: Final = frozenset((*TRUNCATED, "refusal", "pause_turn"))
"""Stop reasons with which an answer is not usable."""


class Plain:
    """The facts of some results, attribute by attribute; all of them if all are plain.

    An attribute at a time is several times faster than a result at a time.
    """

    def __init__(self, results: Sequence[Result]) -> None:
        """Look at results.

        Raises:
            NotPlainError: One of them at least is not plain.
        """
        _demand(set(_pick("type", results)) == {"succeeded"})
        messages = _pick("message", results)
        _demand(None not in messages)
        contents = _pick("content", messages)
        _demand(set(map(len, contents)) == {1})
        blocks = [content[0] for content in contents]
        _demand(set(_pick("type", blocks)) == {"text"})
        self.texts: list[str] = _pick("text", blocks)
        self.model: list[Any] = _pick("model", messages)
        self.stop_reason: list[str | None] = _pick("stop_reason", messages)
        _demand(None not in self.model and UNUSABLE.isdisjoint(self.stop_reason))
        usages = _pick("usage", messages)
        _demand(None not in usages)
        _demand(_pick("server_tool_use", usages).count(None) == len(usages))
        self.service_tier: list[str | None] = _pick("service_tier", usages)
        self.geo: list[str | None] = _pick("inference_geo", usages)
        written = _pick("cache_creation", usages)
        _demand(None not in written)
        self.tokens = [
            _numbers("input_tokens", usages),
            _numbers("output_tokens", usages),
            _numbers("ephemeral_5m_input_tokens", written),
            _numbers("ephemeral_1h_input_tokens", written),
            _numbers("cache_read_input_tokens", usages),
        ]


class NotPlainError(Exception):
    """Among these results is one that must be looked at by itself."""


def _demand(fact: bool) -> None:
    if not fact:
        raise NotPlainError


def _pick(name: str, values: Sequence[Any]) -> list[Any]:
    return list(map(attrgetter(name), values))


def _numbers(name: str, values: Sequence[Any]) -> npt.NDArray[np.int64]:
    found = _pick(name, values)
    _demand(None not in found)
    return np.array(found, np.int64)


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
