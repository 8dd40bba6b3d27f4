"""Whole runs: a table goes in, the same table with right answers comes out."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from batchkit_tasks import AnthropicCredentials, batch_dataframe
from batchkit_tasks.sandbox.server import Sandbox
from tests.integration.running import (
    FAST,
    credentials,
    job,
    positions_sent,
    read,
    right_answer,
    run_job,
)

ROWS = 25_000


@pytest.fixture
def reviews() -> pd.DataFrame:
    """25,000 rows with a named index of strings, and columns of many kinds."""
    numbers = np.arange(ROWS)
    return pd.DataFrame(
        {
            "text": [f'Review {n}: "fine", he said – größer 🙂' for n in numbers],
            "stars": pd.array(numbers % 5 + 1, dtype="Int64"),
            "shop": pd.Categorical(
                [("north", "south", "west")[n % 3] for n in numbers]
            ),
            "at": pd.date_range(
                "2026-01-01", periods=ROWS, freq="min", tz="Europe/Berlin"
            ),
        },
        index=pd.Index([f"r-{n:05d}" for n in numbers], name="review"),
    )


def test_a_table_of_25_000_rows_comes_back_whole_with_right_answers(
    sandbox: Sandbox, reviews: pd.DataFrame, tmp_path: Path
) -> None:
    reviews.to_parquet(tmp_path / "reviews.parquet")
    prompt = "Is this good? {text} ({stars} stars, {shop})"
    asked = job(tmp_path / "reviews.parquet", tmp_path / "out.parquet", prompt)

    summary = run_job(asked, sandbox.url)

    output = pd.read_parquet(tmp_path / "out.parquet")
    pd.testing.assert_frame_equal(output[reviews.columns], reviews)
    assert output.index.name == "review"
    assert list(output.columns[4:]) == ["response", "_status", "_error", "_meta"]
    assert output["response"].tolist() == [
        right_answer(f"Is this good? {row.text} ({row.stars} stars, {row.shop})")
        for row in reviews.itertuples()
    ]
    assert summary.by_status == {"succeeded": ROWS}
    assert summary.rows == summary.sent == ROWS
    sizes = [entry.requests for entry in sandbox.ledger().batches()]
    assert sorted(sizes) == [5_001, 9_999, 10_000]
    assert positions_sent(sandbox) == list(range(ROWS))


def test_starting_the_same_job_again_sends_nothing(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    pd.DataFrame({"text": ["a", "b", "c"]}).to_parquet(tmp_path / "in.parquet")
    asked = job(tmp_path / "in.parquet", tmp_path / "out.parquet", "Say {text}")
    first = run_job(asked, sandbox.url)

    (tmp_path / "out.parquet").unlink()
    second = run_job(asked, sandbox.url)

    assert second == first
    assert [row["response"] for row in read(tmp_path / "out.parquet")] == [
        right_answer(f"Say {text}") for text in "abc"
    ]
    assert len(sandbox.ledger().batches()) == 1


def test_a_folder_a_csv_and_json_lines_give_the_answers_of_one_parquet(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    frame = pd.DataFrame({"text": [f"row {n}" for n in range(600)], "n": range(600)})
    frame.to_parquet(tmp_path / "one.parquet")
    frame.to_csv(tmp_path / "one.csv", index=False)
    frame.to_json(tmp_path / "one.jsonl", orient="records", lines=True)
    (tmp_path / "many").mkdir()
    for part in range(12):
        rows = frame.iloc[50 * part : 50 * part + 50]
        rows.to_parquet(tmp_path / "many" / f"{part:02d}.parquet", index=False)

    outputs = {
        source: tmp_path / f"{source.replace('/', '-')}.out.parquet"
        for source in ("one.parquet", "one.csv", "one.jsonl", "many", "many/*.parquet")
    }
    for source, output in outputs.items():
        run_job(job(tmp_path / source, output, "{n}: {text}"), sandbox.url)

    tables = [pq.read_table(output) for output in outputs.values()]
    expected = [right_answer(f"{n}: row {n}") for n in range(600)]
    for table in tables:
        assert table["response"].to_pylist() == expected
        assert table["text"].to_pylist() == frame["text"].tolist()
        assert table["n"].to_pylist() == frame["n"].tolist()


def test_a_memory_url_works_as_source_and_output(sandbox: Sandbox) -> None:
    frame = pd.DataFrame({"text": ["x", "y"]})
    frame.to_parquet("memory://tables/in.parquet")
    asked = job("memory://tables/in.parquet", "memory://tables/out.parquet", "{text}")

    run_job(asked, sandbox.url)

    output = pd.read_parquet("memory://tables/out.parquet")
    assert output["response"].tolist() == [right_answer("x"), right_answer("y")]


def test_batch_dataframe_gives_the_same_kind_of_frame_back(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import polars as pl
    import pyarrow as pa

    monkeypatch.setenv("BATCHKIT_HOME", str(tmp_path))
    key: AnthropicCredentials = credentials(sandbox.url)
    frames = (
        pd.DataFrame({"text": ["x", "y"]}, index=["b", "a"]),
        pl.DataFrame({"text": ["x", "y"]}),
        pa.table({"text": ["x", "y"]}),
    )

    found = [
        batch_dataframe(frame, "{text}", credentials=key, advanced=FAST, progress=False)
        for frame in frames
    ]

    assert [type(one) for one in found] == [type(one) for one in frames]
    answers = [right_answer("x"), right_answer("y")]
    assert list(found[0]["response"]) == answers  # type: ignore[index]
    assert list(found[0].index) == ["b", "a"]  # type: ignore[union-attr]
    assert found[1]["response"].to_list() == answers  # type: ignore[index]
    assert found[2]["response"].to_pylist() == answers  # type: ignore[index]


def test_a_notebook_whose_event_loop_runs_gets_its_answers(sandbox: Sandbox) -> None:
    key = credentials(sandbox.url)
    frame = pd.DataFrame({"text": ["a", "b"]})

    async def cell() -> pd.DataFrame:
        asyncio.get_running_loop()  # as in a notebook's cell
        return batch_dataframe(frame, "Say {text}", credentials=key, advanced=FAST)

    answered = asyncio.run(cell())

    assert answered["response"].tolist() == [
        right_answer("Say a"),
        right_answer("Say b"),
    ]
