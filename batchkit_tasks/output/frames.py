"""Tables in memory: pandas, polars and Arrow in, and the same kind out.

The caller's frame is kept and only gets new columns, so that whatever it is made of
(index, dtypes, attributes) comes back as it was. Row order is what joins the two.
"""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal

import pyarrow as pa

from batchkit_tasks.errors import ParameterError
from batchkit_tasks.output.pandas_metadata import with_columns
from batchkit_tasks.output.table import own_columns

_CANNOT_CONVERT: Final = (pa.ArrowException, TypeError, ValueError, OverflowError)


@dataclass(frozen=True, slots=True)
class FrameKind:
    """The caller's frame, to which the answers are added."""

    library: Literal["pandas", "polars", "pyarrow"]
    frame: Any
    columns: int
    """Columns of the Arrow table that was made of it; the answers' follow them."""


def to_arrow(
    df: Any, *, needed: Collection[str] | None = None
) -> tuple[pa.Table, FrameKind]:
    """Make an Arrow table of a frame; rows stay in order.

    A pandas index goes along as columns (a `RangeIndex` as metadata), so a prompt can
    use a named one. Whole numbers as column labels become text: `{0}`.

    Args:
        df: A pandas or polars DataFrame, or an Arrow table.
        needed: Columns that must be in the table. Others are left out where Arrow has
            no type for their values; they come back all the same. None: all.

    Raises:
        ParameterError: It is no such frame, a label is no text or not unique, or a
            needed column cannot be converted. Nothing was sent.
    """
    if isinstance(df, pa.Table):
        _check_labels(df.column_names)
        own = own_columns(df.schema)
        df = df.select(own.names).cast(own)
        return df, FrameKind("pyarrow", df, df.num_columns)
    if _is_frame_of("pandas", df):
        table = _from_pandas(df, needed)
        return table, FrameKind("pandas", df, table.num_columns)
    if _is_frame_of("polars", df):
        table = _from_polars(df, needed)
        return table, FrameKind("polars", df, table.num_columns)
    advice = " Call .collect() on it." if type(df).__name__ == "LazyFrame" else ""
    raise ParameterError(
        "df",
        "It must be a pandas DataFrame, a polars DataFrame or an Arrow table, not "
        f"{type(df).__module__}.{type(df).__qualname__}.{advice}",
    )


def from_arrow(table: pa.Table, kind: FrameKind) -> Any:
    """Add the answers to the caller's frame; the frame itself is not changed.

    In pandas, whole numbers and booleans become `Int64` and `boolean`, which have
    missing values; texts get pandas' own text dtype.

    Args:
        table: The output table: what `to_arrow()` gave, and new columns after it.

    Raises:
        ValueError: The table has another number of rows than the frame.
    """
    new = table.select(list(range(kind.columns, table.num_columns)))
    if new.num_rows != len(kind.frame):
        raise ValueError(
            f"the output has {new.num_rows:,} rows, the frame {len(kind.frame):,}"
        )
    if kind.library == "pandas":
        return _add_to_pandas(kind.frame, new)
    if kind.library == "polars":
        import polars

        return kind.frame.hstack(polars.from_arrow(new))
    return _add_to_arrow(kind.frame, new)


# ------------------------------------------------------------------------- pandas


def _from_pandas(df: Any, needed: Collection[str] | None) -> pa.Table:
    names = _texts_of(df.columns)
    _check_labels(names)
    frame = df.set_axis(names, axis=1)
    frame.attrs = {}  # they may hold anything; the caller's frame keeps them
    with contextlib.suppress(*_CANNOT_CONVERT):
        return pa.Table.from_pandas(frame)
    columns = ((name, frame[name]) for name in names)
    frame = frame.drop(columns=_inconvertible(columns, needed, pa.Array.from_pandas))
    try:
        return pa.Table.from_pandas(frame)
    except _CANNOT_CONVERT:  # the index; it comes back with the caller's frame
        return pa.Table.from_pandas(frame, preserve_index=False)


def _texts_of(labels: Any) -> list[str]:
    wrong = [label for label in labels if not _is_text_or_number(label)]
    if wrong:
        raise ParameterError(
            "df",
            f"Column labels must be texts, but one is {wrong[0]!r}. Rename the columns, "
            "such as with df.columns = [str(label) for label in df.columns].",
        )
    return [str(label) for label in labels]


def _is_text_or_number(label: Any) -> bool:
    import numpy as np

    return isinstance(label, str | int | np.integer) and not isinstance(label, bool)


def _add_to_pandas(frame: Any, new: pa.Table) -> Any:
    import pandas as pd

    dtypes: dict[pa.DataType, Any] = {
        pa.int64(): pd.Int64Dtype(),
        pa.bool_(): pd.BooleanDtype(),
    }
    columns = new.to_pandas(types_mapper=dtypes.get, ignore_metadata=True)
    if isinstance(frame.columns, pd.CategoricalIndex):  # it takes no new labels
        frame = frame.set_axis(frame.columns.astype(object), axis=1)
    columns.index = frame.index
    return frame.assign(**{name: columns[name] for name in columns.columns})


# --------------------------------------------------------------- polars and Arrow


def _from_polars(df: Any, needed: Collection[str] | None) -> pa.Table:
    import polars

    oldest = polars.CompatLevel.oldest()  # newer levels give types Parquet lacks

    def convert(column: Any) -> None:
        if column.dtype == polars.Object:  # it would give their addresses in memory
            raise TypeError("Python objects")
        column.to_arrow(compat_level=oldest)

    columns = ((name, df.get_column(name)) for name in df.columns)
    left_out = _inconvertible(columns, needed, convert)
    return df.drop(left_out).to_arrow(compat_level=oldest)


def _add_to_arrow(frame: pa.Table, new: pa.Table) -> pa.Table:
    schema = with_columns(frame.schema, list(new.schema))
    return pa.Table.from_arrays([*frame.columns, *new.columns], schema=schema)


# ------------------------------------------------------------------------- checks


def _is_frame_of(library: Literal["pandas", "polars"], df: Any) -> bool:
    module = sys.modules.get(library)  # not imported: it cannot be one of theirs
    return module is not None and isinstance(df, module.DataFrame)


def _check_labels(names: Iterable[str]) -> None:
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise ParameterError(
            "df",
            f"The column label(s) {', '.join(twice)} are there more than once. Give "
            "each column a label of its own.",
        )


def _inconvertible(
    columns: Iterable[tuple[str, Any]], needed: Collection[str] | None, convert: Any
) -> list[str]:
    """Names of the columns that Arrow cannot hold and that are not needed."""
    found: list[str] = []
    for name, column in columns:
        try:
            convert(column)
        except _CANNOT_CONVERT as error:
            if needed is None or name in needed:
                raise ParameterError(
                    "df",
                    f"Column {name} has values that Arrow cannot hold in one column "
                    f"({error}). Convert it to text or another plain type first.",
                ) from error
            found.append(name)
    return found
