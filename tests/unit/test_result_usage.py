"""What a row used and cost: every form of usage."""

from __future__ import annotations

from typing import Any

import pytest

from batchkit_tasks.pricing import Prices
from batchkit_tasks.pricing.rates import Usage
from tests.made_results import (
    MODEL,
    USAGE,
    collect,
    line,
    row_of,
    succeeded,
)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"cache_creation": {"ephemeral_5m_input_tokens": 7,
                                "ephemeral_1h_input_tokens": 9}},
            (7, 9, 0),
        ),
        ({"cache_creation": None, "cache_creation_input_tokens": 5}, (5, None, 0)),
        (
            {"cache_creation": {"ephemeral_1h_input_tokens": 3},
             "cache_creation_input_tokens": 5},
            (2, 3, 0),
        ),
        (
            {"cache_creation": {}, "cache_creation_input_tokens": None,
             "cache_read_input_tokens": None},
            (None, None, None),
        ),
        ({"cache_read_input_tokens": 4}, (0, 0, 4)),
    ],
)  # fmt: skip
def test_cache_tokens_are_read_in_each_form(changes: Any, expected: Any):
    row = row_of(succeeded(usage=USAGE | changes))

    names = (
        "cache_creation_5m_tokens",
        "cache_creation_1h_tokens",
        "cache_read_tokens",
    )
    assert tuple(row[name] for name in names) == expected


def test_null_and_absent_usage_fields_and_extra_keys_do_no_harm():
    usage = {"input_tokens": 1, "output_tokens": 2, "moon_tokens": {"full": 3}}
    nulls = dict.fromkeys(USAGE) | usage

    assert row_of(succeeded(usage=usage))["cost_usd"] == 0.01
    assert row_of(succeeded(usage=nulls))["input_tokens"] == 1


@pytest.mark.parametrize(
    "usage", [None, {}, {"input_tokens": 5}, {"input_tokens": None, "output_tokens": 1}]
)
def test_without_both_counts_the_cost_is_unknown(usage: Any):
    assert row_of(succeeded(usage=usage))["cost_usd"] is None


@pytest.mark.parametrize("count", [-1, 2**60, 2**70, "12", 1.5, True, [1]])
def test_a_nonsensical_count_is_no_count(count: Any):
    row = row_of(succeeded(usage=USAGE | {"input_tokens": count}))

    assert (row["status"], row["input_tokens"], row["cost_usd"]) == (
        "succeeded",
        None,
        None,
    )


def test_a_whole_number_with_a_point_is_a_count():
    row = row_of(succeeded(usage=USAGE | {"input_tokens": 12.0}))

    assert row["input_tokens"] == 12


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_the_price_sees_all_that_was_used(end: bytes):
    seen: list[tuple[str, Usage]] = []
    usage = USAGE | {
        "cache_creation": {
            "ephemeral_5m_input_tokens": 1,
            "ephemeral_1h_input_tokens": 2,
        },
        "cache_read_input_tokens": 3,
        "inference_geo": "us",
        "server_tool_use": {"web_search_requests": 4, "web_fetch_requests": 5},
    }

    data = line(0, succeeded(usage=usage)) + end
    collect(data, price=lambda m, u: seen.append((m, u)))

    expected = Usage(
        input_tokens=100,
        output_tokens=10,
        cache_creation_5m=1,
        cache_creation_1h=2,
        cache_read=3,
        inference_geo="us",
        web_searches=4,
        service_tier="batch",
    )
    assert seen == [(MODEL, expected)]


def test_a_refusal_with_empty_content_costs_nothing():
    empty = row_of(succeeded(content=[], stop_reason="refusal"))
    late = row_of(succeeded("I was about to", stop_reason="refusal"))

    assert (empty["cost_usd"], late["cost_usd"]) == (0.0, 0.01)


def test_an_unknown_price_stays_unknown():
    row = row_of(succeeded(model="claude-nova-9"), price=Prices().cost)

    assert (row["status"], row["cost_usd"]) == ("succeeded", None)
