"""Results as nearly all are: a message of one text, and nothing odd about it.

They become columns many at a time. `is_plain` says which these are; for all others
`result_rows` judges one by one. Both ways give the same row for the same line.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from batchkit_tasks.rates import ManyUsages, Usage
from batchkit_tasks.result_lines import Result
from batchkit_tasks.result_rows import TRUNCATED, Price, Row

PriceMany = Callable[[str, ManyUsages], npt.NDArray[np.float64] | None]
"""As `Price`, for many requests of one model at once."""

UNUSABLE: Final = frozenset((*TRUNCATED, "refusal", "pause_turn"))
"""Stop reasons with which an answer is not usable."""


def is_plain(result: Result) -> bool:
    """Whether a result is one text, usable, with all its token counts."""
    message = result.message
    if result.type != "succeeded" or message is None or len(message.content) != 1:
        return False
    usage = message.usage
    if (
        message.content[0].type != "text"
        or message.stop_reason in UNUSABLE
        or message.model is None
        or usage is None
        or usage.server_tool_use is not None
    ):
        return False
    written = usage.cache_creation
    return (
        written is not None
        and usage.input_tokens is not None
        and usage.output_tokens is not None
        and usage.cache_read_input_tokens is not None
        and written.ephemeral_5m_input_tokens is not None
        and written.ephemeral_1h_input_tokens is not None
    )


_FACTS: Final = attrgetter(
    "message.model",
    "message.stop_reason",
    "message.usage.service_tier",
    "message.usage.inference_geo",
    "message.usage.input_tokens",
    "message.usage.output_tokens",
    "message.usage.cache_creation.ephemeral_5m_input_tokens",
    "message.usage.cache_creation.ephemeral_1h_input_tokens",
    "message.usage.cache_read_input_tokens",
)


_USAGE: Final = ManyUsages.__struct_fields__[:5]
_COUNTS: Final = (
    "input_tokens",
    "output_tokens",
    "cache_creation_5m_tokens",
    "cache_creation_1h_tokens",
    "cache_read_tokens",
)


def plain_columns(
    results: Sequence[Result], price: Price, price_many: PriceMany | None
) -> list[Any]:
    """Give the columns of `Row` for results that are all plain; `None`: all null.

    Args:
        results: One at least.
        price_many: Used where all are of one model; else each is priced alone.
    """
    texts: list[str] = [each.message.content[0].text for each in cast("Any", results)]
    model, stop, tier, geo, *counts = zip(*map(_FACTS, results), strict=True)
    tokens = [np.array(count, np.int64) for count in counts]
    columns: dict[str, Any] = {
        "status": pa.repeat("succeeded", len(texts)),
        "text": texts,
        "model": _strings(model),
        "stop_reason": _strings(stop),
        "cost_usd": _costs(model, geo, tokens, price, price_many),
        "service_tier": _strings(tier),
        **dict(zip(_COUNTS, tokens, strict=True)),
    }
    return [columns.get(name) for name in Row._fields]


def _strings(values: Sequence[str | None]) -> pa.Array:
    first = values[0]
    if values.count(first) == len(values):
        return pa.repeat(pa.scalar(first, pa.string()), len(values))
    return pa.array(values, pa.string())


def _costs(
    model: Sequence[str],
    geo: Sequence[str | None],
    tokens: list[npt.NDArray[np.int64]],
    price: Price,
    price_many: PriceMany | None,
) -> Any:
    fields: dict[str, Any] = dict(zip(_USAGE, tokens, strict=True))
    one = model.count(model[0]) == len(model) and geo.count(geo[0]) == len(geo)
    if price_many is not None and one:
        costs = price_many(model[0], ManyUsages(**fields, inference_geo=geo[0]))
        return pa.nulls(len(model), pa.float64()) if costs is None else costs
    rows = zip(*(column.tolist() for column in tokens), strict=True)
    return [
        price(name, Usage(**dict(zip(fields, row, strict=True)), inference_geo=where))
        for name, where, row in zip(model, geo, rows, strict=True)
    ]
