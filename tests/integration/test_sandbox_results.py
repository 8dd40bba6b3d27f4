"""What comes back: cases 13, 14, 28 and 29."""

from __future__ import annotations

import tracemalloc
from typing import Any

import msgspec
import pytest
from anthropic import Anthropic
from anthropic.types.messages import MessageBatch

from batchkit_tasks.sandbox import answer_text
from batchkit_tasks.sandbox.errored import CREDIT_TEXT
from batchkit_tasks.sandbox.server import Sandbox
from tests.integration.sandbox_support import (
    BATCHES,
    create,
    ended,
    lines_of,
    params_of,
    results_of,
)


def test_the_answer_is_the_one_that_anyone_can_compute(
    held_sandbox: Sandbox, held_client: Anthropic
) -> None:
    _, results = ended(held_sandbox, held_client, "What is it? äöü 😀")

    text = results["r0"]["message"]["content"][0]["text"]

    assert text == answer_text(params_of("What is it? äöü 😀"))
    assert text.startswith("[sandbox] ")


def test_case_13_an_errored_line_is_nested_twice(
    held_sandbox: Sandbox, held_client: Anthropic
) -> None:
    picture = {"type": "url", "url": "https://pictures.invalid/a.png"}
    asked = [{"role": "user", "content": [{"type": "image", "source": picture}]}]
    requests: Any = [
        {"custom_id": "early", "params": params_of("x", model="no-model")},
        {"custom_id": "late", "params": {**params_of(""), "messages": asked}},
    ]

    batch = held_client.messages.batches.create(requests=requests)

    held_sandbox.end(batch.id)
    results = results_of(held_client, batch.id)
    assert results["early"] == {
        "type": "errored",
        "error": {
            "type": "error",
            "error": {
                "type": "not_found_error",
                "message": "model: no-model",
                "details": {"error_visibility": "user_facing"},
            },
            "request_id": None,
        },
    }
    assert results["late"]["error"]["request_id"].startswith("workerreq_")
    assert results["late"]["error"]["error"]["type"] == "invalid_request_error"


def test_case_14_errors_that_may_be_resent_come_beside_those_that_may_not(
    held_sandbox: Sandbox, held_client: Anthropic
) -> None:
    batch, results = ended(
        held_sandbox,
        held_client,
        "[[errored:api_error]]",
        "[[errored:overloaded_error]]",
        "[[errored:invalid_request_error]]",
        "[[credit]]",
    )

    errors = [results[f"r{number}"]["error"]["error"] for number in range(4)]
    assert [error["type"] for error in errors] == [
        "api_error",
        "overloaded_error",
        "invalid_request_error",
        "invalid_request_error",
    ]
    assert errors[3]["message"] == CREDIT_TEXT
    assert batch.request_counts.errored == 4


def test_case_28_a_hundred_thousand_lines_leave_the_client_flat(
    sandbox: Sandbox, client: Anthropic
) -> None:
    params = msgspec.Raw(msgspec.json.encode(params_of("a")))
    requests = [{"custom_id": f"r{n}", "params": params} for n in range(100_000)]
    body = msgspec.json.encode({"requests": requests})
    json_header: Any = {"headers": {"content-type": "application/json"}}
    batch = client.post(
        BATCHES, content=body, cast_to=MessageBatch, options=json_header
    )
    sandbox.end(batch.id)
    assert (
        client.messages.batches.retrieve(batch.id).request_counts.succeeded == 100_000
    )

    tracemalloc.start()
    lines = 0
    with client.messages.batches.with_streaming_response.results(batch.id) as answer:
        for chunk in answer.http_response.iter_bytes(65536):
            lines += chunk.count(b"\n")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert lines == 100_000
    assert peak < 16_000_000


def test_case_28_a_line_may_have_more_than_a_megabyte(
    held_sandbox: Sandbox, held_client: Anthropic
) -> None:
    _, results = ended(held_sandbox, held_client, "[[long:1200000]]", "short")

    text = results["r0"]["message"]["content"][0]["text"]

    assert len(text) == 1_200_000
    assert len(text.encode()) > 1_200_000


def message_of(
    sandbox: Sandbox, client: Anthropic, text: str, **fields: Any
) -> dict[str, Any]:
    """Return the message that answers one prompt."""
    requests: Any = [{"custom_id": "a", "params": params_of(text, **fields)}]
    batch = client.messages.batches.create(requests=requests)
    sandbox.end(batch.id)
    return results_of(client, batch.id)["a"]["message"]


@pytest.mark.parametrize(
    ("marker", "stop_reason"),
    [
        ("refusal", "refusal"),
        ("partial_refusal", "refusal"),
        ("max_tokens", "max_tokens"),
        ("needs:101", "max_tokens"),
        ("needs:100", "end_turn"),
        ("context_window", "model_context_window_exceeded"),
        ("pause_turn", "pause_turn"),
        ("stop_sequence", "stop_sequence"),
        ("tool_use", "tool_use"),
        ("unknown_stop", "sandbox_unheard_of"),
        ("unheard_of_marker", "end_turn"),
    ],
)
def test_case_29_a_message_stops_for_many_reasons(
    held_sandbox: Sandbox, held_client: Anthropic, marker: str, stop_reason: str
) -> None:
    message = message_of(held_sandbox, held_client, f"do it [[{marker}]]")

    assert message["stop_reason"] == stop_reason
    assert message["model"] == "claude-haiku-5-5-20261007"
    assert ("stop_details" in message and message["stop_details"] is not None) == (
        stop_reason == "refusal"
    )


def test_case_29_a_refusal_has_no_content_and_is_not_billed(
    held_sandbox: Sandbox, held_client: Anthropic
) -> None:
    texts = ("[[refusal]]", "[[partial_refusal]]", "good", "[[errored:api_error]]")
    batch, results = ended(held_sandbox, held_client, *texts)

    assert results["r0"]["message"]["content"] == []
    assert results["r0"]["message"]["usage"]["output_tokens"] > 0
    assert results["r0"]["message"]["stop_details"]["category"] == "cyber"
    assert held_sandbox.ledger().billed(batch.id).keys() == {"r1", "r2"}


def test_case_29_content_has_many_kinds_of_blocks(
    held_sandbox: Sandbox, held_client: Anthropic
) -> None:
    texts = ("[[thinking]]", "[[unknown_block]]", "[[web_search]]", "[[tool_use]]")
    _, results = ended(held_sandbox, held_client, *texts)

    contents = [results[f"r{number}"]["message"]["content"] for number in range(4)]
    kinds = [[block["type"] for block in content] for content in contents]
    assert kinds == [
        ["thinking", "text"],
        ["hologram", "text"],
        ["server_tool_use", "web_search_tool_result", "text"],
        ["tool_use"],
    ]
    assert contents[3][0]["caller"] == {"type": "direct"}


def test_case_29_usage_tells_caches_searches_and_places(
    held_sandbox: Sandbox, held_client: Anthropic
) -> None:
    texts = (
        "[[cache]]",
        "[[web_search]]",
        "[[us]]",
        "[[extra_usage]]",
        "[[sparse_usage]]",
    )
    _, results = ended(held_sandbox, held_client, *texts)

    usages = [results[f"r{number}"]["message"]["usage"] for number in range(5)]
    assert usages[0]["cache_creation"] == {
        "ephemeral_5m_input_tokens": 100,
        "ephemeral_1h_input_tokens": 200,
    }
    assert usages[0]["cache_creation_input_tokens"] == 300
    assert usages[0]["cache_read_input_tokens"] == 700
    assert usages[1]["server_tool_use"]["web_search_requests"] == 3
    assert usages[2]["inference_geo"] == "us"
    assert usages[3]["sandbox_extra_tokens"] == 7
    assert usages[4].keys() <= {
        *("input_tokens", "output_tokens", "cache_creation_input_tokens"),
    }
    assert usages[0]["service_tier"] == "batch"


SCHEMA = {
    "type": "object",
    "properties": {"kind": {"enum": ["a", "b"]}, "sure": {"type": "boolean"}},
    "required": ["kind", "sure"],
    "additionalProperties": False,
}


def test_case_29_a_structured_answer_fits_its_schema(
    held_sandbox: Sandbox, held_client: Anthropic
) -> None:
    config = {"format": {"type": "json_schema", "schema": SCHEMA}}

    message = message_of(held_sandbox, held_client, "row", output_config=config)

    text = message["content"][0]["text"]
    assert text == answer_text(params_of("row", output_config=config))
    answer = msgspec.json.decode(text)
    assert answer["kind"] in ("a", "b")
    assert isinstance(answer["sure"], bool)


def test_case_29_a_structured_answer_can_be_wrong(
    held_sandbox: Sandbox, held_client: Anthropic
) -> None:
    config = {"format": {"type": "json_schema", "schema": SCHEMA}}

    misfit = message_of(held_sandbox, held_client, "[[bad_json]]", output_config=config)
    broken = message_of(held_sandbox, held_client, "[[not_json]]", output_config=config)

    assert isinstance(msgspec.json.decode(misfit["content"][0]["text"]), list)
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(broken["content"][0]["text"])


def test_case_29_an_unknown_result_type_passes_through(
    held_sandbox: Sandbox, held_client: Anthropic
) -> None:
    batch, results = ended(held_sandbox, held_client, "[[unknown_type]]")

    assert results["r0"]["type"] == "postponed"
    assert batch.request_counts.errored == 1


def test_a_tool_that_must_be_used_is_used(
    held_sandbox: Sandbox, held_client: Anthropic
) -> None:
    tool = {"name": "label", "input_schema": SCHEMA}
    choice = {"type": "tool", "name": "label"}

    message = message_of(
        held_sandbox, held_client, "row", tools=[tool], tool_choice=choice
    )

    block = message["content"][0]
    assert (block["type"], block["name"]) == ("tool_use", "label")
    assert block["input"]["kind"] in ("a", "b")


def test_rows_can_be_missing_doubled_foreign_expired_and_canceled(
    held_sandbox: Sandbox, held_client: Anthropic
) -> None:
    names = ("missing", "duplicate", "foreign", "expired", "canceled")
    batch = create(held_client, *(f"[[{name}]]" for name in names), "good")
    held_sandbox.end(batch.id)

    ids = sorted(line["custom_id"] for line in lines_of(held_client, batch.id))

    assert ids == sorted(["r1", "r1", "r2", "foreign-row-0", "r3", "r4", "r5"])
    counts = held_client.messages.batches.retrieve(batch.id).request_counts
    assert (counts.succeeded, counts.expired, counts.canceled) == (4, 1, 1)


def test_an_ending_can_wear_off(held_sandbox: Sandbox, held_client: Anthropic) -> None:
    texts = ("[[once:errored:api_error]]", "[[times:2:expired]]")

    kinds: list[list[str]] = []
    for _ in range(3):
        _, results = ended(held_sandbox, held_client, *texts)
        kinds.append([results["r0"]["type"], results["r1"]["type"]])

    assert kinds == [
        ["errored", "expired"],
        ["succeeded", "expired"],
        ["succeeded", "succeeded"],
    ]


def test_a_batch_canceled_with_odd_rows_keeps_one_line_for_each(
    held_sandbox: Sandbox, held_client: Anthropic
) -> None:
    held_sandbox.settings.change(cancel_share=0.0)
    batch = create(held_client, "[[duplicate]]", "[[missing]]", "a", "[[long:5000]]")

    held_client.messages.batches.cancel(batch.id)
    held_sandbox.end(batch.id)

    results = lines_of(held_client, batch.id)
    assert {line["result"]["type"] for line in results} == {"canceled"}
    assert sorted(line["custom_id"] for line in results) == ["r0", "r2", "r3"]
