"""What a look at the batches of a run says."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from batchkit_tasks import steps
from batchkit_tasks.credentials import AnthropicCredentials
from batchkit_tasks.run_dir import RunDir
from batchkit_tasks.sandbox.server import Sandbox
from tests.integration.running import credentials, job


def submit_all(run: str, key: AnthropicCredentials) -> list[int]:
    """Send every chunk, and the halves of those that are too large; give what has a
    batch."""
    asked: set[int] = set()
    submitted: list[int] = []
    while new := {c.number for r in RunDir(run).rounds() for c in r.chunks} - asked:
        asked |= new
        sent = [steps.submit_chunk(run, number, key) for number in sorted(new)]
        submitted += [each.chunk for each in sent if each.batch_id]
    return submitted


def test_batches_that_are_collected_count_and_a_row_that_was_never_sent_does_not(
    held_sandbox: Sandbox, tmp_path: Path
) -> None:
    held_sandbox.settings.max_body_bytes = 2_000
    texts = [f"row {n}" for n in range(20)]
    texts[3] = "x" * 3_000
    pd.DataFrame({"text": texts}).to_parquet(tmp_path / "in.parquet")
    asked = job(tmp_path / "in.parquet", tmp_path / "out.parquet", "{text}")
    run, key = steps.stage_input(asked), credentials(held_sandbox.url)
    steps.plan_chunks(run)
    submitted = submit_all(run, key)
    first, second, *_ = held_sandbox.ledger().batches()
    held_sandbox.end(first.id)
    (ended,) = steps.poll_batches(run, key).ended
    steps.collect_batch(run, ended, key)
    held_sandbox.end(second.id)

    look = steps.poll_batches(run, key)

    total = len(submitted)
    assert total == len(held_sandbox.ledger().batches()) > 3
    assert (look.total, look.running, len(look.ended)) == (total, total - 2, 1)
    assert f"{total} message batches at Anthropic, 2 of {total} ended." in look.message
