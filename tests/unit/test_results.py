"""Which status a result gets: every type and stop reason, and what may go again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from batchkit_tasks.parameters import ColumnsAnswer, OutputColumn
from batchkit_tasks.results import (
    is_credit_message,
    retry_kind,
)
from tests.made_results import (
    MODEL,
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
