"""A price table of the user's own: for contracts, new models and private ones.

    {"claude-haiku-5-5": {"input": 0.08, "output": 0.40},
     "my-model": {"input": 3, "output": 15, "cache_read": 0.3,
                  "batch": {"input": 1, "output": 5, "cache_read": 0.1}}}

USD per million tokens at full price; a batch costs half, unless `batch` says what. Cache
prices that are left out are taken to be high rather than low: 1.25 and 2 times the input
price for writes, and the whole input price for reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from batchkit_tasks.errors import ParameterError
from batchkit_tasks.pricing.rates import WEB_SEARCH_USD, ModelPrice, Rates

PARAMETER: Final = "advanced.prices"


class _Rates(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    input: float
    output: float
    cache_write_5m: float | None = None
    cache_write_1h: float | None = None
    cache_read: float | None = None
    web_search_usd: float = WEB_SEARCH_USD


class _Price(_Rates, frozen=True, forbid_unknown_fields=True):
    batch: _Rates | None = None
    us_factor: float = 1.1


def read_price_table(text: str) -> Mapping[str, ModelPrice]:
    """Read a table of prices by model id, with or without the id's date.

    Raises:
        ParameterError: It is no JSON of that form, or a price is negative.
    """
    try:
        table = msgspec.json.decode(text.strip() or "{}", type=dict[str, _Price])
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise ParameterError(PARAMETER, f"{error}.") from None
    return {model: _price(model, price) for model, price in table.items()}


def _price(model: str, price: _Price) -> ModelPrice:
    return ModelPrice(
        standard=_rates(model, price),
        batch=price.batch and _rates(model, price.batch),
        us_factor=price.us_factor,
    )


def _rates(model: str, given: _Rates) -> Rates:
    fresh = given.input
    found = Rates(
        input=fresh,
        output=given.output,
        cache_write_5m=_or(given.cache_write_5m, 1.25 * fresh),
        cache_write_1h=_or(given.cache_write_1h, 2 * fresh),
        cache_read=_or(given.cache_read, fresh),
        web_search_usd=given.web_search_usd,
    )
    amounts: list[Any] = [fresh, found.output, found.cache_write_5m]
    amounts += [found.cache_write_1h, found.cache_read, found.web_search_usd]
    if min(amounts) < 0:
        raise ParameterError(PARAMETER, f"a price of {model} is below 0.")
    return found


def _or(value: float | None, other: float) -> float:
    return other if value is None else value
