"""What requests share is cached, and the bill with cache hits is right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from batchkit_tasks.errors import ParameterError
from batchkit_tasks.records import Submitted
from batchkit_tasks.run_dir import RunDir
from batchkit_tasks.sandbox.server import Sandbox
from tests.integration.money_support import billed, exactly
from tests.integration.running import (
    job,
    kill,
    positions_sent,
    read,
    run_job,
    start_process,
    wait_until,
)

LONG = "You judge reviews by these rules. " + "Rule: be fair and brief. " * 800
"""About 5,000 tokens: above the minimum of every model."""


def asked(folder: Path, rows: int, prompt: str = "Judge: {text}", **more: Any) -> Any:
    """A job with a long system prompt that is cached."""
    texts = [f"row {n}" for n in range(rows)]
    pd.DataFrame({"text": texts}).to_parquet(folder / "in.parquet")
    advanced = {"system": LONG, "cache": "on", "check_every_seconds": 0.1, **more}
    return job(
        folder / "in.parquet",
        folder / "out.parquet",
        prompt,
        model="claude-opus-5-5",
        advanced=advanced,
    )


def requests(sandbox: Sandbox) -> list[dict[str, Any]]:
    """The params of all requests, in the order of their batches."""
    ledger = sandbox.ledger()
    return [p for e in ledger.batches() for p in ledger.params(e.id).values()]


def records_of(run: str) -> list[Submitted]:
    return [r for r in RunDir(run).records() if isinstance(r, Submitted)]


MARK = {"type": "ephemeral", "ttl": "1h"}


def test_a_bill_with_cache_hits_is_that_of_the_ledger(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    summary = run_job(asked(tmp_path, 500), sandbox.url)

    ledger = billed(sandbox, "claude-opus-5-5")
    assert summary.cost_usd == exactly(sum(ledger.values()))
    usages = list(sandbox.ledger().billed(summary.batches[0]).values())
    hits = sum(1 for usage in usages if usage["cache_read_input_tokens"])
    assert 0 < hits < 500
    assert summary.cache_hit_rate == hits / 500
    read_tokens = sum(usage["cache_read_input_tokens"] for usage in usages)
    written = sum(usage["cache_creation_input_tokens"] for usage in usages)
    # In a batch, Opus 5.5 costs 2 USD a million in, 0.10 read and 4 for an hour.
    saved = read_tokens * (2 - 0.10) - written * (4 - 2)
    assert summary.cache_saved_usd == exactly(saved / 1_000_000)
    assert sum(b.cache_read_tokens for b in summary.batch_costs) == read_tokens


def test_a_cache_that_is_primed_by_one_request_is_read_by_all_others(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    summary = run_job(asked(tmp_path, 300, cache="primed"), sandbox.url)

    first, second = sandbox.ledger().batches()
    assert (first.requests, second.requests) == (1, 299)
    assert summary.cache_hit_rate == 299 / 300
    assert positions_sent(sandbox) == list(range(300))
    assert summary.cost_usd == exactly(sum(billed(sandbox, "claude-opus-5-5").values()))


def test_the_second_batch_waits_until_the_first_one_has_primed_the_cache(
    held_sandbox: Sandbox, tmp_path: Path
) -> None:
    process = start_process(asked(tmp_path, 300, cache="primed"), held_sandbox.url)

    try:
        wait_until(lambda: held_sandbox.ledger().batches(), "the first batch is sent")
        looks = held_sandbox.ledger().calls.get("retrieve", 0)
        wait_until(
            lambda: held_sandbox.ledger().calls.get("retrieve", 0) > looks + 2,
            "the run has looked three times",
        )
        assert len(held_sandbox.ledger().batches()) == 1
        held_sandbox.end_all()
        wait_until(lambda: len(held_sandbox.ledger().batches()) == 2, "the second one")
        held_sandbox.end_all()
        assert process.wait(60) == 0
    finally:
        if process.poll() is None:
            kill(process)


def test_the_mark_stands_behind_all_that_the_requests_share(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    run_job(asked(tmp_path, 2, prompt="{text}: what is it?"), sandbox.url)
    run_job(asked(tmp_path, 2, prompt="Judge: {text}!"), sandbox.url)

    by_system, _, by_prompt, _ = requests(sandbox)
    assert by_system["system"] == [
        {"type": "text", "text": LONG, "cache_control": MARK}
    ]
    assert by_system["messages"][0]["content"] == "row 0: what is it?"
    assert by_prompt["system"] == LONG
    assert by_prompt["messages"][0]["content"] == [
        {"type": "text", "text": "Judge: ", "cache_control": MARK},
        {"type": "text", "text": "row 0!"},
    ]


def test_a_row_with_nothing_behind_the_shared_part_is_sent_without_a_mark(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    one = asked(tmp_path, 1)
    pd.DataFrame({"text": ["a", " ", "b"]}).to_parquet(tmp_path / "in.parquet")

    summary = run_job(one, sandbox.url)

    assert summary.by_status == {"succeeded": 3}
    contents = [each["messages"][0]["content"] for each in requests(sandbox)]
    assert contents[1] == "Judge:  "


def test_answers_are_reused_whether_or_not_they_were_cached(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    run_job(asked(tmp_path, 5, cache="off"), sandbox.url)

    summary = run_job(asked(tmp_path, 8), sandbox.url)

    assert (summary.reused, summary.requests) == (5, 3)


def test_a_shared_part_below_the_models_minimum_is_warned_of(
    sandbox: Sandbox, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "batchkit"):
        summary = run_job(asked(tmp_path, 3, system="Be brief."), sandbox.url)

    assert "claude-opus-5-5 caches from 4,096 on, so nothing" in caplog.text
    assert summary.cache_hit_rate is None


def test_no_body_is_larger_than_asked_for_though_marks_make_requests_longer(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    one = asked(tmp_path, 8_000, system="Be brief.", mb_per_batch=1)

    summary = run_job(one, sandbox.url)

    sizes = [record.intent.body_bytes for record in records_of(summary.run)]
    assert max(sizes) <= 1_000_000 < sum(sizes)


def test_requests_that_share_nothing_cannot_be_cached(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    with pytest.raises(ParameterError, match="share no beginning"):
        run_job(asked(tmp_path, 3, prompt="{text}", system=""), sandbox.url)
    with pytest.raises(ParameterError, match="share no beginning"):
        run_job(asked(tmp_path, 3, system="You know {text}."), sandbox.url)


def test_a_priced_table_with_cache_hits_checked_by_hand(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    summary = run_job(asked(tmp_path, 3, cache="primed"), sandbox.url)

    rows = read(tmp_path / "out.parquet")
    # The system prompt and "Judge: " have 20,041 bytes: 5,010 made-up tokens.
    shared = (len(LONG) + len("Judge: ")) // 4
    assert shared == 5_010
    first, second, third = (row["_meta"] for row in rows)
    assert first["cache_creation_1h_tokens"] == shared
    assert second["cache_read_tokens"] == third["cache_read_tokens"] == shared
    fresh, out = first["input_tokens"], first["output_tokens"]
    assert first["cost_usd"] == exactly(
        (fresh * 2.00 + shared * 4.00 + out * 10.00) / 1_000_000
    )
    for later in (second, third):
        fresh, out = later["input_tokens"], later["output_tokens"]
        assert later["cost_usd"] == exactly(
            (fresh * 2.00 + shared * 0.10 + out * 10.00) / 1_000_000
        )
    total = first["cost_usd"] + second["cost_usd"] + third["cost_usd"]
    assert summary.cost_usd == exactly(total)
