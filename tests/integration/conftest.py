"""A sandbox, and the unmodified SDK that talks to it."""

from __future__ import annotations

from collections.abc import Iterator

import anthropic
import pytest

from batchkit_tasks.sandbox.server import Sandbox


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """Give a sandbox whose batches end almost at once, and may be looked at any time."""
    with Sandbox(batch_seconds=0.05, retry_after=None) as running:
        yield running


@pytest.fixture
def held_sandbox() -> Iterator[Sandbox]:
    """Give a sandbox whose batches run until `end` is called."""
    with Sandbox(batch_seconds=None, cancel_seconds=None, retry_after=None) as running:
        yield running


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[anthropic.Anthropic]:
    """Give the SDK's client for `sandbox`, which does not retry by itself."""
    with anthropic.Anthropic(**sandbox.client_options, max_retries=0) as made:
        yield made


@pytest.fixture
def held_client(held_sandbox: Sandbox) -> Iterator[anthropic.Anthropic]:
    """Give the SDK's client for `held_sandbox`, which does not retry by itself."""
    with anthropic.Anthropic(**held_sandbox.client_options, max_retries=0) as made:
        yield made
