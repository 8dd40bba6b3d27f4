"""Finding, identifying and refusing sources."""

import os
import pickle
from pathlib import Path
from typing import Any

import fsspec
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batchkit_tasks.errors import SourceChangedError, SourceError
from batchkit_tasks.records import Source
from batchkit_tasks.tables.sources import Rows, check_unchanged, open_source, stage


def write_parquet(path: Path | str, start: int = 0, rows: int = 3, **more: Any) -> str:
    columns = {"id": list(range(start, start + rows)), "text": ["ä"] * rows, **more}
    sink: Any = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    fs, name = fsspec.core.url_to_fs(str(path))
    fs.pipe_file(name, sink.getvalue().to_pybytes())
    return str(path)


def write(path: Path, data: str | bytes) -> str:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return str(path)


def rows_of(url: str, folder: Path) -> pa.Table:
    source = open_source(url)
    rows = Rows(stage(source, str(folder / "input.parquet")))
    return rows.read(0, rows.num_rows)


@pytest.fixture
def memory_url(request: pytest.FixtureRequest) -> Any:
    url = f"memory://{request.node.name}"
    yield url
    fs, path = fsspec.core.url_to_fs(url)
    fs.rm(path, recursive=True)


# -------------------------------------------------------------------- what is read


def test_a_parquet_file_is_its_own_table(tmp_path: Path):
    url = write_parquet(tmp_path / "a.parquet")

    source = open_source(url)

    assert source.identity.kind == "parquet"
    assert source.identity.rows == 3
    assert source.schema == pa.schema({"id": pa.int64(), "text": pa.string()})
    assert stage(source, str(tmp_path / "input.parquet")) == source.identity.files
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]


def test_a_folder_of_twelve_files_is_one_table_in_the_order_of_names(tmp_path: Path):
    for number in reversed(range(12)):
        write_parquet(tmp_path / f"part-{number:02}.parquet", number * 3)
    write(tmp_path / "_SUCCESS", "")
    write(tmp_path / ".part-00.parquet.crc", "")
    (tmp_path / "_batchkit").mkdir()

    for url in (str(tmp_path), f"{tmp_path}/", f"{tmp_path}/*.parquet"):
        table = rows_of(url, tmp_path)
        assert table["id"].to_pylist() == list(range(36))


def test_a_glob_passes_over_hidden_folders(tmp_path: Path):
    for folder in ("b", "a", "_batchkit", ".hidden"):
        (tmp_path / folder).mkdir()
        write_parquet(tmp_path / folder / "x.parquet", ord(folder[0]))

    table = rows_of(f"{tmp_path}/**/*.parquet", tmp_path)

    assert table["id"].to_pylist() == [97, 98, 99, 98, 99, 100]


def test_a_glob_inside_a_hidden_folder_finds_its_files(tmp_path: Path):
    folder = tmp_path / "_data"
    folder.mkdir()
    write_parquet(folder / "x.parquet")

    assert open_source(f"{folder}/*.parquet").identity.rows == 3


def test_a_file_whose_name_looks_like_a_glob_is_a_file(tmp_path: Path):
    url = write_parquet(tmp_path / "a[1]*.parquet")

    assert open_source(url).identity.rows == 3


def test_every_filesystem_gives_the_same_rows(tmp_path: Path, memory_url: str):
    expected = pq.read_table(write_parquet(tmp_path / "a.parquet"))
    write_parquet(f"{memory_url}/a.parquet")

    for url in (f"file://{tmp_path}/a.parquet", f"{memory_url}/a.parquet", memory_url):
        assert rows_of(url, tmp_path).equals(expected)


def test_text_files_are_staged_from_and_to_any_filesystem(memory_url: str):
    fs, _ = fsspec.core.url_to_fs(memory_url)
    fs.pipe(f"{memory_url}/in/a.csv", b"a\n1\n")
    fs.pipe(f"{memory_url}/in/b.csv", b"a\n2.5\n")

    (staged,) = stage(open_source(f"{memory_url}/in"), f"{memory_url}/input.parquet")

    assert staged.rows == 2
    assert Rows([staged]).read(0, 2)["a"].to_pylist() == [1.0, 2.5]


def test_a_relative_path_means_the_same_file_in_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write_parquet(tmp_path / "a.parquet")
    monkeypatch.chdir(tmp_path)
    source = open_source("a.parquet")

    monkeypatch.chdir("/")

    check_unchanged(source.identity, "run")
    assert Rows(source.identity.files).num_rows == 3


def test_pandas_index_survives(tmp_path: Path):
    frame = pd.DataFrame({"a": [1, 2]}, index=pd.Index(["x", "y"], name="key"))
    frame.to_parquet(tmp_path / "a.parquet")

    source = open_source(str(tmp_path / "a.parquet"))
    table = Rows(source.identity.files).read(0, 2)

    pd.testing.assert_frame_equal(table.to_pandas(), frame)


def test_the_identity_tells_tables_apart(tmp_path: Path):
    tables: dict[str, Any] = {
        "a": {},
        "b": {"x": [1, 2, 3]},
        "c": {"x": ["1", "2", "3"]},
    }

    identities = [
        open_source(write_parquet(tmp_path / f"{name}.parquet", **more)).identity
        for name, more in tables.items()
    ]

    assert len({identity.schema_digest for identity in identities}) == 3
    assert identities[0] == open_source(str(tmp_path / "a.parquet")).identity


# ---------------------------------------------------------------------- what is refused


def refusal(url: str, tmp_path: Path) -> str:
    with pytest.raises(SourceError) as caught:
        rows_of(url, tmp_path)
    assert not (tmp_path / "input.parquet").exists()
    text = str(caught.value)
    assert text.endswith("Nothing was sent.")
    assert str(pickle.loads(pickle.dumps(caught.value))) == text
    return text


@pytest.mark.parametrize(
    ("files", "url", "says"),
    [
        ({}, "nope.parquet", "there is no such file or folder"),
        ({}, "*.parquet", "no file matches"),
        ({}, "", "the folder holds no files"),
        ({"_a.parquet": b""}, "", "the folder holds no files"),
        ({"a.xlsx": b"x"}, "a.xlsx", "a.xlsx is of an unknown kind. Parquet"),
        ({"a.json": b"[]"}, "a.json", "unknown kind"),
        ({"a": b"x"}, "a", "unknown kind"),
        ({"a.parquet.gz": b"x"}, "a.parquet.gz", "unknown kind"),
        ({"a.csv": b"x", "b.jsonl": b"{}"}, "", "a.csv is csv, b.jsonl is jsonl"),
        ({"a.csv": b"x", "notes.txt": b""}, "", "notes.txt is of an unknown kind"),
        ({"a.parquet": b"not parquet"}, "a.parquet", "cannot be read as Parquet"),
        ({"a.parquet": b""}, "a.parquet", "cannot be read as Parquet"),
    ],
)
def test_what_is_no_table_is_refused_in_one_sentence(
    tmp_path: Path, files: dict[str, bytes], url: str, says: str
):
    for name, data in files.items():
        write(tmp_path / name, data)

    assert says in refusal(f"{tmp_path}/{url}", tmp_path)


def test_an_unknown_filesystem_is_refused(tmp_path: Path):
    assert "Protocol not known: nope" in refusal("nope://x/a.csv", tmp_path)


def test_folders_in_a_folder_are_refused(tmp_path: Path):
    (tmp_path / "year=2026").mkdir()
    write_parquet(tmp_path / "year=2026" / "a.parquet")

    assert "it holds the folder year=2026" in refusal(str(tmp_path), tmp_path)


def test_files_with_other_columns_are_refused_by_name(tmp_path: Path):
    write_parquet(tmp_path / "a.parquet")
    write_parquet(tmp_path / "b.parquet", extra=[1, 2, 3])

    text = refusal(str(tmp_path), tmp_path)

    assert "b.parquet differs from the first file: column 3 is 'extra' (int64)" in text


def test_files_with_other_types_are_refused_by_column(tmp_path: Path):
    write_parquet(tmp_path / "a.parquet", n=[1, 2, 3])
    write_parquet(tmp_path / "b.parquet", n=["1", "2", "3"])

    assert "column 3 is 'n' (string), not 'n' (int64)" in refusal(
        str(tmp_path), tmp_path
    )


def test_columns_with_equal_names_are_refused(tmp_path: Path):
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    pq.write_table(table, tmp_path / "a.parquet")

    text = refusal(str(tmp_path / "a.parquet"), tmp_path)

    assert "more than one column named 'a'" in text


def test_a_table_without_rows_or_columns_is_refused(tmp_path: Path):
    pq.write_table(pa.table({"a": pa.array([], pa.int8())}), tmp_path / "a.parquet")
    pq.write_table(pa.table({}), tmp_path / "b.parquet")

    assert "it has no rows" in refusal(str(tmp_path / "a.parquet"), tmp_path)
    assert "it has no columns" in refusal(str(tmp_path / "b.parquet"), tmp_path)


def test_an_empty_file_among_others_does_not_matter(tmp_path: Path):
    write_parquet(tmp_path / "a.parquet")
    pq.write_table(pq.read_table(tmp_path / "a.parquet")[:0], tmp_path / "b.parquet")
    write_parquet(tmp_path / "c.parquet", 3)

    assert rows_of(str(tmp_path), tmp_path)["id"].to_pylist() == list(range(6))


# -------------------------------------------------------------------------- changes


def test_an_unchanged_source_passes(tmp_path: Path, memory_url: str):
    write_parquet(tmp_path / "a.parquet")
    write_parquet(f"{memory_url}/a.parquet")

    for url in (str(tmp_path), memory_url):
        check_unchanged(open_source(url).identity, "run")


def test_a_table_from_memory_cannot_change():
    check_unchanged(Source("DataFrame", "frame", (), 1, ""), "run")


def change_size(folder: Path) -> None:
    write_parquet(folder / "a.parquet", rows=500)


def change_time(folder: Path) -> None:
    os.utime(folder / "a.parquet", (1, 1))


def remove(folder: Path) -> None:
    (folder / "a.parquet").unlink()


def remove_all(folder: Path) -> None:
    remove(folder)
    (folder / "b.parquet").unlink()


def add(folder: Path) -> None:
    write_parquet(folder / "c.parquet")


def add_kind(folder: Path) -> None:
    write(folder / "c.csv", "a\n1\n")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (change_size, "bytes and has"),
        (change_time, "was written again"),
        (remove, "has lost the file .*a.parquet"),
        (remove_all, "cannot be found as it was"),
        (add, "has a new file .*c.parquet"),
        (add_kind, "mixes kinds"),
    ],
)
def test_a_changed_source_is_noticed(tmp_path: Path, change: Any, says: str):
    write_parquet(tmp_path / "a.parquet")
    write_parquet(tmp_path / "b.parquet")
    identity = open_source(str(tmp_path)).identity

    change(tmp_path)

    with pytest.raises(SourceChangedError, match=says) as caught:
        check_unchanged(identity, "the-run")
    assert "recorded in the-run" in str(caught.value)


def test_a_change_in_memory_is_noticed(memory_url: str):
    write_parquet(f"{memory_url}/a.parquet")
    identity = open_source(memory_url).identity

    write_parquet(f"{memory_url}/a.parquet")

    with pytest.raises(SourceChangedError, match="was written again"):
        check_unchanged(identity, "run")


def test_a_text_file_that_changes_between_the_readings_is_refused(tmp_path: Path):
    url = write(tmp_path / "a.csv", "a\n1\n2\n")
    source = open_source(url)
    assert source.schema.names == ["a"]

    write(tmp_path / "a.csv", "a\n1\nx\n")

    with pytest.raises(SourceError, match="changed while it was being read"):
        stage(source, str(tmp_path / "input.parquet"))
    assert not (tmp_path / "input.parquet").exists()
