"""What a run is asked to do: the models behind the form, the flow and `batch_dataframe`.

Pydantic, because Prefect draws its form from them. Every field has a position: the
order of a form rides on the order of JSON keys, which PostgreSQL does not keep.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from batchkit_tasks.limits import MAX_QUEUED_REQUESTS, MAX_REQUESTS_PER_BATCH

KnownModel = Literal[
    "claude-haiku-5-5",
    "claude-sonnet-5-5",
    "claude-opus-5-5",
    "claude-fable-5-2",
    "claude-sonnet-4-6",
    "claude-haiku-4-5",
]
"""Models offered by name in the form; any other id can be typed."""

DEFAULT_MODEL: Final = "claude-haiku-5-5"

RetryKind = Literal[
    "expired",
    "canceled",
    "api_error",
    "overloaded_error",
    "rate_limit_error",
    "timeout_error",
    "missing",
    "truncated",
    "refused",
    "paused",
    "invalid_answer",
]
"""Why a row may be sent again: a result type, an error type of the API or one of our
statuses."""

DEFAULT_RETRY_ON: Final[tuple[RetryKind, ...]] = (
    "expired",
    "canceled",
    "api_error",
    "overloaded_error",
    "rate_limit_error",
    "timeout_error",
    "missing",
)
"""What may be resent unchanged by the API's own rule: everything but
`invalid_request_error`, plus rows for which no line came back."""


def _field(
    default: Any, title: str, description: str, *, position: int, **bounds: Any
) -> Any:
    return Field(
        default,
        title=title,
        description=description or None,
        json_schema_extra={"position": position},
        **bounds,
    )


def _json_text(value: Any) -> Any:
    """Accept what the two interfaces send for JSON: text, or the object itself.

    A schedule made in the UI stores an untouched field as `{"__prefect_kind": "json"}`
    (PrefectHQ/prefect#18701).
    """
    if isinstance(value, dict):
        if value.get("__prefect_kind") == "json":
            return value.get("value") or "{}"
        return json.dumps(value)
    return value


JsonText = Annotated[str, BeforeValidator(_json_text)]
"""JSON kept as text: a `dict` parameter is stored raw by schedules made in the UI."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TextAnswer(_Strict):
    """The answer's text in one new column."""

    model_config = ConfigDict(title="One text column", extra="forbid", frozen=True)

    column: str = _field(
        "response", "Column name", "Name of the new column", position=0, min_length=1
    )


class OutputColumn(_Strict):
    """One typed column of the answer."""

    model_config = ConfigDict(title="Column", extra="forbid", frozen=True)

    name: str = _field(..., "Name", "Name of the new column", position=0, min_length=1)
    type: Literal["string", "integer", "number", "boolean"] = _field(
        "string", "Type", "What the column holds", position=1
    )
    description: str = _field(
        "", "Description", "Tells the model what belongs here", position=2
    )
    choices: list[str] = _field(
        [], "Choices", "The only values allowed; none means any", position=3
    )


class ColumnsAnswer(_Strict):
    """Several typed columns, filled from a structured answer."""

    model_config = ConfigDict(title="Typed columns", extra="forbid", frozen=True)

    columns: list[OutputColumn] = _field(
        ...,
        "Columns",
        "What is to be found out about each row",
        position=0,
        min_length=1,
    )


class SchemaAnswer(_Strict):
    """A JSON Schema; each top-level property becomes a typed column."""

    model_config = ConfigDict(title="JSON Schema", extra="forbid", frozen=True)

    json_schema: JsonText = Field(
        default=...,
        title="JSON Schema",
        description="An object schema; each of its properties becomes a column",
        json_schema_extra={"position": 0, "format": "json-string"},
    )


Answer = TextAnswer | ColumnsAnswer | SchemaAnswer
"""What is added to each row."""


class Advanced(_Strict):
    """Everything that has a good default; positions put what is changed most first."""

    model_config = ConfigDict(title="Advanced", extra="forbid", frozen=True)

    system: str = _field(
        "", "System prompt", "The same for every row; may also use {column}", position=0
    )
    max_tokens: int = _field(
        1024, "Max tokens", "Longest answer per row, in tokens", position=1, ge=1
    )
    id_column: str = _field(
        "",
        "Row id column",
        "Names rows in messages and in the report; empty: the row number",
        position=3,
    )
    attempts: int = _field(
        3, "Attempts", "How often a row is sent before it counts as failed",
        position=4, ge=1, le=10,
    )  # fmt: skip
    retry_on: list[RetryKind] = _field(
        list(DEFAULT_RETRY_ON), "Send again if", "Why a row is sent again", position=5
    )
    rows_per_batch: int = _field(
        MAX_REQUESTS_PER_BATCH, "Rows per batch", "1 to 10,000",
        position=9, ge=1, le=MAX_REQUESTS_PER_BATCH,
    )  # fmt: skip
    mb_per_batch: int = _field(
        200, "Megabytes per batch", "The API takes up to 256",
        position=10, ge=1, le=255,
    )  # fmt: skip
    check_every_seconds: float = _field(
        60.0, "Look every (seconds)", "The first wait; it grows to 15 minutes",
        position=12, gt=0, le=3600,
    )  # fmt: skip
    give_up_after_hours: float = _field(
        26.0, "Give up after (hours)", "Anthropic ends each batch within 24 hours",
        position=13, gt=0,
    )  # fmt: skip
    fail_above_percent: float = _field(
        5.0, "Fail the run if more rows fail than (%)", "100: only when no row succeeds",
        position=6, ge=0, le=100,
    )  # fmt: skip
    reuse: Literal["answers", "nothing"] = _field(
        "answers",
        "Reuse",
        "answers: rows that were answered before keep their answers, unpaid; nothing: "
        "every row is sent",
        position=7,
    )
    request: JsonText = Field(
        default="{}",
        title="More request fields",
        description='JSON merged into every request, such as {"stop_sequences": ["END"]}',
        json_schema_extra={"position": 14, "format": "json-string"},
    )
    max_requests_in_flight: int = _field(
        MAX_QUEUED_REQUESTS,
        "Requests in flight",
        "At most this many wait at Anthropic at once; the rest follows in waves",
        position=11,
        ge=1,
    )
    identical: Literal["once", "each"] = _field(
        "once",
        "Identical requests",
        "once: rows with the same request share one answer; each: every row is sent",
        position=8,
    )
    prices: JsonText = Field(
        default="{}",
        title="Own prices",
        description="JSON: USD per million tokens by model, such as "
        '{"claude-haiku-5-5": {"input": 0.1, "output": 0.5}}; they win over the known ones',
        json_schema_extra={"position": 15, "format": "json-string"},
    )
    cache: Literal["off", "on", "primed"] = _field(
        "off",
        "Prompt cache",
        "on: the system prompt, or the prompt up to its first column, is cached for an "
        "hour; primed: one request is sent first, to write it",
        position=2,
    )


class Job(_Strict):
    """Everything a run was asked to do, as it is kept in the run directory.

    `output` has its placeholders already replaced: they are fixed once per run.
    """

    source: str
    prompt: str
    output: str
    model: str
    answer: Answer
    sample_rows: int = 0
    budget_usd: float = 0.0
    dry_run: bool = False
    advanced: Advanced = Advanced()
    output_pattern: str = ""
    """The output before its placeholders were replaced: runs of other days have the
    same one, and their answers are taken over."""
