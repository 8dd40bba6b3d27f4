"""What the sandbox accepts, refuses and errs later: cases 7 to 12."""

from __future__ import annotations

from typing import Any

import anthropic
import msgspec
import pytest
from anthropic import Anthropic

from batchkit_tasks.sandbox.server import Sandbox
from tests.integration.sandbox_support import (
    BATCHES,
    MODEL,
    create,
    params_of,
    raw_client,
    requests_of,
    results_of,
)

PATTERN = "String should match pattern '^[a-zA-Z0-9_-]{1,64}$'"


def test_case_07_a_duplicate_custom_id_refuses_the_whole_batch(
    client: Anthropic,
) -> None:
    requests = requests_of("a", "b", "c")
    requests[2]["custom_id"] = "r0"

    with pytest.raises(anthropic.BadRequestError) as refused:
        client.messages.batches.create(requests=requests)

    assert (
        "requests: custom_id's must be unique within a batch. Duplicate custom_id "
        "found: r0"
    ) in refused.value.message
    assert client.messages.batches.list().data == []


@pytest.mark.parametrize(
    ("custom_id", "text"),
    [
        ("a.b", PATTERN),
        ("a b", PATTERN),
        ("ä", PATTERN),
        ("", PATTERN),
        ("x" * 65, "String should have at most 64 characters"),
    ],
)
def test_case_08_a_custom_id_has_64_plain_characters(
    sandbox: Sandbox, custom_id: str, text: str
) -> None:
    requests = requests_of("a", "b")
    requests[1]["custom_id"] = custom_id

    with raw_client(sandbox) as http:
        refused = http.post(BATCHES, json={"requests": requests})
        requests[1]["custom_id"] = "x" * 64
        accepted = http.post(BATCHES, json={"requests": requests})

    assert refused.status_code == 400
    assert refused.json()["error"] == {
        "type": "invalid_request_error",
        "message": f"requests.1.custom_id: {text}",
    }
    assert accepted.status_code == 200


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"requests": [{"params": {}}]}, "requests.0.custom_id: Field required"),
        (
            {"requests": [*requests_of("a"), {"custom_id": "b"}]},
            "requests.1.params: Field required",
        ),
        (
            {"requests": [{"custom_id": "b", "params": "text"}]},
            "requests.0.params: Input should be a valid dictionary",
        ),
        (
            {"requests": []},
            "requests: List should have at least 1 item after validation, not 0",
        ),
        (
            {"requests": requests_of("a"), "name": "mine"},
            "name: Extra inputs are not permitted",
        ),
        ({}, "requests: Field required"),
        (b'{"requests": [', "The request body is not valid JSON"),
        (b"", "The request body is not valid JSON"),
    ],
)
def test_case_09_a_body_of_the_wrong_shape_is_refused(
    sandbox: Sandbox, body: Any, text: str
) -> None:
    sent = body if isinstance(body, bytes) else msgspec.json.encode(body)

    with raw_client(sandbox) as http:
        answer = http.post(BATCHES, content=sent)

    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith(text)
    assert sandbox.ledger().batches() == []


def test_case_10_a_batch_has_at_most_100_000_requests(sandbox: Sandbox) -> None:
    params = msgspec.Raw(msgspec.json.encode(params_of("a")))
    requests = [{"custom_id": f"r{n}", "params": params} for n in range(100_001)]

    with raw_client(sandbox) as http:
        too_many = http.post(
            BATCHES, content=msgspec.json.encode({"requests": requests})
        )
        body = msgspec.json.encode({"requests": requests[:-1]})
        accepted = http.post(BATCHES, content=body)

    assert too_many.status_code == 400
    assert "at most 100000 items" in too_many.json()["error"]["message"]
    assert accepted.json()["request_counts"]["processing"] == 100_000


@pytest.mark.parametrize("form", ["html", "json"])
def test_case_10_a_body_over_the_limit_is_too_large(
    sandbox: Sandbox, client: Anthropic, form: str
) -> None:
    sandbox.settings.change(max_body_bytes=1000, too_large=form)

    with pytest.raises(anthropic.APIStatusError) as refused:
        create(client, "x" * 1000)

    assert refused.value.status_code == 413
    if form == "html":
        assert "<html>" in refused.value.response.text
    else:
        assert refused.value.response.json()["error"]["type"] == "request_too_large"
    create(client, "x" * 500)


def test_case_11_keys_are_refused_or_see_their_own_workspace(
    sandbox: Sandbox, client: Anthropic
) -> None:
    batch = create(client, "a")
    sandbox.accept_key("key-of-another", workspace="another")
    errors = {
        401: anthropic.AuthenticationError,
        402: anthropic.APIStatusError,
        403: anthropic.PermissionDeniedError,
    }
    for status in errors:
        sandbox.refuse_key(f"key-{status}", status)

    another = client.with_options(api_key="key-of-another")
    with pytest.raises(anthropic.NotFoundError):
        another.messages.batches.retrieve(batch.id)
    assert another.messages.batches.list().data == []
    for status, error in errors.items():
        with pytest.raises(error) as refused:
            client.with_options(api_key=f"key-{status}").messages.batches.list()
        assert refused.value.status_code == status


def test_case_11_a_key_can_be_revoked_while_a_batch_runs(
    sandbox: Sandbox, client: Anthropic
) -> None:
    batch = create(client, "a")
    key = sandbox.client_options["api_key"]

    sandbox.refuse_key(key)
    with pytest.raises(anthropic.AuthenticationError):
        client.messages.batches.retrieve(batch.id)
    sandbox.accept_key(key)

    assert client.messages.batches.retrieve(batch.id).id == batch.id


DEFERRED = [
    (params_of("x", messages=None), "messages: Field required"),
    ({**params_of("x"), "messages": []}, "messages: at least one message is required"),
    (params_of("x", model="claude-9"), "model: claude-9"),
    (params_of("x", max_tokens=None), "max_tokens: Field required"),
    (params_of("x", max_tokens=0), "max_tokens: Input should be greater than or equal"),
    (params_of("x", max_tokens=64_001), "max_tokens: 64001 > 64000, which is the max"),
    (params_of("x", stream=True), "stream: "),
    (params_of("x", speed="fast"), "speed: "),
    (params_of("x", store=True), "store: "),
    (params_of("x", fallbacks=[{"model": MODEL}]), "fallbacks: "),
    (params_of("x", previous_thread_event_id="e"), "previous_thread_event_id: "),
    (params_of("x", cache_hint="c"), "cache_hint: "),
    (params_of("x", context_hint="c"), "context_hint: "),
    (params_of("x", billing_policy={"bill_to": "user_profile"}), "billing_policy"),
    (params_of("x", betas=["one"]), "betas: Extra inputs are not permitted"),
    (params_of("x", temperature=0.5), "temperature: "),
    (
        params_of("x", thinking={"type": "enabled", "budget_tokens": 2000}),
        "thinking.type",
    ),
    (
        {
            **params_of("x"),
            "messages": [
                {"role": "user", "content": "x"},
                {"role": "assistant", "content": "{"},
            ],
        },
        "This model does not support assistant message prefill",
    ),
]


def test_case_12_params_are_validated_when_the_batch_runs(
    held_sandbox: Sandbox, held_client: Anthropic
) -> None:
    bad: list[Any] = [
        {"custom_id": f"bad-{number}", "params": params}
        for number, (params, _) in enumerate(DEFERRED)
    ]

    batch = held_client.messages.batches.create(requests=[*requests_of("good"), *bad])

    held_sandbox.end(batch.id)
    results = results_of(held_client, batch.id)
    assert results["r0"]["type"] == "succeeded"
    for number, (_, text) in enumerate(DEFERRED):
        error = results[f"bad-{number}"]["error"]["error"]
        assert error["message"].startswith(text)
        wrong_model = text.startswith("model")
        expected = "not_found_error" if wrong_model else "invalid_request_error"
        assert error["type"] == expected


def test_case_12_sampling_is_allowed_under_the_older_version(
    held_sandbox: Sandbox, held_client: Anthropic
) -> None:
    requests: Any = [{"custom_id": "a", "params": params_of("x", temperature=0.5)}]
    old = {"anthropic-version": "2023-06-01"}

    batch = held_client.messages.batches.create(requests=requests, extra_headers=old)

    held_sandbox.end(batch.id)
    assert results_of(held_client, batch.id)["a"]["type"] == "succeeded"


def test_case_12_the_extended_output_beta_raises_the_limit(
    held_sandbox: Sandbox, held_client: Anthropic
) -> None:
    long = params_of("x", model="claude-opus-5", max_tokens=300_000)
    requests: Any = [{"custom_id": "a", "params": long}]
    beta = {"anthropic-beta": "output-300k-2026-03-24"}

    batch = held_client.messages.batches.create(requests=requests, extra_headers=beta)

    held_sandbox.end(batch.id)
    assert results_of(held_client, batch.id)["a"]["type"] == "succeeded"


def test_the_queue_has_a_limit(held_sandbox: Sandbox, held_client: Anthropic) -> None:
    held_sandbox.settings.change(queue_limit=3)
    create(held_client, "a", "b")

    with pytest.raises(anthropic.RateLimitError, match="processing queue"):
        create(held_client, "c", "d")

    create(held_client, "c")


def test_half_of_a_surrogate_pair_is_refused(sandbox: Sandbox) -> None:
    body = msgspec.json.encode({"requests": requests_of("half MARK")})

    with raw_client(sandbox) as http:
        answer = http.post(BATCHES, content=body.replace(b"MARK", b"\\ud83d pair"))

    assert answer.status_code == 400
    assert "no low surrogate in string" in answer.json()["error"]["message"]


def test_bytes_that_are_no_text_do_not_stop_a_batch(
    held_sandbox: Sandbox, held_client: Anthropic
) -> None:
    body = msgspec.json.encode({"requests": requests_of("half MARK", "good")})

    with raw_client(held_sandbox) as http:
        batch = http.post(BATCHES, content=body.replace(b"MARK", b"\xff")).json()

    held_sandbox.end(batch["id"])
    kinds = {id: r["type"] for id, r in results_of(held_client, batch["id"]).items()}
    assert kinds == {"r0": "errored", "r1": "succeeded"}
