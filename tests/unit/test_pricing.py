"""What a message batch costs: each row of the price table, and each trap."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import genai_prices
import msgspec
import pytest

from batchkit_tasks.errors import ParameterError
from batchkit_tasks.pricing import ModelPrice, Prices, Rates, Usage, estimate_batch_cost

MILLION = 1_000_000

# USD per million tokens: input, 5-minute write, 1-hour write, cache read, output.
PRICE_TABLE = {
    "claude-fable-5-2": (8, 10, 16, 0.20, 40),
    "claude-mythos-5-2": (8, 10, 16, 0.20, 40),
    "claude-fable-5-1": (10, 12.50, 20, 0.25, 50),
    "claude-mythos-5-1": (10, 12.50, 20, 0.25, 50),
    "claude-fable-5": (10, 12.50, 20, 1, 50),
    "claude-mythos-5": (10, 12.50, 20, 1, 50),
    "claude-opus-5-5": (4, 5, 8, 0.20, 20),
    "claude-opus-5": (5, 6.25, 10, 0.50, 25),
    "claude-opus-4-8": (5, 6.25, 10, 0.50, 25),
    "claude-opus-4-7": (5, 6.25, 10, 0.50, 25),
    "claude-opus-4-6": (5, 6.25, 10, 0.50, 25),
    "claude-opus-4-5": (5, 6.25, 10, 0.50, 25),
    "claude-sonnet-5-5": (2, 2.50, 4, 0.10, 10),
    "claude-sonnet-5": (2, 2.50, 4, 0.20, 10),
    "claude-sonnet-4-6": (3, 3.75, 6, 0.30, 15),
    "claude-sonnet-4-5": (3, 3.75, 6, 0.30, 15),
    "claude-haiku-5-5": (0.10, 0.125, 0.20, 0.01, 0.50),
    "claude-haiku-4-5": (1, 1.25, 2, 0.10, 5),
}
KINDS = (
    "input_tokens",
    "cache_creation_5m",
    "cache_creation_1h",
    "cache_read",
    "output_tokens",
)
FROM_4_6_ON = [name for name in PRICE_TABLE if not name.endswith("4-5")]


def used(kind: str, count: int) -> Usage:
    return msgspec.convert({kind: count}, Usage)


@pytest.fixture(scope="module")
def prices() -> Prices:
    return Prices()


@pytest.mark.parametrize("model", PRICE_TABLE)
@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_costs_half_of_each_token_price(prices: Prices, model: str, kind: str):
    full = PRICE_TABLE[model][KINDS.index(kind)] * 10_000 / MILLION
    usage = used(kind, 10_000)

    assert prices.cost(model, usage) == pytest.approx(full / 2, rel=1e-12)
    assert prices.standard_cost(model, usage) == pytest.approx(full, rel=1e-12)


@pytest.mark.parametrize("model", ["claude-haiku-5-5", "claude-haiku-5-5-20261007"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_long_prompt_makes_the_whole_request_dearer(
    prices: Prices, model: str, kind: str
):
    full = (0.50, 0.625, 1.00, 0.05, 2.50)[KINDS.index(kind)]
    fresh = 0 if kind == "input_tokens" else 100_001

    usage = msgspec.structs.replace(used(kind, 100_001), input_tokens=fresh or 100_001)
    cost = prices.cost(model, usage)

    expected = (100_001 * full + fresh * 0.50) / MILLION / 2
    assert cost == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("usage", "is_long"),
    [
        (Usage(input_tokens=100_000), False),
        (Usage(input_tokens=100_001), True),
        (Usage(input_tokens=1, cache_read=100_000), True),
        (
            Usage(input_tokens=1, cache_creation_5m=50_000, cache_creation_1h=50_000),
            True,
        ),
        (Usage(cache_read=50_000, cache_creation_5m=50_000), False),
        (Usage(input_tokens=1, output_tokens=200_000), False),
    ],
)
def test_the_whole_prompt_counts_for_its_length(
    prices: Prices, usage: Usage, is_long: bool
):
    price = prices.price("claude-haiku-5-5")

    assert price
    cost = prices.cost("claude-haiku-5-5", usage)
    rates = price.batch_rates(100_001 if is_long else 0)
    assert cost == rates.cost(usage)
    assert rates.input == (0.25 if is_long else 0.05)


@pytest.mark.parametrize("model", FROM_4_6_ON)
def test_us_inference_costs_a_tenth_more_for_tokens_only(prices: Prices, model: str):
    here = Usage(input_tokens=1000, output_tokens=10, cache_read=5, web_searches=2)
    there = Usage(
        input_tokens=1000,
        output_tokens=10,
        cache_read=5,
        web_searches=2,
        inference_geo="us",
    )

    usual, us = prices.cost(model, here), prices.cost(model, there)

    assert usual
    assert us == pytest.approx((usual - 0.02) * 1.1 + 0.02, rel=1e-12)


@pytest.mark.parametrize(
    ("model", "place"),
    [
        ("claude-haiku-4-5", "us"),
        ("claude-sonnet-4-5-20250929", "us"),
        ("claude-opus-5", "global"),
        ("claude-opus-5", "eu"),
        ("claude-opus-5", None),
    ],
)
def test_other_places_and_older_models_have_no_surcharge(
    prices: Prices, model: str, place: str | None
):
    usage = Usage(input_tokens=10, inference_geo=place)

    assert prices.cost(model, usage) == prices.cost(model, Usage(input_tokens=10))


def test_web_searches_are_not_cheaper_in_a_batch(prices: Prices):
    usage = Usage(web_searches=3)

    assert prices.cost("claude-opus-5-5", usage) == pytest.approx(0.03)
    assert prices.standard_cost("claude-opus-5-5", usage) == pytest.approx(0.03)


@pytest.mark.parametrize(
    "model",
    [
        "claude-nova-1",
        "claude-opus-5-9",
        "claude-haiku-6",
        "claude-sonnet-4-6-fast",
        "claude-mythos-preview",
        "gpt-4",
        "",
        "claude",
    ],
)
def test_an_unknown_model_has_no_price(prices: Prices, model: str):
    assert prices.cost(model, Usage(input_tokens=1)) is None
    assert prices.standard_cost(model, Usage(input_tokens=1)) is None
    assert prices.rates(model) is None


@pytest.mark.parametrize("model", ["claude-opus-4-1", "claude-3-5-haiku-20241022"])
def test_a_model_without_a_batch_price_counts_as_unknown(prices: Prices, model: str):
    assert prices.rates(model) is None


@pytest.mark.parametrize(
    "model",
    [
        "claude-haiku-4-5-20251001",
        "anthropic/claude-haiku-4-5",
        "anthropic/claude-haiku-4-5-20251001",
        "claude-haiku-4-5@20251001",
        "Claude-Haiku-4-5",
    ],
)
def test_dates_and_the_providers_prefix_do_not_matter(prices: Prices, model: str):
    assert prices.rates(model) == prices.rates("claude-haiku-4-5")


def test_nothing_used_costs_nothing(prices: Prices):
    assert prices.cost("claude-haiku-4-5", Usage()) == 0.0


# --------------------------------------------------------------- traps and tables


def test_the_library_gives_the_full_price_for_a_wrong_context_and_we_do_not():
    usage = genai_prices.Usage(input_tokens=MILLION)
    wrong = genai_prices.calc_price(
        usage,
        "claude-haiku-4-5",
        provider_id="anthropic",
        price_context={"service_tier": "batch"},
    )

    ours = Prices().cost("claude-haiku-4-5", Usage(input_tokens=MILLION))

    assert float(wrong.total_price) == 1.0  # the trap
    assert ours == 0.5


def test_a_moment_before_the_first_batch_prices_gives_no_price():
    before = Prices(at=datetime(2026, 1, 1, tzinfo=UTC))

    assert before.rates("claude-haiku-4-5") is None


def test_a_price_given_by_the_user_wins():
    own = ModelPrice(Rates(100, 200, 125, 200, 10))
    prices = Prices({"claude-haiku-4-5": own, "claude-nova-1-20270101": own})
    usage = Usage(input_tokens=MILLION, output_tokens=MILLION)

    assert prices.cost("claude-haiku-4-5-20251001", usage) == 150.0
    assert prices.cost("claude-nova-1", usage) == 150.0
    assert prices.standard_cost("claude-nova-1-20270101", usage) == 300.0
    assert prices.rates("claude-sonnet-4-6") == Prices().rates("claude-sonnet-4-6")


def test_a_batch_price_given_by_the_user_is_taken_as_it_is():
    half = Rates(1, 2, 3, 4, 5, web_search_usd=0)
    own = ModelPrice(Rates(4, 4, 4, 4, 6), batch=half, us_factor=2)
    usage = Usage(input_tokens=MILLION, web_searches=9, inference_geo="us")

    assert Prices({"m": own}).cost("m", usage) == 2.0


# ---------------------------------------------------------------------- estimates


def test_the_estimate_compares_one_by_one_with_a_batch():
    found = estimate_batch_cost(500, 1200, 400)

    assert found == {"standard_usd": 4.80, "batch_usd": 2.40, "savings_usd": 2.40}


def test_the_estimate_knows_long_prompts():
    found = estimate_batch_cost(10, 200_000, 1000, model="claude-haiku-5-5")

    assert found["standard_usd"] == pytest.approx(10 * (0.5 * 0.2 + 2.5 * 0.001))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            (1, 1, 1, "claude-nova-1"),
            "model: The price of 'claude-nova-1' is not known",
        ),
        ((-1, 1, 1), "num_requests: -1 cannot be"),
        ((1, float("nan"), 1), "avg_input_tokens: nan cannot be"),
        ((1, 1, float("inf")), "avg_output_tokens: inf cannot be"),
    ],
)
def test_an_estimate_that_cannot_be_made_says_why(
    arguments: tuple[Any, ...], told: str
):
    with pytest.raises(ParameterError, match=told):
        estimate_batch_cost(*arguments)
