"""Files and tables are there whole or not at all, on local disks and elsewhere."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from batchkit_tasks.ground.table_files import moved_into_place
from batchkit_tasks.ground.table_writer import TableWriter

SCHEMA = pa.schema([("n", pa.int64())], metadata={b"kept": b"yes"})


class CannotMove(MemoryFileSystem):
    """A filesystem that takes files and fails when they are moved."""

    protocol = ("cannotmove",)
    store: dict[str, Any] = {}  # noqa: RUF012 - as its base class has it
    pseudo_dirs = [""]  # noqa: RUF012

    def mv(self, path1: str, path2: str, *_: Any, **__: Any) -> None:
        raise OSError("cannot move")


class PutsOnly(MemoryFileSystem):
    """An object store: it knows puts, and a move would be a fault."""

    protocol = ("s3",)
    store: dict[str, Any] = {}  # noqa: RUF012 - as its base class has it
    pseudo_dirs = [""]  # noqa: RUF012
    puts: list[str] = []  # noqa: RUF012

    def put_file(self, lpath: Any, rpath: Any, *args: Any, **kwargs: Any) -> None:
        self.puts.append(rpath)
        super().put_file(lpath, rpath, *args, **kwargs)

    def mv(self, path1: str, path2: str, *_: Any, **__: Any) -> None:
        raise AssertionError("object stores copy when they move")


def rows(*numbers: int) -> pa.Table:
    return pa.Table.from_pydict({"n": list(numbers)}, schema=SCHEMA)


def write(url: str, *numbers: int) -> None:
    with TableWriter(url, SCHEMA, rows_per_group=2) as writer:
        for number in numbers:
            writer.append(rows(number))


def read(url: str) -> list[int]:
    fs, path = fsspec.core.url_to_fs(url)
    with fs.open(path, "rb") as file:
        numbers: Any = pq.read_table(file)["n"].to_pylist()
    return numbers


@pytest.fixture(params=["local", "file", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    urls = {
        "local": str(tmp_path),
        "file": tmp_path.as_uri(),
        "memory": f"memory://{tmp_path.name}",
    }
    return urls[request.param]


def test_a_table_appears_with_its_rows_and_in_a_folder_that_was_missing(folder: str):
    write(f"{folder}/new/deeper/t.parquet", 1, 2, 3)

    assert read(f"{folder}/new/deeper/t.parquet") == [1, 2, 3]


def test_nothing_but_the_table_is_left(folder: str):
    write(f"{folder}/x/t.parquet", 1)

    fs, path = fsspec.core.url_to_fs(f"{folder}/x")
    assert [Path(name).name for name in fs.ls(path, detail=False)] == ["t.parquet"]


def test_an_exception_leaves_the_old_table_and_nothing_else(folder: str):
    url = f"{folder}/y/t.parquet"
    write(url, 1)

    def interrupted() -> None:
        with TableWriter(url, SCHEMA, rows_per_group=1) as writer:
            writer.append(rows(9))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    fs, path = fsspec.core.url_to_fs(f"{folder}/y")
    assert read(url) == [1]
    assert len(fs.ls(path, detail=False)) == 1


def test_an_exception_writes_no_table_where_there_was_none(tmp_path: Path):
    def broken() -> None:
        with moved_into_place(str(tmp_path / "t.bin")) as file:
            file.write(b"half")
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        broken()

    assert list(tmp_path.iterdir()) == []


def test_what_is_appended_is_gathered_into_row_groups(tmp_path: Path):
    path = tmp_path / "t.parquet"

    write(str(path), *range(5))

    file = pq.ParquetFile(path)
    groups = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    assert groups == [2, 2, 1]
    assert file.schema_arrow.metadata[b"kept"] == b"yes"
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"


def test_a_table_without_rows_is_a_table(tmp_path: Path):
    write(str(tmp_path / "t.parquet"))

    assert pq.read_table(tmp_path / "t.parquet").schema.equals(SCHEMA)


def test_categories_keep_their_order_over_appends_of_one_group(tmp_path: Path):
    kind = pa.dictionary(pa.int8(), pa.string())
    pieces = [pa.array([text]).dictionary_encode() for text in ("b", "a")]
    schema = pa.schema([("c", kind)])

    path = str(tmp_path / "t.parquet")
    with TableWriter(path, schema, rows_per_group=10) as writer:
        for piece in pieces:
            writer.append(pa.table([piece.cast(kind)], schema=schema))

    column: Any = pq.read_table(path)["c"].combine_chunks()
    assert column.dictionary.to_pylist() == ["b", "a"]
    assert column.to_pylist() == ["b", "a"]


def test_a_move_that_fails_leaves_the_old_table_and_no_temporary_one():
    fsspec.register_implementation("cannotmove", CannotMove, clobber=True)
    fs = fsspec.filesystem("cannotmove")
    fs.pipe_file("/d/t.parquet", b"old")

    with pytest.raises(OSError, match="cannot move"):
        write("cannotmove://d/t.parquet", 1)

    assert fs.cat_file("/d/t.parquet") == b"old"
    assert fs.ls("/d", detail=False) == ["/d/t.parquet"]


def test_an_object_store_gets_one_put(monkeypatch: pytest.MonkeyPatch):
    fs = PutsOnly()
    monkeypatch.setattr("fsspec.core.url_to_fs", lambda _: (fs, "bucket/t.parquet"))

    write("s3://bucket/t.parquet", 1, 2)

    assert PutsOnly.puts == ["bucket/t.parquet"]


def test_a_killed_process_leaves_the_old_table_whole(tmp_path: Path):
    path = tmp_path / "t.parquet"
    write(str(path), 1, 2, 3)
    code = f"""
        import os, signal, sys
        import pyarrow as pa
        from batchkit_tasks.ground.table_writer import TableWriter
        schema = pa.schema([("n", pa.int64())])
        with TableWriter({str(path)!r}, schema, rows_per_group=1) as writer:
            writer.append(pa.table([[9]], schema=schema))
            os.kill(os.getpid(), signal.SIGKILL)
    """

    killed = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )

    assert killed.returncode == -signal.SIGKILL
    assert read(str(path)) == [1, 2, 3]
    assert [p.name for p in tmp_path.glob("*.parquet")] == ["t.parquet"]
