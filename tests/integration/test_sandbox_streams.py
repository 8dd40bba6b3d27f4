"""What can happen to a stream of results: case 27."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
from anthropic import Anthropic

from batchkit_tasks.sandbox.server import Sandbox
from tests.integration.sandbox_support import BATCHES, create, lines_of, raw_client

ROWS = 40


@pytest.fixture
def batch_id(sandbox: Sandbox, client: Anthropic) -> str:
    """Give an ended batch whose answers have characters of several bytes."""
    batch = create(client, *(f"Zeile {number} – äöü 😀" for number in range(ROWS)))
    sandbox.end(batch.id)
    return batch.id


def raw_results(sandbox: Sandbox, batch_id: str) -> httpx2.Response:
    with raw_client(sandbox) as http:
        return http.get(f"{BATCHES}/{batch_id}/results")


def test_case_27_cut_in_mid_line(
    sandbox: Sandbox, client: Anthropic, batch_id: str
) -> None:
    sandbox.fault("results", "cut_mid_line")

    with pytest.raises(json.JSONDecodeError):
        lines_of(client, batch_id)

    assert len(lines_of(client, batch_id)) == ROWS


def test_case_27_cut_at_a_line_end_looks_complete(
    sandbox: Sandbox, client: Anthropic, batch_id: str
) -> None:
    sandbox.fault("results", "cut_at_line_end", share=0.25)

    assert len(lines_of(client, batch_id)) == ROWS // 4


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("reset_half_way", httpx2.ReadError),
        ("closed_half_way", httpx2.RemoteProtocolError),
    ],
)
def test_case_27_the_connection_is_lost_half_way(
    sandbox: Sandbox,
    client: Anthropic,
    batch_id: str,
    kind: str,
    error: type[Exception],
) -> None:
    sandbox.fault("results", kind)

    seen: list[str] = []
    with pytest.raises(error):
        seen.extend(
            line.custom_id for line in client.messages.batches.results(batch_id)
        )

    assert 0 < len(seen) < ROWS


def test_case_27_blank_lines(sandbox: Sandbox, batch_id: str) -> None:
    sandbox.fault("results", "blank_lines")

    body = raw_results(sandbox, batch_id).content

    assert body.startswith(b"\n")
    lines = [line for line in body.splitlines() if line.strip()]
    assert len(lines) == ROWS
    assert body.count(b"\n") > 2 * ROWS


def test_case_27_gzip(sandbox: Sandbox, client: Anthropic, batch_id: str) -> None:
    sandbox.fault("results", "gzip", times=2)

    answer = raw_results(sandbox, batch_id)

    assert answer.headers["content-encoding"] == "gzip"
    assert len(lines_of(client, batch_id)) == ROWS


def test_case_27_gzip_of_several_members_is_silently_cut_by_the_http_client(
    sandbox: Sandbox, client: Anthropic, batch_id: str
) -> None:
    sandbox.fault("results", "gzip_members", members=4)

    assert len(lines_of(client, batch_id)) == ROWS // 4


@pytest.mark.parametrize("kind", ["split_utf8", "small_chunks"])
def test_case_27_pieces_that_split_characters(
    sandbox: Sandbox, client: Anthropic, batch_id: str, kind: str
) -> None:
    whole = raw_results(sandbox, batch_id).content
    sandbox.fault("results", kind, chunk_bytes=50, times=2)

    pieces = raw_results(sandbox, batch_id).content

    assert pieces == whole
    assert len(lines_of(client, batch_id)) == ROWS


def test_case_27_a_line_separator_inside_a_string_ends_no_line(
    sandbox: Sandbox, client: Anthropic, batch_id: str
) -> None:
    sandbox.fault("results", "line_separator")

    lines = lines_of(client, batch_id)

    assert len(lines) == ROWS
    texts = [line["result"]["message"]["content"][0]["text"] for line in lines]
    assert all(text.startswith("\u2028\x85") for text in texts)


def test_case_27_the_last_line_without_a_newline(
    sandbox: Sandbox, client: Anthropic, batch_id: str
) -> None:
    sandbox.fault("results", "no_final_newline", times=2)

    assert not raw_results(sandbox, batch_id).content.endswith(b"\n")
    assert len(lines_of(client, batch_id)) == ROWS


@pytest.mark.parametrize(("kind", "lines"), [("foreign_line", ROWS + 1)])
def test_a_stream_can_hold_a_line_that_is_not_ours(
    sandbox: Sandbox, client: Anthropic, batch_id: str, kind: str, lines: int
) -> None:
    sandbox.fault("results", kind)

    assert len(lines_of(client, batch_id)) == lines


def test_results_can_be_slow(
    sandbox: Sandbox, client: Anthropic, batch_id: str
) -> None:
    whole = len(raw_results(sandbox, batch_id).content)
    sandbox.settings.change(results_bytes_per_second=whole * 3)

    answer: Any = raw_results(sandbox, batch_id)

    assert len(answer.content) == whole
    assert answer.elapsed.total_seconds() > 0.2
