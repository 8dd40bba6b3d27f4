"""What a run cost agrees with the sandbox's own ledger, failed attempts included."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from batchkit_tasks.sandbox.server import Sandbox
from tests.integration.money_support import billed, exactly
from tests.integration.running import job, read, run_job

KINDS = (
    "plain",
    "[[needs:300]]",
    "[[once:errored:api_error]]",
    "[[once:expired]]",
    "[[once:bad_json]]",
    "[[refusal]]",
    "[[partial_refusal]]",
    "[[cache]]",
    "[[us]] [[cache]]",
    "[[web_search]]",
    "[[thinking]]",
    "[[errored:invalid_request_error]]",
    "[[context_window]]",
)
"""Requests that are billed in every way there is, some of them twice or not at all."""


def table(path: Path, texts: list[str]) -> Path:
    """A source with one text per row."""
    pd.DataFrame({"text": texts}).to_parquet(path)
    return path


@pytest.mark.parametrize("model", ["claude-haiku-5-5", "claude-sonnet-4-6"])
def test_costs_add_up_to_the_ledger_by_row_batch_and_run(
    sandbox: Sandbox, tmp_path: Path, model: str
) -> None:
    texts = [f"{kind} number {n % 40}" for n in range(60) for kind in KINDS]
    advanced = {
        "check_every_seconds": 0.1,
        "max_tokens": 100,
        "rows_per_batch": 150,
        "fail_above_percent": 100,
        "retry_on": ["truncated", "api_error", "expired", "refused", "invalid_answer"],
    }
    asked = job(
        table(tmp_path / "in.parquet", texts),
        tmp_path / "out.parquet",
        "Say {text}",
        model=model,
        advanced=advanced,
    )

    summary = run_job(asked, sandbox.url)

    ledger = billed(sandbox, model)
    assert summary.rounds == 3
    assert summary.cost_usd == exactly(sum(ledger.values()))
    assert {b.batch_id: b.cost_usd for b in summary.batch_costs} == {
        batch: exactly(usd) for batch, usd in ledger.items()
    }
    assert {b.attempt for b in summary.batch_costs} == {1, 2, 3}
    rows = read(tmp_path / "out.parquet")
    in_rows = sum(row["_meta"]["cost_usd"] or 0 for row in rows)
    assert in_rows == exactly(sum(ledger.values()))
    totals = [sandbox.ledger().billed_totals(e.id) for e in sandbox.ledger().batches()]
    assert summary.input_tokens == sum(each["input_tokens"] for each in totals)
    assert summary.output_tokens == sum(each["output_tokens"] for each in totals)


def test_a_row_costs_what_all_its_attempts_cost(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    source = table(tmp_path / "in.parquet", ["[[needs:400]] x"])
    advanced = {
        "check_every_seconds": 0.1, "max_tokens": 100, "retry_on": ["truncated"],
    }  # fmt: skip
    asked = job(source, tmp_path / "out.parquet", "{text}", advanced=advanced)

    summary = run_job(asked, sandbox.url)

    first, second, third = billed(sandbox).values()
    assert first > 0 < second
    (row,) = read(tmp_path / "out.parquet")
    assert row["_status"] == "succeeded"
    assert row["_meta"]["attempts"] == 3
    assert row["_meta"]["cost_usd"] == exactly(first + second + third)
    assert summary.cost_usd == row["_meta"]["cost_usd"]


def test_rows_that_were_not_run_as_batch_requests_are_reported(
    sandbox: Sandbox, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    texts = ["plain", "[[standard_tier]] a", "[[standard_tier]] b"]
    source = table(tmp_path / "in.parquet", texts)
    asked = job(source, tmp_path / "out.parquet", "{text}")

    with caplog.at_level("INFO", "batchkit"):
        summary = run_job(asked, sandbox.url)

    assert summary.other_tiers == {"standard": 2}
    assert "2 rows were run at the service tier standard" in caplog.text


def test_prices_of_ones_own_win(sandbox: Sandbox, tmp_path: Path) -> None:
    source = table(tmp_path / "in.parquet", ["a", "b"])
    advanced = {"check_every_seconds": 0.1, "fail_above_percent": 100}
    asked = job(
        source,
        tmp_path / "out.parquet",
        "{text}",
        model="claude-opus-4-7",
        advanced={**advanced, "prices": '{"claude-opus-4-7": {"input":1,"output":2}}'},
    )

    summary = run_job(asked, sandbox.url)

    usages = [
        usage
        for entry in sandbox.ledger().batches()
        for usage in sandbox.ledger().billed(entry.id).values()
    ]
    by_hand = sum(u["input_tokens"] * 0.5 + u["output_tokens"] * 1.0 for u in usages)
    assert summary.cost_usd == exactly(by_hand / 1_000_000)


@pytest.mark.parametrize(
    "prices",
    [
        '{"m": {"input": 1}}',
        '{"m": {"input": -1, "output": 2}}',
        '{"m": {"inputs": 1, "output": 2}}',
        "[1]",
    ],
)
def test_a_price_table_that_cannot_be_read_is_refused_before_anything_is_sent(
    sandbox: Sandbox, tmp_path: Path, prices: str
) -> None:
    source = table(tmp_path / "in.parquet", ["a"])
    advanced = {"prices": prices}
    asked = job(source, tmp_path / "out.parquet", "{text}", advanced=advanced)

    with pytest.raises(ValueError, match=r"advanced\.prices"):
        run_job(asked, sandbox.url)
