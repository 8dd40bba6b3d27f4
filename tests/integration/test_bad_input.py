"""Bad input: one clear sentence, and nothing is sent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batchkit_tasks import batch_dataframe, steps
from batchkit_tasks.errors import (
    BatchkitError,
    InputError,
    KeyRefusedError,
    MissingKeyError,
    SourceChangedError,
)
from batchkit_tasks.sandbox.server import Sandbox
from tests.integration.running import FAST, credentials, job, run_job


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A small table."""
    path = tmp_path / "in.parquet"
    pd.DataFrame({"text": ["a", "b"], "title": ["x", "y"]}).to_parquet(path)
    return path


def ragged(folder: Path) -> Path:
    path = folder / "ragged.csv"
    path.write_text("a,b\n1,2\n3,4,5\n")
    return path


def latin(folder: Path) -> Path:
    path = folder / "latin.csv"
    path.write_bytes("a,b\nüber,2\n".encode("latin-1"))
    return path


def twins(folder: Path) -> Path:
    path = folder / "twins.parquet"
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    pq.write_table(table, path)
    return path


def empty(folder: Path) -> Path:
    path = folder / "empty.parquet"
    pd.DataFrame({"text": pd.Series([], dtype=str)}).to_parquet(path)
    return path


def strange(folder: Path) -> Path:
    path = folder / "table.xlsx"
    path.write_bytes(b"PK")
    return path


def missing(folder: Path) -> Path:
    return folder / "nowhere.parquet"


@pytest.mark.parametrize(
    ("make", "clauses"),
    [
        (ragged, ["ragged.csv", "line 3", "Nothing was sent"]),
        (latin, ["latin.csv", "UTF-8", "line 2", "Nothing was sent"]),
        (twins, ["twins.parquet", "a", "Nothing was sent"]),
        (empty, ["empty.parquet", "no rows", "Nothing was sent"]),
        (strange, ["table.xlsx", "Parquet", "CSV", "Nothing was sent"]),
        (missing, ["nowhere.parquet", "Nothing was sent"]),
    ],
)
def test_a_source_that_cannot_be_read_says_what_is_wrong_with_it(
    make: Callable[[Path], Path], clauses: list[str], tmp_path: Path
) -> None:
    asked = job(make(tmp_path), tmp_path / "out.parquet", "{text}")

    with pytest.raises(BatchkitError) as caught:
        steps.stage_input(asked)

    for clause in clauses:
        assert clause in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "clauses"),
    [
        ({"prompt": "Say {txet}"}, ["{txet}", "{text}?", "text, title"]),
        ({"prompt": "Say {text"}, ["prompt", "{"]),
        ({"advanced": {"system": "You are {nobody}"}}, ["system", "{nobody}"]),
        ({"advanced": {"request": '{"stream": true}'}}, ["stream", "cannot stream"]),
        ({"advanced": {"request": "[1]"}}, ["request", "object"]),
        ({"advanced": {"id_column": "key"}}, ["id_column", "'key'", "text, title"]),
        ({"answer": {"column": "text"}}, ["text", "already has"]),
        ({"answer": {"column": "_meta"}}, ["_meta"]),
        ({"answer": {"json_schema": '{"type": "array"}'}}, ["object"]),
        ({"answer": {"json_schema": "{"}}, ["JSON"]),
        ({"output": "in.parquet"}, ["output", "source itself"]),
        ({"output": "out.csv"}, ["output", ".parquet"]),
    ],
)
def test_a_parameter_that_cannot_work_is_named(
    options: dict[str, Any], clauses: list[str], source: Path
) -> None:
    given = {"prompt": "{text}", "output": "out.parquet", **options}
    output = source.parent / given.pop("output")
    prompt = given.pop("prompt")

    with pytest.raises(BatchkitError) as caught:
        steps.stage_input(job(source, output, prompt, **given))

    for clause in [*clauses, "Nothing was sent"]:
        assert clause in str(caught.value)
    assert not list(source.parent.rglob("plan.json"))


@pytest.mark.parametrize("rows", [0, 10_001])
def test_rows_per_batch_has_bounds(source: Path, rows: int) -> None:
    with pytest.raises(ValueError, match="rows_per_batch"):
        job(source, "out.parquet", "{text}", advanced={"rows_per_batch": rows})


def test_without_key_and_address_the_error_says_what_to_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    monkeypatch.delenv("ANTHROPIC_BASE_URL", raising=False)

    with pytest.raises(MissingKeyError, match="set ANTHROPIC_API_KEY"):
        batch_dataframe(pd.DataFrame({"text": ["a"]}), "{text}")


def test_a_refused_key_is_named_and_nothing_is_created(
    sandbox: Sandbox, source: Path, tmp_path: Path
) -> None:
    sandbox.refuse_key("test-key", 401)
    asked = job(source, tmp_path / "out.parquet", "{text}")

    with pytest.raises(KeyRefusedError, match="refused the key") as caught:
        run_job(asked, sandbox.url)

    assert "test-key" not in str(caught.value)
    assert sandbox.ledger().batches() == []
    sandbox.accept_key("test-key")
    assert run_job(asked, sandbox.url).by_status == {"succeeded": 2}


def test_a_source_that_changes_while_the_run_waits_stops_it(
    sandbox: Sandbox, source: Path, tmp_path: Path
) -> None:
    asked = job(source, tmp_path / "out.parquet", "{text}")
    run = steps.stage_input(asked)
    steps.plan_chunks(run)

    pd.DataFrame({"text": ["b"], "title": ["y"]}).to_parquet(source)

    with pytest.raises(SourceChangedError, match=r"in\.parquet"):
        steps.submit_chunk(run, 0, credentials(sandbox.url))
    assert sandbox.ledger().batches() == []


def test_an_output_that_cannot_be_written_is_named_before_anything_is_sent(
    sandbox: Sandbox, source: Path
) -> None:
    output = source / "out.parquet"  # below a file

    with pytest.raises(InputError, match=rf"^output: {output} cannot be used: "):
        run_job(job(source, output, "{text}"), sandbox.url)

    assert not sandbox.ledger().calls


def test_a_home_of_frames_that_cannot_be_written_is_named(
    sandbox: Sandbox, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATCHKIT_HOME", str(source))

    with pytest.raises(InputError, match=rf"^BATCHKIT_HOME: {source} cannot be used"):
        batch_dataframe(
            pd.DataFrame({"text": ["a"]}),
            "{text}",
            credentials=credentials(sandbox.url),
            progress=False,
        )

    assert not sandbox.ledger().calls


def test_a_frame_with_two_columns_of_one_name_is_refused(sandbox: Sandbox) -> None:
    frame = pd.DataFrame([["a", "b"]], columns=["text", "text"])

    with pytest.raises(BatchkitError, match="text"):
        batch_dataframe(
            frame, "{text}", credentials=credentials(sandbox.url), advanced=FAST
        )

    assert sandbox.ledger().batches() == []
