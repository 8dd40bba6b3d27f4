"""The life of a batch in the sandbox: cases 1 to 6, 15 to 20 and 30 of the contract."""

from __future__ import annotations

from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

import anthropic
import pytest
from anthropic import Anthropic, AnthropicError, NotFoundError

from batchkit_tasks.sandbox.server import Sandbox
from tests.integration.sandbox_support import (
    BATCHES,
    create,
    ended,
    lines_of,
    raw_client,
    requests_of,
    results_of,
)

KEYS = {
    *("id", "type", "processing_status", "request_counts", "created_at"),
    *("expires_at", "ended_at", "cancel_initiated_at", "archived_at", "results_url"),
}


@pytest.mark.parametrize(
    "header", [{"authorization": "Bearer k"}, {"x-api-key": "k"}], ids=["bearer", "key"]
)
def test_case_01_a_created_batch_has_ten_keys(
    held_sandbox: Sandbox, header: dict[str, str]
) -> None:
    with raw_client(held_sandbox, key="") as http:
        http.headers.update(header)

        answer = http.post(BATCHES, json={"requests": requests_of("a", "b")})

    shown = answer.json()
    assert answer.status_code == 200
    assert shown.keys() == KEYS
    assert shown["processing_status"] == "in_progress"
    assert shown["request_counts"]["processing"] == 2
    assert sum(shown["request_counts"].values()) == 2
    nulls = ("ended_at", "cancel_initiated_at", "archived_at", "results_url")
    assert [shown[name] for name in nulls] == [None] * 4
    created, expires = map(
        datetime.fromisoformat, (shown["created_at"], shown["expires_at"])
    )
    assert expires - created == timedelta(hours=24)
    assert shown["created_at"].endswith("Z")
    assert answer.headers["request-id"].startswith("req_")
    assert "anthropic-organization-id" in answer.headers
    assert "anthropic-workspace-id" in answer.headers


def test_case_02_a_poll_of_a_running_batch_advises_to_wait() -> None:
    with (
        Sandbox(batch_seconds=None) as sandbox,
        Anthropic(**sandbox.client_options) as client,
    ):
        batch = create(client, "a", "b")
        answer = client.messages.batches.with_raw_response.retrieve(batch.id)

    assert answer.status_code == 200
    assert answer.headers["retry-after"] == "10"
    shown = answer.parse()
    assert shown.processing_status == "in_progress"
    assert shown.results_url is None
    assert shown.request_counts.processing == 2


def test_case_03_results_before_the_end_are_not_available(
    held_sandbox: Sandbox, held_client: Anthropic
) -> None:
    batch = create(held_client, "a")

    with raw_client(held_sandbox) as http:
        answer = http.get(f"{BATCHES}/{batch.id}/results")

    assert answer.status_code == 404
    assert answer.json()["error"]["type"] == "not_found_error"
    assert answer.json()["error"]["message"].endswith("has no available results.")
    with pytest.raises(AnthropicError, match="No `results_url`"):
        held_client.messages.batches.results(batch.id)


def test_case_04_an_ended_batch_names_its_results(
    held_sandbox: Sandbox, held_client: Anthropic
) -> None:
    batch = create(held_client, "a", "b [[errored:api_error]]")
    held_sandbox.end(batch.id)

    answer = held_client.messages.batches.with_raw_response.retrieve(batch.id)

    shown = answer.parse()
    assert "retry-after" not in answer.headers
    assert shown.processing_status == "ended"
    assert shown.ended_at is not None
    assert shown.request_counts.to_dict() == {
        "processing": 0,
        "succeeded": 1,
        "errored": 1,
        "canceled": 0,
        "expired": 0,
    }
    assert shown.results_url == f"{held_sandbox.url}{BATCHES}/{batch.id}/results"


def test_case_05_results_are_json_lines_in_another_order(
    held_sandbox: Sandbox, held_client: Anthropic
) -> None:
    texts = [f"row {number}" for number in range(50)]
    batch, results = ended(held_sandbox, held_client, *texts)

    with raw_client(held_sandbox) as http:
        accept = {"accept": "application/binary"}
        answer = http.get(f"{BATCHES}/{batch.id}/results", headers=accept)

    assert answer.headers["content-type"] == "application/x-jsonl"
    assert answer.content.endswith(b"}\n")
    assert answer.content.count(b"\n") == 50
    order = [line["custom_id"] for line in lines_of(held_client, batch.id)]
    assert sorted(order) == sorted(f"r{number}" for number in range(50))
    assert order != [f"r{number}" for number in range(50)]
    assert len(results) == 50


@pytest.mark.parametrize("method", ["GET", "DELETE", "POST", "RESULTS"])
def test_case_06_an_unknown_id_is_not_found(sandbox: Sandbox, method: str) -> None:
    path = f"{BATCHES}/msgbatch_01unknown"
    path += {"POST": "/cancel", "RESULTS": "/results"}.get(method, "")

    with raw_client(sandbox) as http:
        answer = http.request("GET" if method == "RESULTS" else method, path)

    shown = answer.json()
    assert answer.status_code == 404
    assert shown["type"] == "error"
    assert shown["error"]["type"] == "not_found_error"
    assert shown["request_id"] == answer.headers["request-id"]


def test_case_15_a_canceled_batch_ends_with_a_mixture(
    held_sandbox: Sandbox, held_client: Anthropic
) -> None:
    batch = create(held_client, *"abcdefghij")

    canceling = held_client.messages.batches.cancel(batch.id)

    assert canceling.processing_status == "canceling"
    assert canceling.cancel_initiated_at is not None
    assert canceling.request_counts == batch.request_counts
    held_sandbox.end(batch.id)
    after = held_client.messages.batches.retrieve(batch.id)
    assert after.processing_status == "ended"
    assert (after.request_counts.succeeded, after.request_counts.canceled) == (5, 5)
    kinds = [result["type"] for result in results_of(held_client, batch.id).values()]
    assert (kinds.count("succeeded"), kinds.count("canceled")) == (5, 5)


def test_case_16_a_cancel_that_comes_too_late_cancels_nothing(
    held_sandbox: Sandbox, held_client: Anthropic
) -> None:
    held_sandbox.settings.change(cancel_share=1.0)
    batch = create(held_client, "a", "b")

    held_client.messages.batches.cancel(batch.id)
    held_sandbox.end(batch.id)

    after = held_client.messages.batches.retrieve(batch.id)
    assert after.processing_status == "ended"
    assert after.request_counts.canceled == 0
    assert after.request_counts.succeeded == 2


def test_case_17_a_second_cancel_changes_nothing(
    held_sandbox: Sandbox, held_client: Anthropic
) -> None:
    batch = create(held_client, "a", "b")
    first = held_client.messages.batches.cancel(batch.id)
    held_sandbox.advance(seconds=5)

    second = held_client.messages.batches.cancel(batch.id)

    assert second.cancel_initiated_at == first.cancel_initiated_at
    held_sandbox.end(batch.id)
    with pytest.raises(anthropic.BadRequestError):
        held_client.messages.batches.cancel(batch.id)
    held_sandbox.settings.change(cancel_after_end="accepted")
    assert held_client.messages.batches.cancel(batch.id).processing_status == "ended"


def test_case_18_after_24_hours_a_batch_expires(
    held_sandbox: Sandbox, held_client: Anthropic
) -> None:
    batch = create(held_client, "a", "b", "c", "d")

    held_sandbox.advance(hours=24, seconds=1)

    after = held_client.messages.batches.retrieve(batch.id)
    assert after.processing_status == "ended"
    assert after.ended_at == after.expires_at
    assert (after.request_counts.succeeded, after.request_counts.expired) == (2, 2)
    results = results_of(held_client, batch.id)
    expired = {id for id, result in results.items() if result["type"] == "expired"}
    assert len(expired) == 2
    assert held_sandbox.ledger().billed(batch.id).keys() == results.keys() - expired


def test_case_19_only_an_ended_batch_can_be_deleted(
    held_sandbox: Sandbox, held_client: Anthropic
) -> None:
    batch = create(held_client, "a")
    with pytest.raises(anthropic.BadRequestError, match="Cancel the batch first"):
        held_client.messages.batches.delete(batch.id)
    held_sandbox.end(batch.id)

    deleted = held_client.messages.batches.delete(batch.id)

    assert deleted.to_dict() == {"id": batch.id, "type": "message_batch_deleted"}
    with pytest.raises(NotFoundError):
        held_client.messages.batches.retrieve(batch.id)
    with raw_client(held_sandbox) as http:
        assert http.get(f"{BATCHES}/{batch.id}/results").status_code == 404
    assert held_client.messages.batches.list().data == []


@pytest.mark.parametrize("url", ["null", "kept"])
def test_case_20_after_29_days_the_results_are_archived(
    held_sandbox: Sandbox, held_client: Anthropic, url: str
) -> None:
    held_sandbox.settings.change(archived_results_url=url)
    batch, _ = ended(held_sandbox, held_client, "a")

    held_sandbox.advance(days=29, seconds=1)

    after = held_client.messages.batches.retrieve(batch.id)
    assert after.processing_status == "ended"
    assert after.archived_at == batch.created_at + timedelta(days=29)
    assert (after.results_url is None) == (url == "null")
    with pytest.raises(NotFoundError if url == "kept" else AnthropicError):
        held_client.messages.batches.results(batch.id)
    with raw_client(held_sandbox) as http:
        assert http.get(f"{BATCHES}/{batch.id}/results").status_code == 404


def test_case_30_counts_stand_still_until_the_end(
    sandbox: Sandbox, client: Anthropic
) -> None:
    sandbox.settings.change(batch_seconds=100)
    batch = create(client, *"abcdefghij")

    sandbox.advance(seconds=50)

    assert client.messages.batches.retrieve(batch.id).request_counts.processing == 10


def test_case_30_counts_can_move_before_the_end(
    sandbox: Sandbox, client: Anthropic
) -> None:
    sandbox.settings.change(batch_seconds=100, counts="moving")
    batch = create(client, *"abcdefghi", "j [[errored:api_error]]")
    batch_kinds = sandbox.store.get(batch.id).kinds
    batch_kinds.result(timeout=10)

    processing: list[int] = []
    for _ in range(11):
        counts = client.messages.batches.retrieve(batch.id).request_counts
        assert sum(counts.to_dict().values()) == 10  # type: ignore[arg-type]
        processing.append(counts.processing)
        sandbox.advance(seconds=10)

    assert processing == sorted(processing, reverse=True)
    assert (processing[0], processing[5], processing[10]) == (10, 5, 0)


def test_case_30_the_headers_of_sdk_1_work_for_every_call(
    held_sandbox: Sandbox,
) -> None:
    with raw_client(held_sandbox) as http:
        made = http.post(BATCHES, json={"requests": requests_of("a", "b")}).json()
        path = f"{BATCHES}/{made['id']}"
        assert http.get(path).json()["processing_status"] == "in_progress"
        assert http.post(f"{path}/cancel").json()["processing_status"] == "canceling"
        held_sandbox.end(made["id"])
        assert http.get(BATCHES).json()["data"][0]["processing_status"] == "ended"
        assert http.get(f"{path}/results").text.count("\n") == 2


def test_the_date_header_follows_the_clock(sandbox: Sandbox, client: Anthropic) -> None:
    before = client.messages.batches.with_raw_response.list()

    sandbox.advance(days=3)

    after = client.messages.batches.with_raw_response.list()
    dates = [
        parsedate_to_datetime(answer.headers["date"]) for answer in (before, after)
    ]
    assert timedelta(days=3) <= dates[1] - dates[0] < timedelta(days=3, minutes=1)
    assert len(after.headers.get_list("date")) == 1


def test_a_doubled_slash_is_not_found(sandbox: Sandbox) -> None:
    with raw_client(sandbox) as http:
        assert http.get("//v1/messages/batches").status_code == 404
        assert http.get("/v1/messages/batches/").status_code == 404


def test_a_cancel_takes_back_nothing_that_moving_counts_have_shown(
    held_sandbox: Sandbox, held_client: Anthropic
) -> None:
    batch = create(held_client, *"abcdefghij")
    held_sandbox.store.get(batch.id).kinds.result(timeout=10)
    held_sandbox.hold(batch.id, progress=0.8)

    canceling = held_client.messages.batches.cancel(batch.id)

    assert canceling.request_counts.succeeded == 8
    held_sandbox.end(batch.id)
    after = held_client.messages.batches.retrieve(batch.id)
    assert (after.request_counts.succeeded, after.request_counts.canceled) == (8, 2)
