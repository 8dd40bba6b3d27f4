"""Read the results of one message batch into a part: one row per row that was sent.

Lines come in any order, twice, torn, or from another batch. A row is accepted only
with our nonce and a position that we sent, once; every position has exactly one row in
the part, and what is odd is counted. Nothing here decides what is sent again.

Here too: lines out of bytes, the judging of each, and the columns of a part.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import compress
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from batchkit_tasks.answers.formats import AnswerFormat
from batchkit_tasks.results.lines import (
    LineCutter,
    Result,
    ResultLine,
    decode_line,
    decode_lines,
    read_lines,
    split_lines,
)
from batchkit_tasks.results.part_tables import (
    PART_SCHEMA,
    answer_columns,
    in_order,
    part_piece,
    part_schema,
)
from batchkit_tasks.results.plain import (
    NotPlainError,
    Plain,
    PriceMany,
    is_plain,
    plain_columns,
)
from batchkit_tasks.results.retry_kinds import (
    RESULTS_GONE,
    is_credit_message,
    retry_kind,
)
from batchkit_tasks.results.rows import MISSING, UNKNOWN_RESULT, Judge, Price, Row

__all__ = (
    "PART_SCHEMA",
    "RESULTS_GONE",
    "Collected",
    "ResultReader",
    "answer_columns",
    "is_credit_message",
    "part_schema",
    "read_lines",
    "retry_kind",
)

LINES_THAT_TELL: Final = 20
"""If so many lines all bear other nonces, the batch is not ours."""


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
        price_many: The same for many rows at once; without it each is priced alone.
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
        price_many: PriceMany | None = None,
    ) -> None:
        self._answer = answer
        self._positions = positions
        self._prefix = f"{nonce}-"
        self._taken = np.zeros(len(positions), dtype=bool)
        self._pieces: list[pa.Table] = []
        self._rows: dict[int, Row] = {}
        self._price, self._price_many = price, price_many
        self._judge = Judge(price, max_tokens, answer.is_text)
        self._types: Counter[str] = Counter()
        self._nonce_seen = False
        self.start_reading()

    def start_reading(self) -> None:
        """Begin with the first byte (again); rows that were read before are kept.

        The results of a batch never change, so several readings that are cut at
        different places add up. Lines are counted as of the last reading.
        """
        self._cutter = LineCutter()
        self._read_now = np.zeros(len(self._positions), dtype=bool)
        self._lines = self._foreign = self._duplicates = self._torn = 0
        self._finished = False

    @property
    def missing(self) -> int:
        """Rows for which no line has come yet."""
        return len(self._taken) - int(self._taken.sum())

    @property
    def looks_foreign(self) -> bool:
        """The first 20 lines (or all, at the end) bear another nonce than ours."""
        enough = LINES_THAT_TELL if not self._finished else 1
        return not self._nonce_seen and self._lines >= enough

    def feed(self, block: bytes) -> None:
        """Take the next bytes, cut anywhere."""
        lines = self._cutter.whole(block)
        decoded = decode_lines(lines) if lines else []
        if decoded is None or not self._take_all(decoded, lines):
            for line in split_lines(lines):
                self._take(line)

    def finish_reading(self) -> None:
        """Take the last line, if it has no newline."""
        for line in self._cutter.rest():
            self._take(line)
        self._finished = True

    def finish(self) -> Collected:
        """Make the part of all that was read."""
        self.finish_reading()
        missing = np.flatnonzero(~self._taken).tolist()
        rows = self._rows | dict.fromkeys(missing, MISSING)
        return Collected(
            part=self._part(rows),
            lines=self._lines,
            foreign=self._foreign,
            duplicates=self._duplicates,
            torn=self._torn,
            unknown=sum(row.error_type == UNKNOWN_RESULT for row in rows.values()),
            missing=len(missing),
            types=dict(self._types),
        )

    # ------------------------------------------------------------------ inside

    def _take_all(self, decoded: list[ResultLine], lines: bytes) -> bool:
        """Take lines at once; False, and nothing is taken, if one is not ours or new."""
        slots = self._slots([line.custom_id for line in decoded])
        if slots is None or np.bincount(slots).max(initial=0) > 1:
            return False
        if self._read_now[slots].any():
            return False
        self._read_now[slots] = True
        self._lines += len(decoded)
        self._nonce_seen |= bool(decoded)
        results = [line.result for line in decoded]
        new = ~self._taken[slots]
        self._taken[slots] = True
        if not new.all() or not self._keep(slots, results):
            self._keep_some(slots, results, new, split_lines(lines))
        return True

    def _slots(self, custom_ids: list[str]) -> npt.NDArray[np.int64] | None:
        """Look up many custom_ids at once, as numbers; None if one of them is not ours.

        Gives what `_slot_of` gives, without the price of a dictionary of all rows.
        """
        start = len(self._prefix)
        try:
            numbers = [int(custom_id[start:]) for custom_id in custom_ids]
            positions = np.array(numbers, np.int64)
        except (ValueError, OverflowError):
            return None
        if [f"{self._prefix}{number}" for number in numbers] != custom_ids:
            return None  # such as 007, or another's
        slots = np.searchsorted(self._positions, positions)
        is_ours = self._positions[np.minimum(slots, len(self._positions) - 1)]
        return slots if (is_ours == positions).all() else None

    @cached_property
    def _slot_of(self) -> dict[str, int]:
        """The place of each custom_id that was sent; for lines read one by one."""
        ids = (f"{self._prefix}{position}" for position in self._positions.tolist())
        return {custom_id: slot for slot, custom_id in enumerate(ids)}

    def _keep(self, slots: npt.NDArray[np.int64], results: Sequence[Result]) -> bool:
        """Keep results in columns, if all of them are plain."""
        if not results:
            return True
        try:
            plain = Plain(results)
        except NotPlainError:
            return False
        self._types["succeeded"] += len(results)
        columns = plain_columns(plain, self._price, self._price_many)
        self._pieces.append(self._piece(slots, columns))
        return True

    def _keep_some(
        self,
        slots: npt.NDArray[np.int64],
        results: Sequence[Result],
        new: npt.NDArray[np.bool_],
        lines: Sequence[bytes],
    ) -> None:
        """Keep the plain ones of the new results in columns, and judge the others."""
        plain = np.fromiter(map(is_plain, results), dtype=bool, count=len(results))
        self._keep(slots[new & plain], list(compress(results, new & plain)))
        for at in np.flatnonzero(new & ~plain).tolist():
            self._judge_one(int(slots[at]), results[at], lines[at])

    def _take(self, line: bytes) -> None:
        decoded = decode_line(line)
        if decoded is None:
            self._torn += 1
            return
        self._lines += 1
        custom_id = decoded.custom_id
        slot = self._slot_of.get(custom_id)
        if slot is None:
            self._foreign += 1
            self._nonce_seen |= custom_id.startswith(self._prefix)
            return
        self._nonce_seen = True
        if self._read_now[slot]:
            self._duplicates += 1
        self._read_now[slot] = True
        if self._taken[slot]:
            return
        self._taken[slot] = True
        self._judge_one(slot, decoded.result, line)

    def _judge_one(self, slot: int, result: Result, line: bytes) -> None:
        self._rows[slot] = self._judge.row(result, line)
        self._types[result.type] += 1

    def _part(self, rows: dict[int, Row]) -> pa.Table:
        """Put all rows in the order of their positions; `rows` were judged one by one."""
        pieces = list(self._pieces)
        if rows or not pieces:
            columns: list[Any] = [list(c) for c in zip(*rows.values(), strict=True)]
            slots = np.array(list(rows), dtype=np.int64)
            pieces.append(self._piece(slots, columns or [[] for _ in Row._fields]))
        return in_order(pieces)

    def _piece(self, slots: npt.NDArray[np.int64], columns: list[Any]) -> pa.Table:
        return part_piece(self._positions[slots], columns, self._answer)
