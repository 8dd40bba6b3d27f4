"""Which row a result becomes: every type, stop reason and block of the API."""

from __future__ import annotations

import json
from typing import Any

import pytest

from batchkit_tasks.answers import answer_format, as_answer
from batchkit_tasks.parameters import ColumnsAnswer, OutputColumn, TextAnswer
from batchkit_tasks.pricing import Prices
from batchkit_tasks.rates import Usage
from batchkit_tasks.results import (
    PART_SCHEMA,
    answer_columns,
    is_credit_message,
    part_schema,
    retry_kind,
)
from tests.made_results import (
    MODEL,
    USAGE,
    collect,
    errored,
    line,
    row_of,
    succeeded,
    text_block,
)

TYPED = ColumnsAnswer(
    columns=[OutputColumn(name="label"), OutputColumn(name="score", type="number")]
)
FITTING = '{"label":"a","score":1}'


# ------------------------------------------------------------------ result types


def test_a_succeeded_result_keeps_text_tokens_and_cost():
    row = row_of(succeeded("Guten Tag 🦊"))

    assert row == {
        "position": 0,
        "status": "succeeded",
        "error_type": None,
        "error": None,
        "response": "Guten Tag 🦊",
        "model": MODEL,
        "stop_reason": "end_turn",
        "input_tokens": 100,
        "output_tokens": 10,
        "cache_creation_5m_tokens": 0,
        "cache_creation_1h_tokens": 0,
        "cache_read_tokens": 0,
        "cost_usd": 0.01,
        "service_tier": "batch",
        "raw": None,
    }


@pytest.mark.parametrize("request_id", [None, "workerreq_01"])
def test_an_error_nested_twice_is_told_with_type_and_message(request_id: str | None):
    row = row_of(errored("invalid_request_error", "max_tokens: too large", request_id))

    assert row["status"] == "errored"
    assert row["error_type"] == "invalid_request_error"
    assert row["error"] == "invalid_request_error: max_tokens: too large"
    assert row["response"] is None
    assert row["cost_usd"] == 0.0


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        ({"type": "api_error", "message": "Oh"}, "api_error", "api_error: Oh"),
        (
            {"type": "error", "error": {"type": "api_error", "message": None}},
            "api_error",
            "api_error: the API gave no message",
        ),
        (
            {"type": "error", "error": {"type": None, "message": ""}},
            "unknown_error",
            "unknown_error: the API gave no message",
        ),
        (None, "unknown_error", "unknown_error: the API gave no message"),
        ("boom", "unknown_error", "unknown_error: the API gave no message"),
        (
            {"type": "error", "error": {"type": "api_error", "message": 500}},
            "api_error",
            "api_error: the API gave no message",
        ),
    ],
)
def test_an_error_of_another_form_is_still_an_error_with_words(
    error: Any, kind: str, text: str
):
    row = row_of({"type": "errored", "error": error})

    assert (row["status"], row["error_type"], row["error"]) == ("errored", kind, text)


@pytest.mark.parametrize("kind", ["expired", "canceled"])
def test_what_was_never_run_is_not_billed(kind: str):
    row = row_of({"type": kind})

    assert (row["status"], row["error_type"]) == (kind, kind)
    assert row["error"].startswith(f"{kind}: ")
    assert row["cost_usd"] == 0.0


@pytest.mark.parametrize(
    "result",
    [
        {"type": "postponed", "until": "tomorrow"},
        {"type": "postponed", "message": {"content": [text_block("looks fine")]}},
        {"type": "succeeded"},
        {"type": "succeeded", "message": None},
        {"type": None},
        {},
        None,
        "succeeded",
    ],
)
def test_a_result_of_unknown_form_is_an_error_and_kept(result: Any):
    found = collect(line(0, result))

    row = found.part.to_pylist()[0]
    assert (row["status"], row["error_type"]) == ("errored", "unknown_result")
    assert row["error"]
    assert json.loads(row["raw"]) == result
    assert row["response"] is None
    assert row["cost_usd"] is None
    assert found.unknown == 1


def test_an_unknown_result_type_is_named():
    assert '"postponed"' in row_of({"type": "postponed"})["error"]


def test_a_row_without_a_line_is_missing_and_its_cost_unknown():
    found = collect(line(1, succeeded()), [0, 1])

    row = found.part.to_pylist()[0]
    assert (row["position"], row["status"], row["cost_usd"]) == (0, "missing", None)
    assert row["error"].startswith("missing: ")
    assert found.missing == 1


# ------------------------------------------------------------------ stop reasons


@pytest.mark.parametrize(
    "reason", ["end_turn", "stop_sequence", "tool_use", None, "new"]
)
def test_other_and_unknown_stop_reasons_pass_as_succeeded(reason: str | None):
    row = row_of(succeeded(stop_reason=reason))

    assert (row["status"], row["stop_reason"]) == ("succeeded", reason)
    assert row["error"] is None


@pytest.mark.parametrize("reason", ["max_tokens", "model_context_window_exceeded"])
def test_a_truncated_text_is_kept_and_told(reason: str):
    row = row_of(succeeded("Once upon", stop_reason=reason))

    assert (row["status"], row["error_type"]) == ("truncated", "truncated")
    assert row["response"] == "Once upon"
    assert "cut short" in row["error"]
    assert row["cost_usd"] == 0.01


def test_a_truncated_typed_answer_is_told_in_the_error():
    row = row_of(succeeded('{"label":"a', stop_reason="max_tokens"), answer=TYPED)

    assert row["status"] == "truncated"
    assert (row["label"], row["score"]) == (None, None)
    expected = 'stopped at max_tokens (1,024); the answer so far: {"label":"a'
    assert row["error"] == expected


def test_a_truncated_answer_that_happens_to_fit_is_not_taken():
    row = row_of(succeeded(FITTING, stop_reason="max_tokens"), answer=TYPED)

    assert (row["status"], row["label"]) == ("truncated", None)


def test_a_refusal_is_told_with_its_category_and_explanation():
    details = {"type": "refusal", "category": "cyber", "explanation": "Policy."}

    row = row_of(succeeded("No.", stop_reason="refusal", stop_details=details))

    assert (row["status"], row["error_type"]) == ("refused", "refused")
    assert row["error"] == "the model refused (cyber): Policy.; it said: No."
    assert row["response"] is None


@pytest.mark.parametrize("details", [None, {}, {"category": None, "explanation": None}])
def test_a_refusal_without_details_has_words(details: Any):
    row = row_of(succeeded("", stop_reason="refusal", stop_details=details))

    assert row["error"] == "the model refused"


def test_a_paused_turn_is_not_an_answer():
    row = row_of(succeeded("Let me look", stop_reason="pause_turn"))

    assert (row["status"], row["response"]) == ("paused", None)
    assert "Let me look" in row["error"]


# ----------------------------------------------------------------- content blocks


def test_text_blocks_are_joined_and_thinking_is_not_text():
    content = [
        {"type": "thinking", "thinking": "Hm", "signature": "x"},
        {"type": "redacted_thinking", "data": "x"},
        text_block("A"),
        {"type": "text", "text": "B", "citations": None},
    ]

    row = row_of(succeeded(content=content))

    assert (row["response"], row["raw"]) == ("AB", None)


@pytest.mark.parametrize(
    "block",
    [
        {
            "type": "tool_use",
            "id": "toolu_01",
            "name": "f",
            "input": {"ü": [1, 2.5]},
            "caller": {"type": "direct"},
        },
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
        {"type": "web_search_tool_result", "tool_use_id": "s", "content": []},
        {"type": "hologram", "text": {"not": "a text"}},
        {"type": "hologram", "text": "of something else"},
        {"no": "type"},
    ],
)
def test_a_message_without_text_gives_its_content_as_json(block: dict[str, Any]):
    result = succeeded(content=[block])

    row = row_of(result)

    assert row["status"] == "succeeded"
    assert json.loads(row["response"]) == [block]
    assert json.loads(row["raw"]) == result
    assert ": " not in row["response"]


def test_text_beside_unknown_blocks_is_the_answer_and_the_rest_is_kept():
    content = [{"type": "hologram", "data": 1}, text_block("A"), {"type": "x"}]

    row = row_of(succeeded(content=content))

    assert row["response"] == "A"
    assert json.loads(row["raw"])["message"]["content"] == content


@pytest.mark.parametrize(
    "content", [[], None, [{"type": "thinking", "thinking": "Hm"}]]
)
def test_a_message_that_says_nothing_is_an_empty_text(content: Any):
    row = row_of(succeeded(content=content))

    assert (row["status"], row["response"]) == ("succeeded", "")


def test_content_that_is_a_plain_text_is_read():
    assert row_of(succeeded(content="Hello"))["response"] == "Hello"


def test_half_characters_are_replaced_and_the_row_is_kept():
    data = line(0, succeeded("X")).replace(b'"X"', rb'"a\ud83d b \ud83e\udd8a"')

    row = collect(data).part.to_pylist()[0]

    assert (row["status"], row["response"]) == ("succeeded", "a\ufffd b 🦊")


# ---------------------------------------------------------------- typed answers


def test_a_fitting_answer_fills_its_columns():
    row = row_of(succeeded(FITTING), answer=TYPED)

    assert (row["status"], row["label"], row["score"]) == ("succeeded", "a", 1.0)
    assert row["error"] is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"label":"a"}', "'score' is a required property"),
        ('{"label":"a","score":"high"}', "$.score: 'high' is not of type 'number'"),
        ("Well, positive.", "not JSON"),
    ],
)
def test_an_answer_that_does_not_fit_is_told_with_its_text(text: str, told: str):
    row = row_of(succeeded(text), answer=TYPED)

    assert (row["status"], row["error_type"]) == ("invalid_answer", "invalid_answer")
    assert row["error"].startswith("does not fit the schema: ")
    assert told in row["error"]
    assert row["error"].endswith(f"; the answer: {text}")
    assert row["label"] is None
    assert row["cost_usd"] == 0.01


def test_an_empty_typed_answer_is_invalid():
    row = row_of(succeeded(content=[]), answer=TYPED)

    assert row["status"] == "invalid_answer"
    assert row["error"].endswith("the answer is empty")


def test_answer_columns_may_be_called_like_columns_of_the_part():
    schema = {"type": "object", "properties": {"model": {"type": "string"}}}
    answer = answer_format(as_answer(schema))

    row = row_of(succeeded('{"model":"T"}'), answer=answer)

    assert answer_columns(answer) == ("answer:model",)
    assert (row["answer:model"], row["model"]) == ("T", MODEL)


def test_a_part_has_the_answer_between_error_and_model():
    schema = part_schema(answer_format(TextAnswer(column="r")))

    assert schema.names[:6] == [
        "position",
        "status",
        "error_type",
        "error",
        "r",
        "model",
    ]
    assert len(schema) == len(PART_SCHEMA) + 1


def test_a_part_without_rows_has_its_columns():
    assert collect(b"", []).part.num_rows == 0


# ------------------------------------------------------------------------ usage


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


def test_the_price_sees_all_that_was_used():
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

    row_of(succeeded(usage=usage), price=lambda m, u: seen.append((m, u)))

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


# ------------------------------------------------------------------- sent again


@pytest.mark.parametrize(
    ("status", "error_type", "kind"),
    [
        ("succeeded", None, None),
        ("skipped", "skipped", None),
        ("oversized", "oversized", None),
        ("expired", "expired", "expired"),
        ("canceled", "canceled", "canceled"),
        ("missing", "missing", "missing"),
        ("truncated", "truncated", "truncated"),
        ("refused", "refused", "refused"),
        ("paused", "paused", "paused"),
        ("invalid_answer", "invalid_answer", "invalid_answer"),
        ("errored", "api_error", "api_error"),
        ("errored", "overloaded_error", "overloaded_error"),
        ("errored", "rate_limit_error", "rate_limit_error"),
        ("errored", "timeout_error", "timeout_error"),
        ("errored", "something_new_error", "api_error"),
        ("errored", "unknown_error", "api_error"),
        ("errored", "invalid_request_error", None),
        ("errored", "not_found_error", None),
        ("errored", "permission_error", None),
        ("errored", "authentication_error", None),
        ("errored", "unknown_result", None),
        ("errored", None, None),
    ],
)
def test_what_may_be_sent_again_goes_by_status_and_error_type(
    status: str, error_type: str | None, kind: str | None
):
    assert retry_kind(status, error_type) == kind


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            "invalid_request_error: Your credit balance is too low to access the "
            "Anthropic API. Please go to Plans & Billing.",
            True,
        ),
        ("billing_error: Payment is due.", True),
        ("invalid_request_error: max_tokens: too large", False),
        ("does not fit the schema: x; the answer: your credit balance is low", False),
        (None, False),
    ],
)
def test_used_up_credit_is_recognized_only_as_an_error_of_the_api(
    error: str | None, expected: bool
):
    assert is_credit_message(error) is expected
