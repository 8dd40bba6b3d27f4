"""Laws of reading by position: any window of any files is what a whole reading has."""

import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchkit_tasks.tables import rows as rows_module
from batchkit_tasks.tables.sources import Rows, open_source

LAYOUTS = st.lists(
    st.tuples(st.integers(0, 40), st.integers(1, 15)), min_size=1, max_size=5
).filter(lambda files: any(rows for rows, _ in files))
"""Rows and rows per row group, of each file."""


@contextmanager
def table_of(layout: list[tuple[int, int]]) -> Generator[tuple[Rows, pa.Table]]:
    with tempfile.TemporaryDirectory() as folder:
        start, tables = 0, list[pa.Table]()
        for number, (count, group) in enumerate(layout):
            ids = range(start, start + count)
            table = pa.table(
                {
                    "id": pa.array(ids, pa.int64()),
                    "a.b": pa.array([f"t{i}" for i in ids], pa.string()),
                    "c": pa.array([[i] for i in ids], pa.list_(pa.int64())),
                    "d": pa.array([f"t{i % 3}" for i in ids], pa.string()).cast(
                        pa.dictionary(pa.int32(), pa.string())
                    ),
                }
            )
            pq.write_table(
                table, Path(folder) / f"{number}.parquet", row_group_size=group
            )
            tables.append(table)
            start += count
        rows = Rows(open_source(folder).identity.files)
        yield rows, pa.concat_tables(tables)
        rows.close()


@settings(deadline=None, max_examples=60)
@given(LAYOUTS, st.sampled_from([1, 3, 8192]), st.data())
def test_reads_in_any_order_give_the_rows_at_these_positions(
    layout: list[tuple[int, int]], batch: int, data: st.DataObject
):
    columns = data.draw(st.sampled_from([None, ["id"], ["a.b"], ["c", "id"], []]))
    with (
        mock.patch.object(rows_module, "MAX_BATCH_ROWS", batch),
        table_of(layout) as (rows, whole),
    ):
        for _ in range(data.draw(st.integers(1, 6))):
            start = data.draw(st.integers(0, whole.num_rows))
            stop = data.draw(st.integers(start, whole.num_rows))
            got = rows.read(start, stop, columns)
            expected = whole.slice(start, stop - start)
            assert got.equals(expected if columns is None else expected.select(columns))
            assert got.num_rows == stop - start


@settings(deadline=None, max_examples=40)
@given(LAYOUTS, st.integers(1, 50))
def test_windows_cover_every_row_once_and_in_order(
    layout: list[tuple[int, int]], size: int
):
    with table_of(layout) as (rows, whole):
        windows = list(rows.windows(size))

    assert [start for start, _ in windows] == list(range(0, whole.num_rows, size))
    assert pa.concat_tables([table for _, table in windows]).equals(whole)


@settings(deadline=None, max_examples=60)
@given(LAYOUTS, st.data())
def test_taken_ranges_are_these_rows(
    layout: list[tuple[int, int]], data: st.DataObject
):
    batch = data.draw(st.sampled_from([1, 5, 8192]))
    with (
        mock.patch.object(rows_module, "MAX_BATCH_ROWS", batch),
        table_of(layout) as (rows, whole),
    ):
        cuts = sorted(data.draw(st.sets(st.integers(0, whole.num_rows), max_size=12)))
        ranges = list(zip(cuts[::2], cuts[1::2], strict=False))

        taken = rows.take(ranges)

        positions = [i for a, b in ranges for i in range(a, b)]
        assert taken["id"].to_pylist() == positions
        assert taken.to_pylist() == [
            whole.slice(i, 1).to_pylist()[0] for i in positions
        ]
        assert rows.take(ranges, []).num_rows == len(positions)


def test_rows_that_are_not_there_are_refused():
    with table_of([(5, 2)]) as (rows, _):
        for start, stop in ((0, 6), (-1, 2), (3, 2)):
            with pytest.raises(ValueError, match="of 5"):
                rows.read(start, stop)


def test_reading_forward_decodes_every_row_once(tmp_path: Path):
    table = pa.table({"a": list(range(100_000))})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=100_000)
    rows = Rows(open_source(str(tmp_path)).identity.files)
    decoded: list[int] = []
    original = pq.ParquetFile.iter_batches

    def counted(self: pq.ParquetFile, *args: object, **named: object):
        for batch in original(self, *args, **named):  # pyright: ignore[reportArgumentType]
            decoded.append(batch.num_rows)
            yield batch

    with mock.patch.object(pq.ParquetFile, "iter_batches", counted):
        for _ in rows.windows(7_000):
            pass
        rows.take([(99_000, 100_000)])

    assert sum(decoded) == 100_000
