"""The flow `batch-table`: a table in, a joined Parquet out.

Thin on purpose: the parameters that Prefect draws its form from, and nothing else. The
order of the work is in `batchkit_tasks.pipeline`.
"""

from __future__ import annotations

from typing import Annotated, Any

from prefect import flow
from pydantic import Field

from batchkit_tasks.credentials import AnthropicCredentials
from batchkit_tasks.deployed import run_as_flow
from batchkit_tasks.parameters import (
    DEFAULT_MODEL,
    Advanced,
    ColumnsAnswer,
    KnownModel,
    SchemaAnswer,
    TextAnswer,
)


def _ui(title: str, description: str = "", **bounds: Any) -> Any:
    """What a form shows; Prefect ignores a plain `Field(title=…)` on parameters."""
    shown = {"title": title, "description": description}
    return Field(json_schema_extra={k: v for k, v in shown.items() if v}, **bounds)


def clean_up(flow: Any, flow_run: Any, state: Any) -> None:
    """Cancel the message batches of a run that is canceled while it runs."""
    from batchkit_tasks.sweeping import clean_up_after_cancel

    clean_up_after_cancel(flow, flow_run, state)


@flow(name="batch-table", persist_result=False, on_cancellation=[clean_up])
def batch_table(
    source: Annotated[
        str,
        _ui(
            "Source table",
            "Parquet, CSV or JSON Lines: a path or a URL such as s3://bucket/rows.parquet. "
            "A glob or a folder is read as one table.",
            min_length=1,
        ),
    ],
    prompt: Annotated[
        str,
        _ui(
            "Prompt",
            "Sent once per row. {column} becomes the row's value; write {{ }} for braces.",
            min_length=1,
        ),
    ],
    credentials: Annotated[
        AnthropicCredentials, _ui("Credentials", "The Anthropic API key to use")
    ],
    output: Annotated[
        str,
        _ui(
            "Output table",
            "The Parquet file to write. {source}, {date} and {run} are replaced.",
            min_length=1,
        ),
    ] = "results/{source}-{date}.parquet",
    model: Annotated[
        Annotated[KnownModel, _ui("Current models")]
        | Annotated[str, _ui("Other model id", min_length=1)],
        _ui("Model", "Batches cost half of the list price"),
    ] = DEFAULT_MODEL,
    answer: Annotated[
        TextAnswer | ColumnsAnswer | SchemaAnswer,
        _ui("Answer", "What is added to each row"),
    ] = TextAnswer(),  # noqa: B008 - frozen
    sample_rows: Annotated[
        int,
        _ui(
            "Sample rows",
            "Try it on this many rows, spread over the table; 0 means all rows",
            ge=0,
        ),
    ] = 0,
    budget_usd: Annotated[
        float,
        _ui(
            "Budget (USD)",
            "Ask before more than this could be spent; 0: no limit",
            ge=0,
        ),
    ] = 0.0,
    dry_run: Annotated[
        bool, _ui("Dry run", "Show five prompts and the estimated cost; send nothing")
    ] = False,
    advanced: Annotated[
        Advanced, _ui("Advanced", "Retries, limits and other request settings")
    ] = Advanced(),  # noqa: B008 - frozen
) -> dict[str, Any]:
    """Run a language model over every row of a table, at half price.

    Prompts are rendered from the table's columns and sent to Anthropic's Message
    Batches API. Most batches end within an hour, all within 24; a deployed run does not
    hold a worker meanwhile and wakes by itself.

    - **Price**: half of the list price of every token
    - **Time**: usually under an hour, at most 24
    - **Workers**: none while it waits
    - **Result**: one Parquet: every row once, with its answer or the reason why not
    - **While it runs**: one report under *Artifacts*; *Resume* (⋮ menu) when you are asked
    """
    return run_as_flow(
        source=source,
        prompt=prompt,
        credentials=credentials,
        output=output,
        model=model,
        answer=answer,
        sample_rows=sample_rows,
        budget_usd=budget_usd,
        dry_run=dry_run,
        advanced=advanced,
    )
