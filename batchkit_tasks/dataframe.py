"""`batch_dataframe`: a DataFrame in, the same DataFrame with answers out."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from batchkit_tasks.answers.formats import as_answer
from batchkit_tasks.errors import ParameterError
from batchkit_tasks.ground import storage
from batchkit_tasks.hosts import InProcess
from batchkit_tasks.keys import ApiKey, Key
from batchkit_tasks.output.frames import from_arrow, to_arrow
from batchkit_tasks.parameters import DEFAULT_MODEL, Advanced, Answer, Job, TextAnswer
from batchkit_tasks.pipeline import run_to_end
from batchkit_tasks.plans.planning import HOME_VARIABLE, open_frame_run
from batchkit_tasks.waiting.progress import ProgressBar

if TYPE_CHECKING:
    from pydantic import BaseModel

Frame = TypeVar("Frame")


def batch_dataframe(
    df: Frame,
    prompt: str,
    *,
    model: str = DEFAULT_MODEL,
    answer: Answer | type[BaseModel] | Mapping[str, Any] | str = TextAnswer(),  # noqa: B008 - frozen
    credentials: Key | None = None,
    sample_rows: int = 0,
    budget_usd: float = 0.0,
    advanced: Advanced = Advanced(),  # noqa: B008 - frozen
    progress: bool = True,
) -> Frame:
    """Ask the model about every row, at batch price, and wait for all the answers.

    Waits in this process, up to a day, with a progress bar. Ctrl-C leaves the message
    batches running at Anthropic: calling it again with the same data and parameters
    picks them up and pays nothing twice. Everything sent and received is kept under
    `BATCHKIT_HOME` (by default `~/.batchkit`).

    Args:
        df: A pandas or polars DataFrame, or a pyarrow Table.
        prompt: Text with `{column}` for the row's values; `{{` and `}}` for braces.
        answer: The new columns; a pydantic model class or the name of a text column
            will do as well.
        credentials: By default `ANTHROPIC_API_KEY` and `ANTHROPIC_BASE_URL`.
        sample_rows: Try it on so many rows, spread over the table; 0 means all.
        progress: Show a progress bar on stderr.

    Returns:
        The same kind of frame: same rows, order, index and columns, then the answer
        column(s), `_status`, `_error` and `_meta`.

    Raises:
        InputError: Something about the table or the parameters cannot work. Nothing
            was sent.
        RunFailedError: Too many rows did not succeed; the error names the Parquet
            that has every row.
        BatchkitError: Something else stopped the run; calling again goes on.
    """
    table, kind = to_arrow(df)
    opened_with = credentials or ApiKey.from_env()
    job = Job(
        source="DataFrame",
        prompt=prompt,
        output="dataframe.parquet",
        model=model,
        answer=as_answer(answer),
        sample_rows=sample_rows,
        budget_usd=budget_usd,
        advanced=advanced,
    )
    if sample_rows < 0:
        raise ParameterError("sample_rows", "must be 0 (all rows) or more.")
    run_url = open_frame_run(job, table, folder=home())
    try:
        output = _run(run_url, opened_with, progress)
    except KeyboardInterrupt:
        print(how_to_go_on(run_url), file=sys.stderr)  # noqa: T201 - for the person
        raise
    return from_arrow(_read(output), kind)


def home() -> str:
    """Where runs over DataFrames are kept."""
    return os.environ.get(HOME_VARIABLE) or str(Path.home() / ".batchkit")


def how_to_go_on(run_url: str) -> str:
    """What to tell a person who pressed Ctrl-C."""
    return (
        "Stopped waiting. The message batches go on at Anthropic, and are billed. Run "
        "the same again to collect them (nothing is sent twice), or stop them with: "
        f"batchkit cancel {run_url}"
    )


def _run(run_url: str, credentials: Key, progress: bool) -> str:
    if not progress:
        return run_to_end(run_url, credentials, InProcess()).output
    with ProgressBar() as bar:
        host = InProcess(
            on_planned=bar.planned, on_look=bar.looked, on_collected=bar.collected
        )
        return run_to_end(run_url, credentials, host).output


def _read(url: str) -> Any:
    import pyarrow.parquet as pq

    fs, path = storage.filesystem(url)
    return pq.read_table(path, filesystem=fs)
