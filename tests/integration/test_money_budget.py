"""A budget holds: what may cost more is not sent, and what is in flight comes home."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from batchkit_tasks import steps
from batchkit_tasks.errors import BudgetError
from batchkit_tasks.sandbox.server import Sandbox
from tests.integration.money_support import billed, exactly
from tests.integration.running import (
    credentials,
    job,
    positions_sent,
    read,
    run_job,
)


def asked(folder: Path, texts: list[str], budget: float, **advanced: Any) -> Any:
    """A job over these texts with a budget; the same table when asked again."""
    if not (folder / "in.parquet").exists():
        pd.DataFrame({"text": texts}).to_parquet(folder / "in.parquet")
    return job(
        folder / "in.parquet",
        folder / "out.parquet",
        "{text}",
        budget_usd=budget,
        advanced={"check_every_seconds": 0.1, **advanced},
    )


TEXTS = [f"row {n}" for n in range(100)]

CEILING = 100 * 1024 * 0.25 / 1_000_000
"""USD for 100 answers of 1,024 tokens, without the prompts."""


def test_a_budget_below_the_ceiling_sends_nothing_and_leaves_the_output_alone(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    (tmp_path / "out.parquet").write_bytes(b"of yesterday")

    with pytest.raises(
        BudgetError, match=r"budget of \$0\.02 does not cover"
    ) as caught:
        run_job(asked(tmp_path, TEXTS, 0.02), sandbox.url)

    assert "100 requests" in str(caught.value)
    assert "Nothing was spent yet" in str(caught.value)
    assert sandbox.ledger().batches() == []
    assert (tmp_path / "out.parquet").read_bytes() == b"of yesterday"


def test_a_budget_above_the_ceiling_is_not_noticed(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    summary = run_job(asked(tmp_path, TEXTS, 1.05 * CEILING), sandbox.url)

    assert summary.by_status == {"succeeded": 100}


def test_a_run_goes_on_when_it_is_started_again_with_a_larger_budget(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    with pytest.raises(BudgetError):
        run_job(asked(tmp_path, TEXTS, 0.01), sandbox.url)
    with pytest.raises(BudgetError):
        run_job(asked(tmp_path, TEXTS, 0.02), sandbox.url)

    summary = run_job(asked(tmp_path, TEXTS, 0), sandbox.url)

    assert summary.by_status == {"succeeded": 100}
    assert len(sandbox.ledger().batches()) == 1


def test_an_unknown_price_is_above_every_budget(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    unpriced = asked(tmp_path, TEXTS, 1_000.0)
    unpriced = unpriced.model_copy(update={"model": "claude-nobody-9"})

    with pytest.raises(
        BudgetError, match=r"unknown price .none is known for claude-nob"
    ):
        run_job(unpriced, sandbox.url)

    assert sandbox.ledger().batches() == []


def test_a_budget_that_ends_between_attempts_collects_what_is_in_flight(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    # All answers are cut at 1,000 tokens; the next attempt may take 2,000.
    texts = [f"[[needs:2000]] {n}" for n in range(100)]
    options: dict[str, Any] = {"max_tokens": 1000, "retry_on": ["truncated"]}

    with pytest.raises(BudgetError, match=r"Spent so far: \$0\.03"):
        run_job(asked(tmp_path, texts, 0.06, **options), sandbox.url)

    rows = read(tmp_path / "out.parquet")
    assert {row["_status"] for row in rows} == {"truncated"}
    assert sum(row["_meta"]["cost_usd"] for row in rows) == exactly(
        sum(billed(sandbox).values())
    )
    assert len(sandbox.ledger().batches()) == 1

    summary = run_job(asked(tmp_path, texts, 0.10, **options), sandbox.url)
    assert summary.by_status == {"succeeded": 100}
    assert summary.cost_usd == exactly(sum(billed(sandbox).values()))


def test_all_waves_are_held_against_the_budget_before_the_first_is_sent(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    waves = {"rows_per_batch": 10, "max_requests_in_flight": 10}

    with pytest.raises(BudgetError):
        run_job(asked(tmp_path, TEXTS, 0.5 * CEILING, **waves), sandbox.url)
    assert sandbox.ledger().batches() == []

    summary = run_job(asked(tmp_path, TEXTS, 1.05 * CEILING, **waves), sandbox.url)
    assert summary.by_status == {"succeeded": 100}


def test_a_price_table_of_ones_own_decides_about_the_budget(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    dear = '{"claude-haiku-5-5": {"input": 100, "output": 500}}'

    with pytest.raises(BudgetError):
        run_job(asked(tmp_path, TEXTS, 2 * CEILING, prices=dear), sandbox.url)


def test_a_create_without_an_answer_is_settled_even_if_the_budget_is_used_up(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be paid for already: its rows come home."""
    monkeypatch.setenv("BATCHKIT_HELD_IN_PROCESS_SECONDS", "0")
    limited = asked(tmp_path, ["a", "b"], 1e-9, rows_per_batch=1)
    run = steps.stage_input(limited)
    first, _ = steps.plan_chunks(run)
    sandbox.fault("create", "accepted_then_closed")
    assert not steps.submit_chunk(run, first, credentials(sandbox.url)).batch_id

    with pytest.raises(BudgetError):
        run_job(limited, sandbox.url)

    assert [row["_status"] for row in read(limited.output)] == ["succeeded", "skipped"]
    assert positions_sent(sandbox) == [0]
