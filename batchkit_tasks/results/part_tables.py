"""The table of a part: its columns, and how rows become one."""

from __future__ import annotations

from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from batchkit_tasks.answers.formats import AnswerFormat

_BEFORE: Final = (
    pa.field("position", pa.int64(), nullable=False),
    pa.field("status", pa.string(), nullable=False),
    pa.field("error_type", pa.string()),
    pa.field("error", pa.string()),
)
_AFTER: Final = (
    pa.field("model", pa.string()),
    pa.field("stop_reason", pa.string()),
    pa.field("input_tokens", pa.int64()),
    pa.field("output_tokens", pa.int64()),
    pa.field("cache_creation_5m_tokens", pa.int64()),
    pa.field("cache_creation_1h_tokens", pa.int64()),
    pa.field("cache_read_tokens", pa.int64()),
    pa.field("cost_usd", pa.float64()),
    pa.field("service_tier", pa.string()),
    pa.field("raw", pa.string()),
)
PART_SCHEMA: Final = pa.schema([*_BEFORE, *_AFTER])
"""Columns of every part; the answer's stand between `error` and `model`.

`cost_usd` is 0 for what is not billed and null where it is not known. `raw` is the
result as JSON where it holds more than text (tool use, unknown blocks and types).
"""


def answer_columns(answer: AnswerFormat) -> tuple[str, ...]:
    """Name the answer's columns in a part, in the order of `answer.fields`.

    An answer column may be called like one of the part's own, such as `model`: it is
    then `answer:model` in the part. In the output table it has its own name.
    """
    own = set(PART_SCHEMA.names)
    return tuple(f"answer:{name}" if name in own else name for name in answer.names)


def part_schema(answer: AnswerFormat) -> pa.Schema:
    """Give the columns of a part for this kind of answer."""
    named = zip(answer_columns(answer), answer.fields, strict=True)
    return pa.schema(
        [*_BEFORE, *(each.with_name(name) for name, each in named), *_AFTER]
    )


def part_piece(
    positions: npt.NDArray[np.int64], columns: list[Any], answer: AnswerFormat
) -> pa.Table:
    """Make a table of some rows of a part, and read their answers.

    Args:
        columns: Those of `Row`, as lists or arrays; `None`: all null.
    """
    status, error_type, error, texts, *after = columns
    parsed = answer.parse(texts)
    if parsed.problems.count(None) < len(texts):
        status, error_type, error = (
            _values(column, len(texts)) for column in (status, error_type, error)
        )
        for row, problem in enumerate(parsed.problems):
            if problem is not None:
                status[row] = error_type[row] = "invalid_answer"
                error[row] = _invalid(problem, texts[row])
    own = [positions, status, error_type, error, *parsed.columns, *after]
    schema = part_schema(answer)
    arrays = [
        _array(values, field.type, len(texts))
        for values, field in zip(own, schema, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def in_order(pieces: list[pa.Table]) -> pa.Table:
    """Put the rows of all pieces in the order of their positions."""
    part = pa.concat_tables(pieces)
    order: Any = np.argsort(part.column("position").to_numpy(), kind="stable")
    return part.take(order)


def _array(values: Any, kind: pa.DataType, rows: int) -> Any:
    if values is None:
        return cast("Any", pa).nulls(rows, kind)
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return values
    return pa.array(values, kind)


def _values(column: Any, rows: int) -> list[Any]:
    """Give a column as a list that can be changed."""
    if column is None:
        return [None] * rows
    return column.to_pylist() if isinstance(column, pa.Array) else column


def _invalid(problem: str, text: str) -> str:
    said = f"the answer: {text}" if text.strip() else "the answer is empty"
    return f"does not fit the schema: {problem}; {said}"
