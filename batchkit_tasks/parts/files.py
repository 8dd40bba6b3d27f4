"""Parts as files: what came back for a chunk, or why nothing did."""

from __future__ import annotations

from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem

from batchkit_tasks.engine import Run
from batchkit_tasks.errors import RecordUnreadableError
from batchkit_tasks.ground import storage
from batchkit_tasks.ground.memory import note_freed
from batchkit_tasks.ground.table_files import moved_into_place
from batchkit_tasks.records import Chunk
from batchkit_tasks.results import part_schema
from batchkit_tasks.run_dir import positions


def write_part(run: Run, chunk: Chunk, part: pa.Table) -> None:
    """Keep the results of a chunk, whole or not at all."""
    url = run.dir.part_url(chunk.number)
    with moved_into_place(url) as file:
        pq.write_table(
            part.cast(part_schema(run.answer)),
            file,
            compression=_compression(url),
            use_dictionary=SAME_IN_MANY_ROWS,
            write_statistics=False,
        )
    note_freed(2 * part.nbytes)  # with what it was made of


SAME_IN_MANY_ROWS: Final[Any] = [
    "status",
    "error_type",
    "model",
    "stop_reason",
    "cache_creation_5m_tokens",
    "cache_creation_1h_tokens",
    "cache_read_tokens",
    "service_tier",
]
"""Columns of a part in which values repeat; to look for repetitions in answers costs
more than writing them."""


def _compression(url: str) -> Any:
    """None on a local disk: writing and reading a part then takes a quarter of the CPU,
    and two to three times the space."""
    is_local = isinstance(storage.filesystem(url)[0], LocalFileSystem)
    return "none" if is_local else "zstd"


def read_part(run: Run, chunk: int, columns: list[str]) -> pa.Table:
    """Read some columns of the results of a chunk.

    Raises:
        RecordUnreadableError: The part is not there any more, or torn.
    """
    url = run.dir.part_url(chunk)
    fs, path = storage.filesystem(url)
    try:
        return pq.read_table(path, filesystem=fs, columns=columns)
    except (pa.ArrowException, OSError) as error:
        raise RecordUnreadableError(url, str(error)) from error


def write_part_without_answers(
    run: Run, chunk: Chunk, status: str, reason: str, error_type: str | None = None
) -> None:
    """Keep a reason in the place of results that there will never be."""
    rows = positions(chunk)
    known = {
        "position": pa.array(rows),
        "status": pa.repeat(status, len(rows)),
        "error_type": pa.repeat(error_type or status, len(rows)),
        "error": pa.repeat(reason, len(rows)),
    }
    schema = part_schema(run.answer)
    columns = [
        known.get(field.name, pa.nulls(len(rows), field.type)) for field in schema
    ]
    write_part(run, chunk, pa.Table.from_arrays(columns, names=schema.names))
