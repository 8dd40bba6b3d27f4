"""Read the results of one message batch into a part: one row per row that was sent.

Lines come in any order, twice, torn, or from another batch. A row is accepted only
with our nonce and a position that we sent, once; every position has exactly one row in
the part, and what is odd is counted. Nothing here decides what is sent again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from batchkit_tasks.answers import AnswerFormat
from batchkit_tasks.parameters import RetryKind
from batchkit_tasks.result_lines import LineCutter, decode_line, read_lines
from batchkit_tasks.result_rows import MISSING, UNKNOWN_RESULT, Judge, Price, Row

__all__ = (
    "PART_SCHEMA",
    "Collected",
    "ResultReader",
    "answer_columns",
    "is_credit_message",
    "part_schema",
    "read_lines",
    "retry_kind",
)

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

LINES_THAT_TELL: Final = 20
"""If so many lines all bear other nonces, the batch is not ours."""


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


@dataclass(frozen=True, slots=True)
class Collected:
    """What came back for a batch."""

    part: pa.Table
    """One row per position, ascending; `part_schema` of the answer."""
    lines: int
    """Lines that are results, foreign ones and duplicates among them."""
    foreign: int
    """Lines of another nonce or with a position that was not sent; dropped."""
    duplicates: int
    """Further lines of a row that had one; dropped."""
    torn: int
    """Lines that cannot be read."""
    unknown: int
    """Rows whose result has a form that is not known."""
    missing: int
    """Rows for which no line came back."""
    types: dict[str, int] = field(default_factory=dict[str, int])
    """Rows by the API's result type, to be held against `request_counts`."""


class ResultReader:
    """Takes the bytes of the results as they come.

    Args:
        nonce: Of the sending; without it a line is foreign.
        positions: The rows that were sent, ascending.
        answer: What the rows are to become.
        price: Model and usage to USD, or `None` where it is not known.
        max_tokens: What the requests asked for; it is named in messages.
    """

    def __init__(
        self,
        *,
        nonce: str,
        positions: npt.NDArray[np.int64],
        answer: AnswerFormat,
        price: Price,
        max_tokens: int,
    ) -> None:
        self._answer = answer
        self._positions = positions
        self._prefix = f"{nonce}-"
        ids = (f"{nonce}-{position}" for position in positions.tolist())
        self._slots = {custom_id: slot for slot, custom_id in enumerate(ids)}
        self._rows: list[Row | None] = [None] * len(positions)
        self._judge = Judge(price, max_tokens, answer.is_text)
        self._types: dict[str, int] = {}
        self._nonce_seen = False
        self.start_reading()

    def start_reading(self) -> None:
        """Begin with the first byte (again); rows that were read before are kept.

        The results of a batch never change, so several readings that are cut at
        different places add up. Lines are counted as of the last reading.
        """
        self._cutter = LineCutter()
        self._read_now = bytearray(len(self._rows))
        self._lines = self._foreign = self._duplicates = self._torn = 0
        self._finished = False

    @property
    def missing(self) -> int:
        """Rows for which no line has come yet."""
        return self._rows.count(None)

    @property
    def looks_foreign(self) -> bool:
        """The first 20 lines (or all, at the end) bear another nonce than ours."""
        enough = LINES_THAT_TELL if not self._finished else 1
        return not self._nonce_seen and self._lines >= enough

    def feed(self, block: bytes) -> None:
        """Take the next bytes, cut anywhere."""
        for line in self._cutter.cut(block):
            self._take(line)

    def finish_reading(self) -> None:
        """Take the last line, if it has no newline."""
        for line in self._cutter.rest():
            self._take(line)
        self._finished = True

    def finish(self) -> Collected:
        """Make the part of all that was read."""
        self.finish_reading()
        rows = [MISSING if row is None else row for row in self._rows]
        return Collected(
            part=_part(rows, self._positions, self._answer),
            lines=self._lines,
            foreign=self._foreign,
            duplicates=self._duplicates,
            torn=self._torn,
            unknown=sum(row.error_type == UNKNOWN_RESULT for row in rows),
            missing=self.missing,
            types=dict(self._types),
        )

    def _take(self, line: bytes) -> None:
        decoded = decode_line(line)
        if decoded is None:
            self._torn += 1
            return
        self._lines += 1
        custom_id = decoded.custom_id
        slot = self._slots.get(custom_id)
        if slot is None:
            self._foreign += 1
            self._nonce_seen |= custom_id.startswith(self._prefix)
            return
        self._nonce_seen = True
        if self._read_now[slot]:
            self._duplicates += 1
        self._read_now[slot] = True
        if self._rows[slot] is not None:
            return
        result = decoded.result
        self._rows[slot] = self._judge.row(result, line)
        self._types[result.type] = self._types.get(result.type, 0) + 1


def _part(
    rows: list[Row], positions: npt.NDArray[np.int64], answer: AnswerFormat
) -> pa.Table:
    columns: list[Any] = [list(column) for column in zip(*rows, strict=True)]
    columns = columns or [[] for _ in Row._fields]
    status, error_type, error, texts, *after = columns
    parsed = answer.parse(texts)
    for number, problem in enumerate(parsed.problems):
        if problem is not None:
            status[number] = error_type[number] = "invalid_answer"
            error[number] = _invalid(problem, texts[number])
    arrays: list[Any] = [positions, status, error_type, error, *parsed.columns, *after]
    schema = part_schema(answer)
    return pa.Table.from_arrays(
        [
            values if isinstance(values, pa.Array | pa.ChunkedArray)
            else pa.array(values, column.type)
            for values, column in zip(arrays, schema, strict=True)
        ],
        schema=schema,
    )  # fmt: skip


def _invalid(problem: str, text: str) -> str:
    said = f"the answer: {text}" if text.strip() else "the answer is empty"
    return f"does not fit the schema: {problem}; {said}"


# ------------------------------------------------------------- what may go again

NEVER_AGAIN: Final = frozenset(
    (
        "invalid_request_error",
        "authentication_error",
        "permission_error",
        "billing_error",
        "not_found_error",
        "request_too_large",
        UNKNOWN_RESULT,
    )
)
"""Errors that would come back, and results that may have been billed."""

RESULTS_GONE: Final = "results_gone"
"""Error type of rows that were billed and whose answers the API has deleted. They are
not sent again by themselves: that would pay for them twice without a word."""

SAME_STATUS: Final[tuple[RetryKind, ...]] = (
    "expired",
    "canceled",
    "missing",
    "truncated",
    "refused",
    "paused",
    "invalid_answer",
)
ERROR_TYPES: Final[tuple[RetryKind, ...]] = (
    "overloaded_error",
    "rate_limit_error",
    "timeout_error",
)


def retry_kind(status: str, error_type: str | None) -> RetryKind | None:
    """Say under which name of `retry_on` a row may be sent again; `None`: never.

    The API's rule: anything but `invalid_request_error` may be sent again unchanged.
    So an error type that is not known here counts as `api_error`.
    """
    if error_type == RESULTS_GONE:
        return None
    for kind in SAME_STATUS:
        if status == kind:
            return kind
    if status != "errored" or error_type is None or error_type in NEVER_AGAIN:
        return None
    for kind in ERROR_TYPES:
        if error_type == kind:
            return kind
    return "api_error"


def is_credit_message(error: str | None) -> bool:
    """Whether a row was refused because the organization's credit is used up.

    It comes as an `invalid_request_error` per row.
    """
    if error is None:
        return False
    kind, _, message = error.partition(":")
    return kind == "billing_error" or (
        kind == "invalid_request_error" and "credit balance" in message.lower()
    )
