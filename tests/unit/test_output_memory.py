"""A long table is written in the memory of a short one."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from batchkit_tasks.ground.arrow_compute import pc
from batchkit_tasks.output.table import write_table
from batchkit_tasks.parts.joined import MAX_OPEN_PARTS, Part, Parts
from batchkit_tasks.records import SourceFile
from batchkit_tasks.results import part_schema
from batchkit_tasks.tables.rows import Rows
from tests.made_tables import NONCE, TEXT, chunk

ROWS = 200_000
ROWS_PER_CHUNK = 9_973  # windows never begin with a chunk
AGAIN = 50  # every 50th row failed and was sent again


class Watched:
    """A table that looks at the memory each time it is read."""

    def __init__(self, rows: Rows, parts: Parts) -> None:
        self._rows, self._parts = rows, parts
        self.schema, self.num_rows = rows.schema, rows.num_rows
        self.arrow_bytes: list[int] = []
        self.python_bytes: list[int] = []
        self.open_parts: list[int] = []

    def read(self, start: int, stop: int, columns: Any = None) -> pa.Table:
        self.arrow_bytes.append(pa.total_allocated_bytes())
        self.python_bytes.append(tracemalloc.get_traced_memory()[0])
        self.open_parts.append(self._parts.in_memory)
        return self._rows.read(start, stop, columns)


def texts(positions: Any) -> Any:
    """About 200 different characters a row."""
    numbers = pa.array(positions).cast(pa.string())
    return pc.binary_repeat(pc.binary_join_element_wise("row ", numbers, " "), 20)


def written(path: Path, columns: dict[str, Any], schema: pa.Schema) -> str:
    path.parent.mkdir(exist_ok=True)
    rows = len(next(iter(columns.values())))
    arrays = [columns.get(f.name, pa.nulls(rows, f.type)) for f in schema]
    table = pa.Table.from_arrays(arrays, schema=schema)
    pq.write_table(table, path, row_group_size=10_000)
    return str(path)


def made_part(folder: Path, number: int, positions: Any, round: int) -> Part:
    failed = (positions % AGAIN == 0) & (round == 1)
    columns = {
        "position": pa.array(positions),
        "status": pc.if_else(pa.array(failed), "expired", "succeeded"),
        "response": texts(positions),
        "output_tokens": pa.array(np.ones(len(positions), dtype=np.int64)),
    }
    ranges = [(int(positions[0]), int(positions[-1]) + 1)]
    if round > 1:
        ranges = [(p, p + 1) for p in positions.tolist()]
    path = folder / "parts" / f"{number}.parquet"
    url = written(path, columns, part_schema(TEXT))
    return Part(chunk(number, *ranges), round, url, f"batch_{number}", NONCE)


def test_memory_does_not_grow_over_two_hundred_thousand_rows(tmp_path: Path):
    everything = np.arange(ROWS, dtype=np.int64)
    starts = range(0, ROWS, ROWS_PER_CHUNK)
    made = [
        made_part(tmp_path, i, everything[start : start + ROWS_PER_CHUNK], 1)
        for i, start in enumerate(starts)
    ]
    made.append(made_part(tmp_path, len(made), everything[::AGAIN], 2))
    schema = pa.schema([("n", pa.int64()), ("text", pa.string())])
    columns = {"n": pa.array(everything), "text": texts(everything)}
    source = written(tmp_path / "in.parquet", columns, schema)
    fate_schema = pa.schema(
        [
            ("request_hash", pa.binary(16)),
            ("status", pa.string()),
            ("reason", pa.string()),
        ]
    )
    fates = written(
        tmp_path / "rows.parquet",
        {"request_hash": pa.array([b"h" * 16] * ROWS, pa.binary(16))},
        fate_schema,
    )
    del columns
    parts = Parts(made[::-1], TEXT.fields)
    rows: Any = Watched(Rows([SourceFile(source, 0, "", ROWS)]), parts)

    tracemalloc.start()
    counts = write_table(
        rows=rows,
        fates=Rows([SourceFile(fates, 0, "", ROWS)]),
        parts=parts,
        to_url=str(tmp_path / "out.parquet"),
    )
    tracemalloc.stop()

    assert counts.by_status == {"succeeded": ROWS}
    out = pq.ParquetFile(tmp_path / "out.parquet").read(["n", "response"])
    assert out["n"].equals(pa.chunked_array([everything]))
    assert out["response"].equals(pa.chunked_array([texts(everything)]))
    early, late = slice(2, 8), slice(-6, None)
    assert max(rows.open_parts) <= MAX_OPEN_PARTS
    assert max(rows.arrow_bytes[late]) < 1.2 * max(rows.arrow_bytes[early])
    kept = max(rows.python_bytes[late]) - max(rows.python_bytes[early])
    assert kept < ROWS  # a byte a row: less than anything that is kept of each
