"""A sandbox that is killed, and started again with the same folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from anthropic import Anthropic

from batchkit_tasks.sandbox.server import Sandbox
from tests.integration.sandbox_support import create, results_of


def test_a_sandbox_with_a_folder_remembers_its_batches(tmp_path: Path) -> None:
    with (
        Sandbox(batch_seconds=None, state_dir=tmp_path) as first,
        Anthropic(**first.client_options, max_retries=0) as client,
    ):
        deleted, canceled, running = (create(client, *"abcd") for _ in range(3))
        client.messages.batches.cancel(canceled.id)
        first.end(canceled.id)
        first.end(deleted.id)
        results = results_of(client, canceled.id)
        client.messages.batches.delete(deleted.id)

    with (
        Sandbox(batch_seconds=None, state_dir=tmp_path) as second,
        Anthropic(**second.client_options, max_retries=0) as client,
    ):
        listed = {batch.id: batch for batch in client.messages.batches.list()}
        again = results_of(client, canceled.id)
        second.end(running.id)
        ended = client.messages.batches.retrieve(running.id)

    assert list(listed) == [running.id, canceled.id]
    assert listed[canceled.id].request_counts.canceled == 2
    assert again == results
    assert ended.request_counts.succeeded == 4


def test_a_killed_sandbox_has_lost_nothing_that_it_answered(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "batchkit_tasks.sandbox", "--port", "0"]
    with subprocess.Popen(
        [*command, "--state-dir", str(tmp_path), "--stop-after", "60"],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        with Anthropic(base_url=url, api_key="any", max_retries=0) as client:
            batch = create(client, "a", "b")
        process.kill()
        process.wait(10)

    with (
        Sandbox(state_dir=tmp_path) as restarted,
        Anthropic(**restarted.client_options, max_retries=0) as client,
    ):
        restarted.end(batch.id)
        assert results_of(client, batch.id).keys() == {"r0", "r1"}
