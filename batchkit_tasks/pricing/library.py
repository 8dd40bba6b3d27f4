"""Ask genai-prices, and believe it only where it cannot have gone wrong.

It works offline. Its traps: a wrong context key, or a moment before its first batch
prices, silently gives the full price; `inference_geo` is not known to it; and a longer
name of a known model is taken for that model.
"""

from __future__ import annotations

import importlib
import math
import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from batchkit_tasks.pricing.rates import US_FACTOR, WEB_SEARCH_USD, ModelPrice, Rates

BATCH_PRICES_KNOWN_FROM: Final = datetime(2026, 11, 22, tzinfo=UTC)
"""For an earlier moment genai-prices 0.2.3 gives full prices for most models."""


def bare(model: str) -> str:
    """Take the provider's prefix and the date from a model id."""
    name = model.strip().lower().removeprefix("anthropic/")
    return re.sub(r"([-@]\d{8}|-latest|@latest)$", "", name)


def _us_factor(name: str) -> float:
    """The surcharge is for models from 4.6 on; 4.5 and older have none."""
    version = [int(part) for part in re.findall(r"\d+", name)]
    return US_FACTOR if version >= [4, 6] else 1.0


def library_price(name: str, at: datetime | None) -> ModelPrice | None:
    """Ask genai-prices, today or, if its clock is behind, when batch prices began."""
    # Each step of a run asks anew, at five milliseconds a time.
    today = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    price = _priced_at(name, at or today)
    if price is None and at is None:
        return _priced_at(name, BATCH_PRICES_KNOWN_FROM)
    return price


@lru_cache(maxsize=64)
def _priced_at(name: str, at: datetime) -> ModelPrice | None:
    standard = _look_up(name, at, None)
    batch = _look_up(name, at, {"processing": "batch"})
    if standard is None or batch is None:
        return None
    steps = sorted({0} | _steps(standard) | _steps(batch))
    price: ModelPrice | None = None
    above: int | None = None
    for start in reversed(steps):
        full, half = _rates(standard, start), _rates(batch, start)
        if full is None or half is None or not half.is_below(full):
            return None
        price = ModelPrice(full, half, above, price, _us_factor(name))
        above = start
    return price


def _look_up(name: str, at: datetime | None, context: dict[str, str] | None) -> Any:
    """Give the library's prices of exactly this model, or `None`."""
    library: Any = importlib.import_module("genai_prices")
    try:
        found = library.calc_price(
            library.Usage(input_tokens=1),
            name,
            provider_id="anthropic",
            genai_request_timestamp=at,
            price_context=context,
        )
    except LookupError:
        return None
    # `claude-sonnet-4-6-fast` is matched with claude-sonnet-4-6 by its beginning.
    return found.model_price if bare(found.model.id) == name else None


KINDS: Final = (
    "input_mtok",
    "output_mtok",
    "cache_write_mtok",
    "cache_write_1h_mtok",
    "cache_read_mtok",
)


def _steps(price: Any) -> set[int]:
    """Prompt lengths, in tokens, above which prices change."""
    return {
        int(tier.start)
        for kind in KINDS
        for tier in getattr(getattr(price, kind, None), "tiers", ())
    }


def _rates(price: Any, start: int) -> Rates | None:
    amounts = [_amount(getattr(price, kind, None), start) for kind in KINDS]
    searches = getattr(price, "web_searches_kcount", None)
    search = WEB_SEARCH_USD if searches is None else float(searches) / 1000
    if any(math.isnan(amount) for amount in amounts):
        return None
    fresh, output, write_5m, write_1h, read = amounts
    return Rates(fresh, output, write_5m, write_1h, read, search)


def _amount(value: Any, start: int) -> float:
    if value is None:
        return math.nan
    for tier in reversed(getattr(value, "tiers", ())):
        if start >= tier.start:
            return float(tier.price)
    return float(getattr(value, "base", value))
