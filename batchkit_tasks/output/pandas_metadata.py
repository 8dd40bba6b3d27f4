"""What a Parquet schema tells pandas, kept true when columns are added.

pandas writes into the schema which columns are its index and which dtypes it had. A
reader that finds columns without an entry guesses; column labels that were numbers or
tuples would make it fail at the new names.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Sequence
from typing import Any, Final

import pyarrow as pa

KEY: Final = b"pandas"

PANDAS_TYPES: Final[dict[pa.DataType, tuple[str, str]]] = {
    pa.string(): ("unicode", "object"),
    pa.int64(): ("int64", "Int64"),
    pa.float64(): ("float64", "float64"),
    pa.bool_(): ("bool", "boolean"),
}
"""Arrow type to pandas' name and dtype; nullable ones, so that integers stay such."""

LABELS: Final = {
    "name": None,
    "field_name": None,
    "pandas_type": "unicode",
    "numpy_type": "object",
    "metadata": {"encoding": "UTF-8"},
}
"""Column labels are texts."""


def with_columns(schema: pa.Schema, fields: Sequence[pa.Field]) -> pa.Schema:
    """Append fields to a schema; what it tells pandas goes on to hold."""
    longer = pa.schema([*schema, *fields])
    if not schema.metadata:
        return longer
    metadata: dict[Any, Any] = dict(schema.metadata)
    if KEY in metadata:
        metadata[KEY] = _extended(metadata[KEY], fields)
    return longer.with_metadata(metadata)


def without_columns(schema: pa.Schema, names: Collection[str]) -> pa.Schema:
    """Take columns out of a schema, and what it tells pandas about them."""
    kept = pa.schema([field for field in schema if field.name not in names])
    if not schema.metadata:
        return kept
    metadata: dict[Any, Any] = dict(schema.metadata)
    with contextlib.suppress(KeyError, ValueError, TypeError):
        known: dict[str, Any] = json.loads(metadata[KEY])
        entries = [each for each in known["columns"] if each["name"] not in names]
        metadata[KEY] = json.dumps({**known, "columns": entries}).encode()
    return kept.with_metadata(metadata)


def _extended(text: bytes, fields: Sequence[pa.Field]) -> bytes:
    try:
        known: dict[str, Any] = json.loads(text)
        columns = [*known["columns"], *(_column(field) for field in fields)]
    except (ValueError, KeyError, TypeError):
        return text  # not pandas' own; a reader that knows it may still
    known["columns"] = columns
    labels = known.get("column_indexes") or []
    if len(labels) != 1 or labels[0].get("pandas_type") not in ("unicode", "string"):
        known["column_indexes"] = [LABELS]
    return json.dumps(known).encode()


def _column(field: pa.Field) -> dict[str, Any]:
    pandas_type, dtype = PANDAS_TYPES.get(field.type, ("object", "object"))
    return {
        "name": field.name,
        "field_name": field.name,
        "pandas_type": pandas_type,
        "numpy_type": dtype,
        "metadata": None,
    }
