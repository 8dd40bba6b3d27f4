"""Tables, parts and rows for the tests of the output, made without an API."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from batchkit_tasks.answers.formats import AnswerFormat, answer_format
from batchkit_tasks.ground.table_files import moved_into_place
from batchkit_tasks.output.table import write_table
from batchkit_tasks.parameters import TextAnswer
from batchkit_tasks.parts.joined import Absent, Part, Parts
from batchkit_tasks.parts.output_counts import OutputCounts
from batchkit_tasks.records import Chunk
from batchkit_tasks.results import part_schema

TEXT = answer_format(TextAnswer())
NONCE = "0123456789abcdef"


class TableRows:
    """A table in memory with the reading manners of `sources.Rows`."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    @property
    def schema(self) -> pa.Schema:
        return self.table.schema

    @property
    def num_rows(self) -> int:
        return self.table.num_rows

    def read(
        self, start: int, stop: int, columns: Sequence[str] | None = None
    ) -> pa.Table:
        rows = self.table.slice(start, stop - start)
        return rows if columns is None else rows.select(list(columns))


def numbered(rows: int) -> Any:
    """A table with one column `n`, the row numbers."""
    return TableRows(pa.table({"n": pa.array(range(rows), pa.int64())}))


def request_hash(position: int) -> bytes:
    """A hash as `rows.parquet` has it."""
    return hashlib.blake2b(str(position).encode(), digest_size=16).digest()


def planned(
    rows: int, unsent: Mapping[int, tuple[str, str | None]] | None = None
) -> Any:
    """`rows.parquet`: all rows to be sent, but for those that are named."""
    unsent = unsent or {}
    nothing = (None, None)
    return TableRows(
        pa.table(
            {
                "request_hash": pa.array(
                    [request_hash(i) for i in range(rows)], pa.binary(16)
                ),
                "status": pa.array(
                    [unsent.get(i, nothing)[0] for i in range(rows)], pa.string()
                ),
                "reason": pa.array(
                    [unsent.get(i, nothing)[1] for i in range(rows)], pa.string()
                ),
            }
        )
    )


def chunk(number: int, *ranges: tuple[int, int], **fields: Any) -> Chunk:
    """A chunk of some positions."""
    requests = sum(stop - start for start, stop in ranges)
    return Chunk(
        number=number,
        ranges=ranges,
        requests=requests,
        body_bytes=100 * requests,
        **fields,
    )


def positions_of(found: Chunk) -> list[int]:
    """The positions of a chunk."""
    return [i for start, stop in found.ranges for i in range(start, stop)]


def part(
    folder: str | Path,
    found: Chunk,
    *,
    round: int = 1,
    answer: AnswerFormat = TEXT,
    rows: Mapping[int, Mapping[str, Any]] | None = None,
    nonce: str = NONCE,
    without: Sequence[int] = (),
) -> Part:
    """Write the part of a chunk: succeeded rows, changed where `rows` says so.

    A part's own column may be set by its name, an answer's by `answer:` and its name.
    """
    changed = rows or {}
    positions = [p for p in positions_of(found) if p not in without]
    schema = part_schema(answer)
    lines = [
        {
            "position": position,
            "status": "succeeded",
            "model": "claude-haiku-5-5-20261007",
            "stop_reason": "end_turn",
            "input_tokens": 10,
            "output_tokens": 2,
            "cost_usd": 0.25,
            "response": f"answer {position} of round {round}",
            **changed.get(position, {}),
        }
        for position in positions
    ]
    columns = [pa.array([line.get(f.name) for line in lines], f.type) for f in schema]
    url = f"{folder}/parts/{found.number:05d}.parquet"
    with moved_into_place(url) as file:
        pq.write_table(pa.Table.from_arrays(columns, schema=schema), file)
    return Part(found, round, url, f"msgbatch_{found.number}", nonce)


def read(url: str | Path) -> pa.Table:
    """A table by its path or URL."""
    fs, path = fsspec.core.url_to_fs(str(url))
    with fs.open(path, "rb") as file:
        return pq.read_table(file)


def column(url: str | Path, name: str) -> list[Any]:
    """One column of a table."""
    return read(url)[name].to_pylist()


def meta(url: str | Path) -> list[dict[str, Any]]:
    """The column `_meta` of an output table."""
    return column(url, "_meta")


def write(
    folder: str | Path,
    rows: int,
    parts: list[Part],
    *,
    absent: tuple[Absent, ...] = (),
    fates: Any = None,
    window_rows: int | None = None,
) -> OutputCounts:
    """Write `out.parquet` for a table with the column `n`."""
    return write_table(
        rows=numbered(rows),
        fates=fates or planned(rows),
        parts=Parts(parts, TEXT.fields, absent),
        to_url=f"{folder}/out.parquet",
        window_rows=window_rows,
    )
