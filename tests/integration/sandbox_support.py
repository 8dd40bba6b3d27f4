"""What the tests of the sandbox share: requests, clients, and looking at results."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import anthropic
import httpx2
from anthropic.types.messages import MessageBatch

from batchkit_tasks.sandbox.server import Sandbox

MODEL = "claude-haiku-5-5"
BATCHES = "/v1/messages/batches"


def params_of(text: str, **fields: Any) -> dict[str, Any]:
    """Return the params of a small request; a field of `None` is left out."""
    usual: dict[str, Any] = {
        "model": MODEL,
        "max_tokens": 100,
        "messages": [{"role": "user", "content": text}],
    }
    return {
        name: value for name, value in {**usual, **fields}.items() if value is not None
    }


def requests_of(*texts: str) -> list[Any]:
    """Return requests with the custom_ids r0, r1, …"""
    return [
        {"custom_id": f"r{number}", "params": params_of(text)}
        for number, text in enumerate(texts)
    ]


def create(client: anthropic.Anthropic, *texts: str) -> MessageBatch:
    """Create a batch of these prompts."""
    return client.messages.batches.create(requests=requests_of(*texts))


def raw_client(sandbox: Sandbox, key: str = "sk-ant-sandbox-0000") -> httpx2.Client:
    """Return a plain HTTP client with the headers of SDK 1.x."""
    return httpx2.Client(
        base_url=sandbox.url,
        headers={"x-api-key": key, "anthropic-version": "2023-06-01"},
        timeout=10,
    )


def results_of(client: anthropic.Anthropic, batch_id: str) -> dict[str, dict[str, Any]]:
    """Return the results of an ended batch as plain JSON, by custom_id."""
    return {line["custom_id"]: line["result"] for line in lines_of(client, batch_id)}


def lines_of(client: anthropic.Anthropic, batch_id: str) -> list[dict[str, Any]]:
    """Return the result lines as plain JSON, in the order in which they came."""
    lines = client.messages.batches.results(batch_id)
    # What the SDK does not know is kept, but warned of.
    return [line.to_dict(warnings=False) for line in lines]


def ended(
    sandbox: Sandbox, client: anthropic.Anthropic, *texts: str
) -> tuple[MessageBatch, dict[str, dict[str, Any]]]:
    """Create a batch of these prompts, end it, and return it with its results."""
    batch = create(client, *texts)
    sandbox.end(batch.id)
    return client.messages.batches.retrieve(batch.id), results_of(client, batch.id)


def wait_until(
    condition: Callable[[], bool], *, description: str, seconds: float = 10.0
) -> None:
    """Wait for a condition that another thread brings about."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"never happened: {description}"
        time.sleep(0.01)
