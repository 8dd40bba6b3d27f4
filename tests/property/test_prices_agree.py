"""Our quick sums and the price library's own: the same money."""

from __future__ import annotations

import genai_prices
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkit_tasks.pricing import Prices, Usage

MODELS = (
    "claude-fable-5-2",
    "claude-fable-5",
    "claude-opus-5-5",
    "claude-sonnet-4-6",
    "claude-sonnet-4-5",
    "claude-haiku-5-5",
    "claude-haiku-4-5-20251001",
)
PRICES = Prices()

tokens = st.one_of(
    st.integers(0, 3000), st.integers(0, 300_000), st.sampled_from([99_999, 100_000])
)
usages = st.builds(
    Usage,
    input_tokens=tokens,
    output_tokens=tokens,
    cache_creation_5m=tokens,
    cache_creation_1h=tokens,
    cache_read=tokens,
    web_searches=st.integers(0, 9),
)


def library_cost(model: str, usage: Usage, *, batch: bool) -> float:
    written = usage.cache_creation_5m + usage.cache_creation_1h
    found = genai_prices.calc_price(
        genai_prices.Usage(
            input_tokens=usage.prompt_tokens,
            output_tokens=usage.output_tokens,
            cache_write_tokens=written,
            cache_write_1h_tokens=usage.cache_creation_1h,
            cache_read_tokens=usage.cache_read,
            web_searches=usage.web_searches,
        ),
        model,
        provider_id="anthropic",
        price_context={"processing": "batch"} if batch else None,
    )
    return float(found.total_price)


@given(st.sampled_from(MODELS), usages)
def test_our_sum_is_the_librarys(model: str, usage: Usage):
    batch, full = PRICES.cost(model, usage), PRICES.standard_cost(model, usage)

    assert batch == pytest.approx(library_cost(model, usage, batch=True), rel=1e-9)
    assert full == pytest.approx(library_cost(model, usage, batch=False), rel=1e-9)


@given(st.sampled_from([*MODELS, "claude-mythos-5"]), usages)
def test_a_batch_is_never_dearer_and_tokens_cost_half(model: str, usage: Usage):
    batch, full = PRICES.cost(model, usage), PRICES.standard_cost(model, usage)

    assert batch is not None
    assert full is not None
    searches = usage.web_searches * 0.01
    assert (batch - searches) * 2 == pytest.approx(full - searches, abs=1e-9)
