"""Answers that are wrong, late or lost: cases 22 to 26."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import Any

import anthropic
import httpx2
import pytest
from anthropic import Anthropic

from batchkit_tasks.sandbox.connections import unreachable_url
from batchkit_tasks.sandbox.server import Sandbox
from tests.integration.sandbox_support import create, wait_until

LARGE = "x" * 3_000_000
"""More than the socket buffers hold: the client is still sending when it is cut off."""


def stored(sandbox: Sandbox) -> int:
    """Return how many batches exist, whatever the client believes."""
    return len(sandbox.ledger().batches())


def test_case_22_rate_limits_say_when_to_come_back(
    sandbox: Sandbox, client: Anthropic
) -> None:
    sandbox.fault("create", "rate_limited", retry_after=7)
    sandbox.fault("create", "rate_limited_until", retry_after=60)
    sandbox.fault("create", "rate_limited_bare")

    headers: list[Any] = []
    for _ in range(3):
        with pytest.raises(anthropic.RateLimitError) as limited:
            create(client, "a")
        headers.append(limited.value.response.headers)

    assert headers[0]["retry-after"] == "7"
    wait = parsedate_to_datetime(headers[1]["retry-after"]) - parsedate_to_datetime(
        headers[1]["date"]
    )
    assert 59 <= wait.total_seconds() <= 61
    assert "retry-after" not in headers[2]
    assert stored(sandbox) == 0


@pytest.mark.parametrize(
    ("kind", "error", "code"),
    [
        (
            "spend_cap",
            anthropic.EnforcedSpendLimitReachedError,
            "enforced_spend_limit_reached",
        ),
        (
            "contract_spend_cap",
            anthropic.ContractSpendLimitReachedError,
            "contract_spend_limit_reached",
        ),
    ],
)
def test_case_22_a_spend_cap_has_a_code_and_no_time(
    sandbox: Sandbox, client: Anthropic, kind: str, error: type[Exception], code: str
) -> None:
    sandbox.fault("create", kind)

    with pytest.raises(error) as capped:
        create(client, "a")

    assert isinstance(capped.value, anthropic.RateLimitError)
    assert capped.value.error_code == code
    assert "retry-after" not in capped.value.response.headers


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("api_usage_limit", "You have reached your specified API usage limits."),
        (
            "workspace_usage_limit",
            "You have reached your specified workspace API usage limits.",
        ),
    ],
)
def test_case_22_a_spend_limit_of_ones_own_is_a_400(
    sandbox: Sandbox, client: Anthropic, kind: str, text: str
) -> None:
    sandbox.fault("create", kind)

    with pytest.raises(anthropic.BadRequestError, match=text):
        create(client, "a")


STATUSES = [
    ("server_error", 500),
    ("bad_gateway", 502),
    ("unavailable", 503),
    ("gateway_timeout", 504),
    ("overloaded", 529),
    ("timeout", 408),
    ("conflict", 409),
]


@pytest.mark.parametrize(("kind", "status"), STATUSES)
@pytest.mark.parametrize("endpoint", ["create", "retrieve", "list", "results"])
def test_case_23_a_failure_is_followed_by_success(
    sandbox: Sandbox, client: Anthropic, endpoint: str, kind: str, status: int
) -> None:
    batch = create(client, "a")
    sandbox.end(batch.id)
    calls: dict[str, Any] = {
        "create": lambda: create(client, "b"),
        "retrieve": lambda: client.messages.batches.retrieve(batch.id),
        "list": lambda: client.messages.batches.list(),
        "results": lambda: list(client.messages.batches.results(batch.id)),
    }
    sandbox.fault(endpoint, kind)

    with pytest.raises(anthropic.APIStatusError) as failed:
        calls[endpoint]()

    assert failed.value.status_code == status
    assert stored(sandbox) == 1
    calls[endpoint]()


def test_case_23_the_sdk_obeys_x_should_retry(sandbox: Sandbox) -> None:
    sandbox.fault("list", "server_error_final")

    with (
        Anthropic(**sandbox.client_options, max_retries=5) as eager,
        pytest.raises(anthropic.InternalServerError),
    ):
        eager.messages.batches.list()

    assert sandbox.ledger().calls["list"] == 1


LOST = [
    ("accepted_then_reset", {}, anthropic.APIConnectionError),
    ("accepted_then_closed", {}, anthropic.APIConnectionError),
    ("half_answer", {}, anthropic.APIConnectionError),
    ("accepted_then_slow", {"seconds": 1}, anthropic.APITimeoutError),
    ("accepted_then_hang", {}, anthropic.APITimeoutError),
    ("server_error", {"when": "afterwards"}, anthropic.InternalServerError),
    ("bad_gateway", {"when": "afterwards"}, anthropic.InternalServerError),
    ("gateway_timeout", {"when": "afterwards"}, anthropic.InternalServerError),
]


@pytest.mark.parametrize(("kind", "options", "error"), LOST)
def test_case_24_a_batch_is_accepted_and_its_answer_lost(
    sandbox: Sandbox,
    client: Anthropic,
    kind: str,
    options: dict[str, Any],
    error: type[Exception],
) -> None:
    sandbox.fault("create", kind, **options)

    with pytest.raises(error):
        create(client.with_options(timeout=0.3), "a", "b")

    assert stored(sandbox) == 1
    listed = client.messages.batches.list().data
    assert [batch.id for batch in listed] == [sandbox.ledger().batches()[0].id]


def test_case_24_the_sdk_left_alone_buys_three_batches(sandbox: Sandbox) -> None:
    sandbox.fault("create", "accepted_then_reset", times=2)

    with Anthropic(**sandbox.client_options) as eager:
        create(eager, "a")

    assert stored(sandbox) == 3


def test_case_25_the_lost_batch_is_listed_late_beside_a_foreign_one(
    sandbox: Sandbox, client: Anthropic
) -> None:
    sandbox.settings.change(list_delay_seconds=60)
    sandbox.fault("create", "accepted_then_reset")
    foreign = sandbox.create_foreign(2, seconds_ago=20)

    with pytest.raises(anthropic.APIConnectionError):
        create(client, "a", "b")

    assert [batch.id for batch in client.messages.batches.list()] == [foreign]
    sandbox.advance(seconds=61)
    ours = sandbox.ledger().batches()[0].id
    assert [batch.id for batch in client.messages.batches.list()] == [ours, foreign]


@pytest.mark.parametrize("after", [0, 1])
def test_case_26_a_batch_is_not_found_and_then_it_is(
    sandbox: Sandbox, client: Anthropic, after: int
) -> None:
    batch, other = create(client, "a"), create(client, "b")
    sandbox.fault("retrieve", "not_found", after=after, batch=batch.id, times=2)

    client.messages.batches.retrieve(other.id)
    for _ in range(after):
        client.messages.batches.retrieve(batch.id)
    for _ in range(2):
        with pytest.raises(anthropic.NotFoundError):
            client.messages.batches.retrieve(batch.id)

    assert client.messages.batches.retrieve(batch.id).id == batch.id


def test_case_26_results_are_not_found_right_after_the_end(
    sandbox: Sandbox, client: Anthropic
) -> None:
    batch = create(client, "a")
    sandbox.end(batch.id)
    sandbox.fault("results", "not_found")

    with pytest.raises(anthropic.NotFoundError):
        client.messages.batches.results(batch.id)

    assert len(list(client.messages.batches.results(batch.id))) == 1


@pytest.mark.parametrize("text", ["small", LARGE], ids=["small", "large"])
@pytest.mark.parametrize(
    "kind", ["reset_before_body", "reset_during_body", "reset_after_body"]
)
def test_a_connection_reset_around_the_body_stores_nothing(
    sandbox: Sandbox, client: Anthropic, kind: str, text: str
) -> None:
    sandbox.fault("create", kind)

    with pytest.raises(anthropic.APIConnectionError) as lost:
        create(client, text)

    assert isinstance(lost.value.__cause__, httpx2.TransportError)
    assert not isinstance(lost.value.__cause__, httpx2.ConnectError)
    assert stored(sandbox) == 0
    create(client, text)


def test_a_new_connection_can_be_reset(sandbox: Sandbox) -> None:
    sandbox.fault("connect", "reset")

    with Anthropic(**sandbox.client_options, max_retries=0) as fresh:
        with pytest.raises(anthropic.APIConnectionError):
            create(fresh, "a")
        create(fresh, "a")

    assert stored(sandbox) == 1


def test_a_hang_is_a_read_timeout(sandbox: Sandbox, client: Anthropic) -> None:
    sandbox.fault("create", "hang")

    with pytest.raises(anthropic.APITimeoutError) as late:
        create(client.with_options(timeout=0.2), "a")

    assert isinstance(late.value.__cause__, httpx2.ReadTimeout)
    assert stored(sandbox) == 0


def test_a_slow_server_stores_the_batch_after_the_client_has_left(
    sandbox: Sandbox, client: Anthropic
) -> None:
    sandbox.fault("create", "slow", seconds=0.4)

    with pytest.raises(anthropic.APITimeoutError):
        create(client.with_options(timeout=0.2), "a")

    assert stored(sandbox) == 0
    wait_until(lambda: stored(sandbox) == 1, description="the late batch is stored")


def test_nobody_listens_for_a_while(sandbox: Sandbox, client: Anthropic) -> None:
    batch = create(client, "a")

    with sandbox.offline(), pytest.raises(anthropic.APIConnectionError) as refused:
        client.messages.batches.retrieve(batch.id)

    assert isinstance(refused.value.__cause__, httpx2.ConnectError)
    assert client.messages.batches.retrieve(batch.id).id == batch.id


def test_connecting_can_hang() -> None:
    with (
        unreachable_url() as url,
        Anthropic(base_url=url, api_key="k", max_retries=0, timeout=0.2) as lost,
        pytest.raises(anthropic.APITimeoutError) as late,
    ):
        create(lost, "a")

    assert isinstance(late.value.__cause__, httpx2.ConnectTimeout)


def test_an_unknown_fault_is_refused(sandbox: Sandbox) -> None:
    with pytest.raises(ValueError, match="no such fault for create: cut_mid_line"):
        sandbox.fault("create", "cut_mid_line")
    with pytest.raises(ValueError, match="no such endpoint: created"):
        sandbox.fault("created", "server_error")
