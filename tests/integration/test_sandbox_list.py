"""The list of batches: case 21."""

from __future__ import annotations

import anthropic
import pytest
from anthropic import Anthropic

from batchkit_tasks.sandbox.server import Sandbox
from tests.integration.sandbox_support import BATCHES, create, raw_client


def test_case_21_the_list_is_walked_in_pages_newest_first(
    held_sandbox: Sandbox, held_client: Anthropic
) -> None:
    made = [create(held_client, "a").id for _ in range(44)]
    made.append(held_sandbox.create_foreign())

    first = held_client.messages.batches.list()
    second = held_client.messages.batches.list(after_id=first.last_id or "")
    third = held_client.messages.batches.list(after_id=second.last_id or "")
    back = held_client.messages.batches.list(before_id=third.first_id or "")

    pages = (first, second, third)
    assert [len(page.data) for page in pages] == [20, 20, 5]
    assert [page.has_more for page in pages] == [True, True, False]
    walked = [batch.id for page in pages for batch in page.data]
    assert walked == made[::-1]
    assert [batch.id for batch in back.data] == [batch.id for batch in second.data]
    assert back.has_more


def test_case_21_the_sdk_pages_by_itself(
    held_sandbox: Sandbox, held_client: Anthropic
) -> None:
    made = [held_sandbox.create_foreign(n + 1) for n in range(7)]

    listed = [batch.id for batch in held_client.messages.batches.list(limit=3)]

    assert listed == made[::-1]


@pytest.mark.parametrize("limit", [0, 1001])
def test_case_21_a_limit_out_of_range_is_refused(client: Anthropic, limit: int) -> None:
    with pytest.raises(anthropic.BadRequestError, match="limit: Input should be"):
        client.messages.batches.list(limit=limit)


def test_case_21_a_new_batch_can_be_missing_for_a_while(
    sandbox: Sandbox, client: Anthropic
) -> None:
    sandbox.settings.change(list_delay_seconds=30)
    batch = create(client, "a")

    assert client.messages.batches.list().data == []
    sandbox.advance(seconds=31)

    assert [listed.id for listed in client.messages.batches.list()] == [batch.id]


def test_case_21_a_server_can_ignore_the_cursor(
    sandbox: Sandbox, client: Anthropic
) -> None:
    sandbox.settings.change(ignores_after_id=True)
    for _ in range(3):
        create(client, "a")

    first = client.messages.batches.list(limit=2)
    second = client.messages.batches.list(limit=2, after_id=first.last_id or "")

    assert [batch.id for batch in second.data] == [batch.id for batch in first.data]
    assert second.has_more


def test_an_empty_list_has_no_ends(sandbox: Sandbox) -> None:
    with raw_client(sandbox) as http:
        answer = http.get(BATCHES).json()

    assert answer == {"data": [], "has_more": False, "first_id": None, "last_id": None}
