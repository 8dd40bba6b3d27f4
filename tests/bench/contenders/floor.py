"""The floor: the same bytes in and out by memcpy-like means, and nothing else.

Arrow kernels put the requests together, a plain socket carries them, results are cut at
newlines and at fixed marks, and the output has the same columns. There is no record, no
check, no hash (zeros stand in its place), no JSON reading, no part file, and texts keep
their escapes: it shows what reading, sending, fetching and writing cost by themselves.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.compute as compute
import pyarrow.parquet as pq

from tests.bench.measuring import Meter, Work
from tests.bench.tables import PROMPT

pc: Any = compute
HEADERS = {
    "x-api-key": "test-key",
    "anthropic-version": "2026-10-21",
    "content-type": "application/json",
}
BATCHES = "/v1/messages/batches"


def run(work: Work, meter: Meter) -> None:
    """Submit batch after batch, then fetch and write one after the other."""
    link = http.client.HTTPConnection(urlsplit(work.url).netloc)
    with meter.phase("build"):
        batches = [
            create(link, table, start)
            for start, table in windows(work, ["id", "title", "body"])
        ]
    for batch in batches:
        while status(link, batch) != "ended":
            time.sleep(0.2)
    write(work, link, batches, meter)
    link.close()


def windows(work: Work, columns: list[str] | None = None) -> Any:
    """The table, as many rows at a time as a batch has."""
    file = pq.ParquetFile(work.source)
    start = 0
    for part in file.iter_batches(work.rows_per_batch, columns=columns):
        yield start, pa.Table.from_batches([part])
        start += part.num_rows


# ----------------------------------------------------------------------- sending


def create(link: Any, table: pa.Table, start: int) -> str:
    """Send the requests of these rows, and give the batch's id."""
    before, between, _ = (quoted(part) for part in split_prompt())
    head = b'{"custom_id":"0123456789abcdef-'
    params = b'","params":{"model":"claude-haiku-5-5","max_tokens":1024,"messages":'
    numbers = pa.array(np.arange(start, start + len(table))).cast(pa.string())
    items = pc.binary_join_element_wise(
        head,
        numbers.cast(pa.binary()),
        params + b'[{"role":"user","content":"' + before,
        escaped(table["title"]),
        between,
        escaped(table["body"]),
        b'"}]}},',
        b"",
    )
    pieces = [b'{"requests":[', *map(data, items.chunks)]
    pieces[-1] = pieces[-1][:-1]
    pieces.append(b"]}")
    size = sum(map(len, pieces))
    headers = {**HEADERS, "content-length": str(size)}
    link.request("POST", BATCHES, pieces, headers)
    return json.loads(link.getresponse().read())["id"]


def split_prompt() -> Sequence[str]:
    return [*PROMPT.replace("{title}", "{body}").split("{body}")]


def quoted(text: str) -> bytes:
    return json.dumps(text).encode()[1:-1]


def escaped(column: Any) -> Any:
    """What most often needs an escape gets it."""
    for sign, escape in ((b"\\", b"\\\\"), (b'"', b'\\"'), (b"\n", b"\\n"),
                         (b"\r", b"\\r"), (b"\t", b"\\t")):  # fmt: skip
        column = pc.replace_substring(column.cast(pa.binary()), sign, escape)
    return column


def data(array: Any) -> memoryview:
    """The bytes of all values, one after the other."""
    offsets, values = array.buffers()[1:]
    ends = np.frombuffer(offsets, np.int32)
    first, last = ends[array.offset], ends[array.offset + len(array)]
    return memoryview(values)[first:last]


# -------------------------------------------------------------------- collecting


def status(link: Any, batch: str) -> str:
    link.request("GET", f"{BATCHES}/{batch}", headers=HEADERS)
    return json.loads(link.getresponse().read())["processing_status"]


def fetch(link: Any, batch: str) -> bytes:
    link.request("GET", f"{BATCHES}/{batch}/results", headers=HEADERS)
    return link.getresponse().read()


TEXT_BEGINS, TEXT_ENDS = b'"text":"', b'"}],"stop_reason"'
NUMBER_BEGINS = len(b'{"custom_id":"0123456789abcdef-')


def texts(body: bytes) -> tuple[np.ndarray, pa.Array]:
    """Positions and texts of the lines, by looking for marks."""
    numbers: list[int] = []
    found: list[bytes] = []
    at = 0
    while (begin := body.find(TEXT_BEGINS, at)) >= 0:
        end = body.find(TEXT_ENDS, begin)
        numbers.append(int(body[at + NUMBER_BEGINS : body.find(b'"', at + 31)]))
        found.append(body[begin + len(TEXT_BEGINS) : end])
        at = body.find(b"\n", end) + 1
    return np.array(numbers), pa.array(found, pa.binary()).cast(pa.string())


# ----------------------------------------------------------------------- writing


def write(work: Work, link: Any, batches: list[str], meter: Meter) -> None:
    """Fetch batch after batch and write it beside its rows."""
    schema = output_schema(pq.read_schema(work.source))
    flat: Any = ["response", "_meta.custom_id", "_meta.request_hash"]
    categories: Any = [
        n for n in leaf_names(schema) if n not in (*flat, "title", "body")
    ]
    writer = pq.ParquetWriter(
        work.output, schema, compression="zstd", use_dictionary=categories
    )
    tables = windows(work)
    for batch in batches:
        with meter.phase("write"):
            start, table = next(tables)
        with meter.phase("collect"):
            numbers, answers = texts(fetch(link, batch))
            order: Any = np.empty(len(numbers), np.int64)
            order[numbers - start] = np.arange(len(numbers))
        with meter.phase("write"):
            columns = [*table.columns, answers.take(order)]
            columns += marks(start, len(table), batch, schema)
            done = pa.Table.from_arrays(columns, schema=schema)
            writer.write_table(done, row_group_size=len(done))
    with meter.phase("write"):
        writer.close()


META = pa.struct(
    [
        ("batch_id", pa.string()), ("custom_id", pa.string()), ("model", pa.string()),
        ("stop_reason", pa.string()), ("input_tokens", pa.int64()),
        ("output_tokens", pa.int64()), ("cache_creation_5m_tokens", pa.int64()),
        ("cache_creation_1h_tokens", pa.int64()), ("cache_read_tokens", pa.int64()),
        ("cost_usd", pa.float64()), ("attempts", pa.int64()),
        ("request_hash", pa.binary(16)),
    ]
)  # fmt: skip


def output_schema(source: pa.Schema) -> pa.Schema:
    new = [("response", pa.string()), ("_status", pa.string()), ("_error", pa.string())]
    fields = [*source, *(pa.field(*pair) for pair in new), pa.field("_meta", META)]
    return pa.schema(fields)


def leaf_names(schema: pa.Schema) -> list[str]:
    names = [f.name for f in schema if f.name != "_meta"]
    return names + [f"_meta.{META.field(i).name}" for i in range(META.num_fields)]


def marks(start: int, rows: int, batch: str, schema: pa.Schema) -> list[pa.Array]:
    numbers = pa.array(np.arange(start, start + rows)).cast(pa.string())
    ids = pc.binary_join_element_wise("0123456789abcdef", numbers, "-")
    constants = [batch, "claude-haiku-5-5-20261007", "end_turn", 10, 6, 0, 0, 0, 0.1, 1]
    repeated: list[Any] = [pa.repeat(value, rows) for value in constants]
    hashes = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(16), rows, [None, pa.py_buffer(bytes(16 * rows))]
    )
    meta = [repeated[0], ids, *repeated[1:], hashes]
    return [
        pa.repeat("succeeded", rows),
        pa.nulls(rows, pa.string()),
        pa.StructArray.from_arrays(meta, fields=list(META)),
    ]
