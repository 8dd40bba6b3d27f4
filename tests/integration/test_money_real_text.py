"""A day and the next over real text: estimate, bill and ledger, side by side."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchkit_tasks.sandbox.server import Sandbox
from batchkit_tasks.summary import RunSummary
from tests.integration.money_support import billed, exactly
from tests.integration.real_text import package_texts
from tests.integration.running import job, read, run_job

ROWS = 20_500
PROMPT = "In one word, what is this text of a software package about?\n\n{text}"


def told(day: str, summary: RunSummary, ledger_usd: float) -> None:
    """Print the figures (`pytest -s`)."""
    estimate = summary.estimate
    print(
        f"\n{day}: {summary.rows:,} rows, {summary.requests:,} requests, "
        f"{summary.duplicates:,} equal, {summary.reused:,} reused; "
        f"expected ${estimate['batch_usd']:.4f} (at most "
        f"${estimate['batch_usd_ceiling']:.4f}), cost ${summary.cost_usd or 0:.4f}, "
        f"ledger ${ledger_usd:.4f}; equal rows saved "
        f"${summary.duplicates_saved_usd or 0:.4f}; input tokens estimated "
        f"{estimate['input_tokens']:,}, billed {summary.input_tokens:,}"
    )


def test_20_000_real_texts_today_and_the_same_table_tomorrow(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    texts = package_texts(ROWS)
    today, source = texts.iloc[: ROWS - 500], tmp_path / "texts.parquet"
    today.to_parquet(source, index=False)
    pattern = str(tmp_path / "{source}-{date}.parquet")
    first_output = tmp_path / "texts-2026-11-21.parquet"

    first = run_job(
        job(source, first_output, PROMPT, output_pattern=pattern), sandbox.url
    )

    first_usd = sum(billed(sandbox).values())
    told("First day", first, first_usd)
    assert first.by_status == {"succeeded": ROWS - 500}
    assert first.requests == today["text"].nunique() < 0.9 * len(today)
    assert first.cost_usd == exactly(first_usd)
    assert first.estimate["input_tokens"] == pytest.approx(first.input_tokens, rel=0.1)
    assert first_usd < first.estimate["batch_usd_ceiling"]

    changed = {
        row: f"Changed overnight, number {row}" for row in range(0, 20_000, 1_000)
    }
    tomorrow = texts.copy()
    tomorrow["text"] = [changed.get(n, text) for n, text in enumerate(texts["text"])]
    tomorrow.to_parquet(source, index=False)
    second_output = tmp_path / "texts-2026-11-22.parquet"
    second = run_job(
        job(source, second_output, PROMPT, output_pattern=pattern), sandbox.url
    )

    second_usd = sum(billed(sandbox).values()) - first_usd
    told("Next day", second, second_usd)
    known = set(today["text"])
    new = set(tomorrow["text"]) - known
    assert second.requests == len(new) <= 520
    assert second.cost_usd == exactly(second_usd)
    assert second.cost_usd == pytest.approx(second.estimate["batch_usd"], rel=0.1)
    rows = read(second_output)
    assert [row["text"] for row in rows] == tomorrow["text"].tolist()
    answers = {row["text"]: row["response"] for row in rows}
    assert all(answers[row["text"]] == row["response"] for row in rows)
