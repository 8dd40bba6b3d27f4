"""What a run would cost is said before it is sent, and holds afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from batchkit_tasks import steps
from batchkit_tasks.sandbox.server import Sandbox
from batchkit_tasks.steps.dry_runs import lines
from tests.integration.money_support import billed
from tests.integration.running import credentials, job, run_job

WORDS = ["plain", "größer", "naïve", "日本語", "done", "a", "considerably", "🙂"]


def uneven(path: Path, rows: int, seed: int = 0) -> Path:
    """A table whose texts are from 1 to 400 words long."""
    rng = np.random.default_rng(seed)
    lengths = np.exp(rng.uniform(0, 6, rows)).astype(int) + 1
    texts = [" ".join(rng.choice(WORDS, size)) for size in lengths]
    pd.DataFrame({"n": range(rows), "text": texts}).to_parquet(path)
    return path


def listed(folder: Path) -> set[str]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_an_estimate_from_twelve_counts_is_near_to_the_tokens_billed(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    source = uneven(tmp_path / "in.parquet", 3_000)

    summary = run_job(job(source, tmp_path / "out.parquet", "{n}: {text}"), sandbox.url)

    estimate = summary.estimate
    assert estimate["counted"]
    assert estimate["input_tokens"] == pytest.approx(summary.input_tokens, rel=0.1)
    cost = sum(billed(sandbox).values())
    assert cost < estimate["batch_usd_ceiling"]
    assert estimate["standard_usd"] == pytest.approx(2 * estimate["batch_usd"])
    assert sandbox.ledger().calls["count_tokens"] == 12


def test_the_second_estimate_expects_answers_as_long_as_the_first_ones(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    source = tmp_path / "in.parquet"
    asked = job(uneven(source, 500), tmp_path / "out.parquet", "{text}")
    first = run_job(asked, sandbox.url)
    before = sum(billed(sandbox).values())

    asked = job(uneven(source, 1_500, seed=1), tmp_path / "out.parquet", "{text}")
    second = run_job(asked, sandbox.url)

    assert not first.estimate["from_earlier_answers"]
    assert second.estimate["from_earlier_answers"]
    assert second.cost_usd == pytest.approx(second.estimate["batch_usd"], rel=0.1)
    assert sum(billed(sandbox).values()) - before == pytest.approx(second.cost_usd)


def test_a_dry_run_says_what_would_happen_and_leaves_nothing(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    source, output = tmp_path / "in.parquet", tmp_path / "out.parquet"
    options: dict[str, Any] = {
        "advanced": {"mb_per_batch": 1, "check_every_seconds": 0.1}
    }
    texts = ["a", "b", "c"]
    pd.DataFrame({"text": texts}).to_parquet(source)
    run_job(job(source, output, "Say {text}", **options), sandbox.url)
    texts = ["c", "d", "d", "e", None, "f", "x" * 1_100_000, "g", "h"]
    pd.DataFrame({"text": texts}).to_parquet(source)
    before, batches = listed(tmp_path), len(sandbox.ledger().batches())

    asked = job(source, output, "Say {text}", **options)
    summary = steps.dry_run(asked, credentials(sandbox.url))

    assert summary.dry_run
    assert (summary.requests, summary.duplicates, summary.reused) == (5, 1, 1)
    assert summary.by_status == {"skipped": 1, "oversized": 1}
    assert summary.rows == len(texts)
    assert summary.prompts == ("Say d", "Say e", "Say f", "Say g", "Say h")
    estimate = summary.estimate
    assert 0 < estimate["batch_usd"] < estimate["batch_usd_ceiling"]
    assert estimate["standard_usd"] == pytest.approx(2 * estimate["batch_usd"])
    text = "\n".join(lines(summary))
    assert "5 rows are sent in 1 message batch; 1 are equal to one of them" in text
    assert "Prompt 5:\nSay h" in text
    assert listed(tmp_path) == before
    assert len(sandbox.ledger().batches()) == batches


def test_a_dry_run_of_a_job_that_is_not_over_says_so(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    source = uneven(tmp_path / "in.parquet", 10)
    asked = job(source, tmp_path / "out.parquet", "{text}")
    steps.stage_input(asked)

    summary = steps.dry_run(asked, credentials(sandbox.url))

    assert any("is not over: 0 of its" in note for note in summary.estimate["notes"])


def test_where_nobody_counts_the_estimate_is_marked_as_rough(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    sandbox.fault("count_tokens", "server_error", times=-1)
    source = uneven(tmp_path / "in.parquet", 300)

    summary = run_job(job(source, tmp_path / "out.parquet", "{text}"), sandbox.url)

    assert not summary.estimate["counted"]
    assert "500" in summary.estimate["note"]
    assert summary.by_status == {"succeeded": 300}


def test_the_log_has_the_estimate_before_the_first_batch(
    sandbox: Sandbox, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = uneven(tmp_path / "in.parquet", 30)

    with caplog.at_level("INFO", "batchkit"):
        run_job(job(source, tmp_path / "out.parquet", "{text}"), sandbox.url)

    said = [record.message for record in caplog.records]
    assert said[0] == "30 rows are sent in 1 message batch."
    assert said[1].startswith("Expected: ~$0.00")
    assert "the batch price saves" in said[1]
    assert "is at Anthropic" in said[2]
